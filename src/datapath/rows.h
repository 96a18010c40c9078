// What the kernel's maps should hold, as ABI rows. Made by pure code, written by Datapath.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <string>

#include "abi/config.h"
#include "abi/egress.h"
#include "abi/endpoint.h"
#include "abi/policy.h"
#include "abi/service.h"
#include "base/ip.h"
#include "reconcile/delta_tracker.h"

namespace weft::datapath {

template <class K, class V>
using Rows = std::map<K, V, reconcile::BytesLess>;

// All but the services, which come as differences (control/services/delta.h).
struct DesiredRows {
  Rows<weft_policy_key, weft_policy_entry> policy;
  Rows<weft_addr, weft_endpoint> endpoints;
  Rows<weft_lpm_key, weft_ip_identity> identities;
  Rows<weft_addr, weft_remote> remotes;  // endpoints of other nodes, and those nodes
  Rows<std::uint32_t, weft_node> nodes;  // ways to the other nodes, by their numbers
  Rows<weft_egress_key, weft_egress> egress;
  Rows<std::uint32_t, weft_next_hop> next_hops;  // by the same numbers
  Rows<std::uint64_t, weft_netns> netns;
  Rows<std::uint32_t, weft_device> devices;
  Rows<weft_l2_key, weft_l2> announced;
  weft_config config{};  // epoch is the datapath's own
};

inline weft_addr to_abi(const IpAddress& address) {
  weft_addr result{};
  std::memcpy(&result, address.bytes().data(), sizeof result);
  return result;
}

inline IpAddress from_abi(const weft_addr& address) {
  IpAddress::Bytes bytes{};
  std::memcpy(bytes.data(), &address, sizeof address);
  return IpAddress(bytes);
}

inline weft_lpm_key to_abi(const Cidr& cidr) { return {cidr.mapped_length(), to_abi(cidr.address())}; }

}  // namespace weft::datapath
