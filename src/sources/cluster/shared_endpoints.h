// endpoints/<node>: the pods of a node as the others need them. Labels are not among them: the identity leads to them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "sources/cluster/keys.h"

namespace weft::cluster {

struct PodName {
  std::string namespace_;
  std::string name;
  [[nodiscard]] std::string to_string() const { return namespace_ + "/" + name; }
  auto operator<=>(const PodName&) const = default;
};

// A container's port, where a Service's target port may name it.
struct EndpointPort {
  std::string name;  // may be empty
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  auto operator<=>(const EndpointPort&) const = default;
};

struct SharedEndpoint {
  std::vector<IpAddress> addresses;
  IdentityNumber identity = 0;
  bool ready = true;
  bool terminating = false;
  // Its addresses are the node's: it can be a backend, but packets from there are the node's.
  bool host_network = false;
  std::uint32_t weight = 1;  // among the backends of its Services
  std::vector<EndpointPort> ports;
  bool operator==(const SharedEndpoint&) const = default;
};

using SharedEndpoints = std::map<PodName, SharedEndpoint>;

struct NodeEndpoints {
  std::string boot_id;
  SharedEndpoints pods;
  bool operator==(const NodeEndpoints&) const = default;
};

// As values.h: equal values have equal texts, what is read is distrusted, and `key` is for the errors.
std::string encode(const NodeEndpoints& endpoints);
Result<NodeEndpoints> decode_endpoints(std::string_view key, std::string_view value);

}  // namespace weft::cluster
