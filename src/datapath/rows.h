// What the kernel's maps should hold, as ABI rows. Made by pure code, written by Datapath.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

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

// Other nodes' endpoints, and those nodes, as a difference: a cluster has more of them than one change may cost.
struct RemoteRows {
  bool whole = false;  // all there are: the others go
  Rows<weft_addr, weft_remote> set;
  std::vector<weft_addr> gone;
  [[nodiscard]] bool empty() const { return !whole && set.empty() && gone.empty(); }
};

// All but the services, which come as differences (control/services/delta.h).
struct DesiredRows {
  Rows<weft_policy_key, weft_policy_entry> policy;
  Rows<weft_addr, weft_endpoint> endpoints;
  Rows<weft_lpm_key, weft_ip_identity> identities;
  RemoteRows remotes;
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
