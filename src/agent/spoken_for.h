// Ports and addresses by which nodes themselves speak, to each other and to etcd. Whoever had one of them by a host
// port or an external IP would hear what is said to the node, other tenants' packets among it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "agent/cluster_view.h"
#include "agent/node.h"
#include "base/result.h"
#include "config/agent/config.h"
#include "model/objects.h"
#include "model/parse.h"

namespace weft::agent {

// What this node does by the port, as the end of a sentence; empty: nothing.
std::string port_spoken_for(const Config& config, std::uint16_t port, Protocol protocol);

// Why a pod does not get a host port at this node, as the end of a sentence; empty: it does. `host_ip`: at that
// address only, which has to be the node's own: otherwise a pod would answer for whomever it names.
std::string host_port_withheld(const Config& config, const Node& node, const std::optional<IpAddress>& host_ip,
                               std::uint16_t port, Protocol protocol);

// In a cluster: addresses that nodes, this one among them, and etcd have themselves, and whose each is, as the end of a
// sentence. Of this node all are known, of others those they tell.
std::map<IpAddress, std::string> addresses_spoken_for(const Config& config, const Node& node,
                                                      const ClusterView& cluster);

// Of a Pod's or Deployment's host ports, of a Service's external addresses. The error begins with the field.
Result<void> check_spoken_for(const model::Object& object, const Config& config, const Node& node,
                              const ClusterView& cluster);

}  // namespace weft::agent
