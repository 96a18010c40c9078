// Which addresses stand behind one port of a Service: kube-proxy's choice of endpoints for ClusterIP.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "control/services/services.h"

namespace weft::control {

// A backend before it has its number.
struct EndpointChoice {
  IpAddress address;
  std::uint16_t port = 0;
  model::ObjectKey pod;
  bool ready = true;
};

// Reads the input by reference; it must outlive this object. Pods are indexed by the label pairs that
// selectors name, so the work follows the matches, not services times pods.
class EndpointFinder {
 public:
  explicit EndpointFinder(const ServiceInput& input);

  // The pods a Service selects; empty for one without a selector.
  [[nodiscard]] std::vector<const ServicePod*> selected(const model::Service& service) const;
  // The usable endpoints of a port in one family, an address and port at most once. `pods` is what
  // `selected` gave for the Service.
  [[nodiscard]] std::vector<EndpointChoice> usable(const model::Service& service, const model::ServicePort& port,
                                                   Family family, const std::vector<const ServicePod*>& pods) const;

 private:
  void add_from_slices(const model::Service& service, const model::ServicePort& port, Family family,
                       std::vector<EndpointChoice>& choices) const;

  std::unordered_map<std::string, std::vector<const ServicePod*>> pods_by_label_;
  std::map<model::ObjectKey, std::vector<const model::EndpointSlice*>> slices_;  // by Service
};

}  // namespace weft::control
