#include "control/services/endpoints.h"

#include <algorithm>
#include <tuple>

namespace weft::control {
namespace {

constexpr std::string_view service_name_label = "kubernetes.io/service-name";

bool has_selector(const model::Service& service) { return service.selector && !service.selector->empty(); }

// The index key of a label pair, made in `key` to spare an allocation for each lookup. NUL cannot
// occur in names.
const std::string& label_key(std::string& key, const std::string& namespace_, const std::string& label,
                             const std::string& value) {
  key.assign(namespace_);
  key += '\0';
  key += label;
  key += '\0';
  key += value;
  return key;
}

bool matches(const LabelMap& selector, const LabelMap& labels) {
  return std::ranges::all_of(selector, [&](const auto& pair) {
    const auto found = labels.find(pair.first);
    return found != labels.end() && found->second == pair.second;
  });
}

// 0 when the pod has no port of that name and protocol.
std::uint16_t target_port(const model::ServicePort& port, const ServicePod& pod) {
  if (const auto* number = std::get_if<std::uint16_t>(&port.target_port)) return *number != 0 ? *number : port.port;
  const auto& name = std::get<std::string>(port.target_port);
  const auto found = std::ranges::find_if(pod.ports, [&](const model::ContainerPort& candidate) {
    return candidate.name == name && candidate.protocol == port.protocol;
  });
  return found == pod.ports.end() ? std::uint16_t{0} : found->port;
}

void add_from_pods(const model::Service& service, const model::ServicePort& port, Family family,
                   const std::vector<const ServicePod*>& pods, std::vector<EndpointChoice>& choices) {
  for (const auto* pod : pods) {
    if (!pod->ready && !service.publish_not_ready) continue;
    const auto number = target_port(port, *pod);
    const auto address = std::ranges::find(pod->addresses, family, &IpAddress::family);
    if (number != 0 && address != pod->addresses.end()) choices.push_back({*address, number, pod->key, pod->ready});
  }
}

// Of several entries for one address and port the ready one stays.
void remove_duplicates(std::vector<EndpointChoice>& choices) {
  if (choices.size() < 2) return;
  std::ranges::stable_sort(choices, [](const EndpointChoice& a, const EndpointChoice& b) {
    return std::tuple(a.address, a.port, !a.ready) < std::tuple(b.address, b.port, !b.ready);
  });
  const auto rest = std::ranges::unique(choices, [](const EndpointChoice& a, const EndpointChoice& b) {
    return a.address == b.address && a.port == b.port;
  });
  choices.erase(rest.begin(), rest.end());
}

}  // namespace

EndpointFinder::EndpointFinder(const ServiceInput& input) {
  std::string key;
  for (const auto& [name, service] : input.services) {
    if (!has_selector(service)) continue;
    for (const auto& [label, value] : *service.selector)
      pods_by_label_.try_emplace(label_key(key, name.namespace_, label, value));
  }
  for (const auto& pod : input.pods) {
    if (pod.addresses.empty()) continue;
    for (const auto& [label, value] : pod.labels) {
      const auto found = pods_by_label_.find(label_key(key, pod.key.namespace_, label, value));
      if (found != pods_by_label_.end()) found->second.push_back(&pod);
    }
  }
  for (const auto& [name, slice] : input.slices) {
    const auto service = slice.meta.labels.find(std::string(service_name_label));
    if (service != slice.meta.labels.end()) slices_[{name.namespace_, service->second}].push_back(&slice);
  }
}

std::vector<const ServicePod*> EndpointFinder::selected(const model::Service& service) const {
  if (!has_selector(service)) return {};
  // Start from the rarest of the selector's labels.
  std::string key;
  const std::vector<const ServicePod*>* candidates = nullptr;
  for (const auto& [label, value] : *service.selector) {
    const auto found = pods_by_label_.find(label_key(key, service.meta.namespace_, label, value));
    if (found == pods_by_label_.end()) return {};
    if (candidates == nullptr || found->second.size() < candidates->size()) candidates = &found->second;
  }
  std::vector<const ServicePod*> result;
  std::ranges::copy_if(*candidates, std::back_inserter(result),
                       [&](const ServicePod* pod) { return matches(*service.selector, pod->labels); });
  return result;
}

void EndpointFinder::add_from_slices(const model::Service& service, const model::ServicePort& port, Family family,
                                     std::vector<EndpointChoice>& choices) const {
  const auto slices = slices_.find(service.meta.key());
  if (slices == slices_.end()) return;
  std::vector<EndpointChoice> draining;
  for (const auto* slice : slices->second) {
    if (slice->family != family) continue;
    const auto found = std::ranges::find_if(slice->ports, [&](const model::SlicePort& candidate) {
      return candidate.name == port.name && candidate.protocol == port.protocol;
    });
    if (found == slice->ports.end() || found->port == 0) continue;
    for (const auto& endpoint : slice->endpoints) {
      // The addresses of an endpoint lead to the same place; as kube-proxy, use the first.
      if (endpoint.addresses.empty() || endpoint.addresses.front().family() != family) continue;
      model::ObjectKey pod;
      if (!endpoint.target_pod.empty()) pod = {service.meta.namespace_, endpoint.target_pod};
      EndpointChoice choice{endpoint.addresses.front(), found->port, std::move(pod), endpoint.ready};
      if (endpoint.ready || service.publish_not_ready)
        choices.push_back(std::move(choice));
      else if (endpoint.serving && endpoint.terminating)
        draining.push_back(std::move(choice));
    }
  }
  if (choices.empty()) choices = std::move(draining);
}

std::vector<EndpointChoice> EndpointFinder::usable(const model::Service& service, const model::ServicePort& port,
                                                   Family family, const std::vector<const ServicePod*>& pods) const {
  std::vector<EndpointChoice> choices;
  if (has_selector(service))
    add_from_pods(service, port, family, pods, choices);
  else
    add_from_slices(service, port, family, choices);
  remove_duplicates(choices);
  return choices;
}

}  // namespace weft::control
