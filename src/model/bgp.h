// BGPPeering: which routers a node tells what it can be reached by.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "model/metadata.h"
#include "model/selector.h"

namespace weft::model {

using BgpCommunity = std::array<std::uint16_t, 2>;       // RFC 1997
using BgpLargeCommunity = std::array<std::uint32_t, 3>;  // RFC 8092

struct BgpPeer {
  IpAddress address;
  std::uint32_t as = 0;
  std::uint16_t port = 179;
  std::uint8_t multihop = 0;  // most routers between; 0: it is on a link of the node
  std::string password_file;  // on the node (RFC 2385); empty: none
  std::uint16_t hold_seconds = 90;
  std::uint16_t keepalive_seconds = 30;
  bool graceful_restart = true;
  std::vector<Family> families;  // whose routes are exchanged
  bool operator==(const BgpPeer&) const = default;
};

struct BgpAdvertisement {
  bool pod_cidrs = false;
  bool load_balancer_ips = false;
  bool external_ips = false;
  std::optional<LabelSelector> service_selector;  // absent: every Service
  std::vector<BgpCommunity> communities;
  std::vector<BgpLargeCommunity> large_communities;
  std::optional<std::uint32_t> local_preference;  // for peers in the same AS
  bool operator==(const BgpAdvertisement&) const = default;
};

struct BgpPeering {
  Metadata meta;
  std::optional<LabelSelector> node_selector;  // absent: every node
  std::uint32_t local_as = 0;
  std::optional<IpAddress> router_id;  // IPv4; absent: the node's own address
  std::vector<BgpPeer> peers;
  std::vector<BgpAdvertisement> advertise;
  std::vector<Cidr> imports;  // routes within these are taken; none: nothing is
  bool operator==(const BgpPeering&) const = default;
};

}  // namespace weft::model
