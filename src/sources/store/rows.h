// What the embedded store keeps, as values. Which row lives how long: docs/state.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/labels.h"
#include "base/result.h"
#include "model/objects.h"

namespace weft::store {

// --- Objects: what the user applied -------------------------------------------------------------

struct StoredKey {
  model::Kind kind = model::Kind::namespace_;
  model::ObjectKey key;
  auto operator<=>(const StoredKey&) const = default;
};

struct StoredObject {
  model::Kind kind = model::Kind::namespace_;
  model::ObjectKey key;
  std::string json;  // as model::parse_manifests made it; kept as is
  std::uint64_t revision = 0;
  auto operator<=>(const StoredObject&) const = default;
};

// What there is, without reading it.
struct ObjectTally {
  std::map<std::string, std::size_t> namespaces;  // how many objects are in it; "" stands for none
  std::uint64_t highest_revision = 0;
};

// --- Endpoints: what this node attached ---------------------------------------------------------

enum class EndpointState : std::uint8_t { attaching, ready, deleting };
// "attaching", "ready", "deleting".
std::string_view to_string(EndpointState state);
Result<EndpointState> parse_endpoint_state(std::string_view text);

struct EndpointKey {
  std::string container_id;
  std::string ifname;
  // "<container id>/<ifname>": also the owner of its addresses in the IPAM rows.
  [[nodiscard]] std::string owner() const { return container_id + "/" + ifname; }
  auto operator<=>(const EndpointKey&) const = default;
};

// A port of the node that leads to the endpoint, as the runtime asked (CNI portMappings).
struct PortMapping {
  std::optional<IpAddress> host_ip;  // absent: every address of the node; all zero: every one of its family
  std::uint16_t host_port = 0;
  std::uint16_t container_port = 0;
  Protocol protocol = Protocol::tcp;
  auto operator<=>(const PortMapping&) const = default;
};

struct EndpointRecord {
  EndpointKey key;
  std::string netns_path;
  std::uint64_t netns_cookie = 0;  // 0: not known yet
  std::uint64_t netns_inode = 0;   // 0: not known yet
  std::string namespace_;
  std::string pod;
  std::string network;  // "name" of the CNI network configuration
  std::uint32_t endpoint_id = 0;
  EndpointState state = EndpointState::attaching;
  bool acknowledged = false;
  std::string device;         // host side
  std::uint32_t ifindex = 0;  // of the host side; 0: not made yet
  MacAddress mac;             // of the pod's side
  std::vector<IpAddress> addresses;
  LabelMap labels;               // source-prefixed ones that no object gives, "container:..."
  std::string result;            // JSON of the CNI result; empty while attaching
  std::uint64_t generation = 0;  // counts the attempts to attach under this key
  std::vector<PortMapping> port_mappings;
  std::chrono::system_clock::time_point created{};
  auto operator<=>(const EndpointRecord&) const = default;
};

// --- Addresses ----------------------------------------------------------------------------------

struct AllocationRow {
  IpAddress address;
  std::string owner;
  auto operator<=>(const AllocationRow&) const = default;
};

struct QuarantineRow {
  IpAddress address;
  std::chrono::sys_seconds until;
  auto operator<=>(const QuarantineRow&) const = default;
};

// One committed step of the address book. Steps are written in this order, so an address may be
// released and quarantined, or leave quarantine and be allocated, in the same change.
struct AddressChange {
  std::vector<IpAddress> released;         // allocations that end
  std::vector<IpAddress> quarantine_over;  // quarantines that end
  std::vector<QuarantineRow> quarantined;
  std::vector<AllocationRow> allocated;  // also ends the address's quarantine
};

// --- Numbers: what must be the same after a restart ----------------------------------------------

struct NumberSet {
  std::map<std::uint32_t, LabelMap> identities;
  std::map<Cidr, std::uint32_t> cidr_identities;
  std::map<std::uint32_t, std::string> rules;  // rule id -> JSON of its description
  auto operator<=>(const NumberSet&) const = default;
};

// Rows of `put` are written (a row of the same key is replaced), those named in `gone` deleted.
struct NumberChange {
  NumberSet put;
  struct {
    std::vector<std::uint32_t> identities;
    std::vector<Cidr> cidr_identities;
    std::vector<std::uint32_t> rules;
  } gone;
  [[nodiscard]] bool empty() const;
};

// What turns `before` into `after`.
NumberChange difference(const NumberSet& before, const NumberSet& after);

// What a Service holds (addresses, ports), as the JSON its owner makes of it; nothing: it holds none any more.
using AssignmentRows = std::map<model::ObjectKey, std::optional<std::string>>;

}  // namespace weft::store
