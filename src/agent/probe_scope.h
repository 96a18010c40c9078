// Which endpoints this node may probe for a Service. A probe comes from the node, which may reach more than whoever
// writes Services and EndpointSlices may: their checks go where the Service's own namespace is, or outside the cluster.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "agent/publisher.h"

namespace weft::agent {

class ProbeScope {
 public:
  // As things are now: to be made anew when they have changed.
  explicit ProbeScope(const Publisher& publisher);

  // Why an endpoint of the Service is not probed by this port, to stand after "not checked from here: "; empty: it is.
  [[nodiscard]] std::string unchecked(const model::ObjectKey& service, const IpAddress& address,
                                      std::uint16_t port) const;

 private:
  [[nodiscard]] std::string of_other_nodes(const model::ObjectKey& service, const IpAddress& address) const;
  [[nodiscard]] bool selected(const cluster::ToldPod& pod) const;

  const Publisher& publisher_;
  std::map<IpAddress, std::string> spoken_for_;
  std::map<IpAddress, std::string> own_pods_;  // their namespaces
};

}  // namespace weft::agent
