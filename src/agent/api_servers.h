// By which addresses the API server is found while Services do not work yet: those of the EndpointSlices of its own
// Service, default/kubernetes, remembered from run to run. The cluster's address of that Service works only once a node
// has its datapath, and what the configuration names may have gone since. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/objects.h"

namespace weft::agent {

// Of its slices, each time one has changed.
class ApiServers {
 public:
  // Whether it is one of them, and the addresses are others than before.
  bool take(const model::EndpointSlice& slice);
  bool forget(const model::ObjectKey& slice);
  // "10.0.0.1:6443", each once, ready ones only.
  [[nodiscard]] std::vector<std::string> addresses() const;

 private:
  std::map<model::ObjectKey, std::vector<std::string>> slices_;
};

// The order to try them in. `given`: the configuration's, and last the one of the kubeconfig or of the pod's
// environment. A pod's is the Service itself: what is remembered goes before it. A kubeconfig's is what people have
// chosen: after it. Remembered addresses are https, as the Service is.
std::vector<std::string> servers_in_order(std::vector<std::string> given, const std::vector<std::string>& remembered,
                                          bool of_pod);

}  // namespace weft::agent
