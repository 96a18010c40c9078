// What lies under the keys of keys.h: JSON objects with a version. Written here, and read with distrust: whatever a
// peer wrote is either a value or an error that names the key and the field. Fields that are not known are passed over,
// so that a newer writer may add some; a version that is not known is an error.
//
// encode() gives equal values equal texts: transactions compare them.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sources/cluster/keys.h"
#include "sources/cluster/pools.h"

namespace weft::cluster {

// One run of a node: a node that booted has none of the pods it had before.
struct Incarnation {
  std::string node;
  std::string boot_id;
  auto operator<=>(const Incarnation&) const = default;
};

// A key of a node, and where it is spoken.
struct WireGuardKey {
  unsigned generation = 0;
  std::string public_key;  // base64
  unsigned port = 0;
  auto operator<=>(const WireGuardKey&) const = default;
};

// nodes/<node>: what others must know to reach it.
struct NodeRecord {
  std::string boot_id;
  std::vector<IpAddress> underlay;
  std::string mode;  // how it reaches others: "tunnel", "native"
  unsigned mtu = 0;
  // None: it does not encrypt. Ascending; two while keys change.
  std::vector<WireGuardKey> wireguard;
  unsigned settled = 0;  // generation of the earliest of those that it still sends by
  // Of its pods, out of its blocks: packets of the node itself come from there where they go through a tunnel.
  std::vector<IpAddress> gateways;
  std::string zone;
  LabelMap labels;    // what selectors of nodes choose by
  bool keep = false;  // while it is away all that it has stays its own, for as long as this record is there
  // Of its uplinks: an address of a Service that one of them claims is claimed by this node.
  std::vector<MacAddress> macs;
  // Of its networks' routers, broadcasts and the like: given to no Service (control::ServiceNode).
  std::vector<IpAddress> taken;
  // What all nodes are to be configured with alike, by the keys of weftd.yaml; empty: it tells none.
  std::map<std::string, std::string> settings;
  // Names of its uplinks; empty: it tells none.
  std::vector<std::string> uplinks;
  // By its own clock, in seconds since 1970, when it wrote this; 0: it does not say.
  std::uint64_t written = 0;
  // It reads pods of other nodes in slices, too (EndpointsKey); an agent that knows of none does not say so.
  bool reads_slices = false;
  auto operator<=>(const NodeRecord&) const = default;
};

// identities/users/<node>: the numbers it needs.
struct IdentityUsers {
  std::string boot_id;
  std::set<IdentityNumber> numbers;
  auto operator<=>(const IdentityUsers&) const = default;
};

std::string encode(const NodeRecord& record);
std::string encode(const Incarnation& incarnation);  // alive/<node>, blocks/..., roles/...
std::string encode(const std::vector<Pool>& pools);  // pools
std::string encode(const IdentityUsers& users);
Result<std::string> encode_labels(const LabelMap& labels);  // identities/ids/<number>
std::string encode_number(IdentityNumber number);           // identities/labels/<labels>
std::string encode_mark();                                  // identities/marks/<number>

// `key` is for the errors.
Result<NodeRecord> decode_node(std::string_view key, std::string_view value);
Result<Incarnation> decode_incarnation(std::string_view key, std::string_view value);
Result<std::vector<Pool>> decode_pools(std::string_view key, std::string_view value);
Result<IdentityUsers> decode_users(std::string_view key, std::string_view value);
Result<LabelMap> decode_labels(std::string_view key, std::string_view value);
Result<IdentityNumber> decode_number(std::string_view key, std::string_view value);

}  // namespace weft::cluster
