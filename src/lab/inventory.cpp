#include "lab/inventory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "api/answer.h"
#include "api/client.h"
#include "lab/agents.h"
#include "lab/placement.h"

namespace weft::lab {
namespace {

using nlohmann::json;

std::string text_of(const json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::uint16_t port_of(const json& object) {
  const auto found = object.find("port");
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint16_t>() : std::uint16_t{0};
}

const json& items_of(const json& answer, const char* key) {
  static const json empty = json::array();
  if (!answer.is_object()) return empty;
  const auto found = answer.find(key);
  return found != answer.end() && found->is_array() ? *found : empty;
}

// A pod just attached may have its addresses in the list of endpoints before they are in its status.
void add_endpoint_addresses(api::Client& client, std::vector<PodPlan>& pods) {
  const auto missing = [](const PodPlan& pod) { return pod.addresses.empty() && !pod.host_network; };
  if (std::ranges::none_of(pods, missing)) return;
  const auto answer = client.call("endpoint.list", json::object());
  if (!answer) return;
  for (const auto& item : items_of(*answer, "items")) {
    const auto key = text_of(item, "namespace") + "/" + text_of(item, "pod");
    const auto pod =
        std::ranges::find_if(pods, [&](const PodPlan& plan) { return missing(plan) && plan.key() == key; });
    if (pod == pods.end() || text_of(item, "state") != "ready") continue;
    for (const auto& address : items_of(item, "addresses"))
      if (address.is_string())
        if (const auto parsed = IpAddress::parse(address.get<std::string>())) pod->addresses.push_back(*parsed);
  }
}

Result<std::vector<PodPlan>> load_pods(api::Client& client) {
  const auto answer = client.call("get", {{"kind", "Pod"}});
  if (!answer) return fail(answer.error().error);
  std::vector<PodPlan> pods;
  for (const auto& item : items_of(*answer, "items")) {
    WEFT_TRY(auto pod, pod_plan_from_json(item));
    pods.push_back(std::move(pod));
  }
  add_endpoint_addresses(client, pods);
  std::ranges::sort(pods, [](const auto& a, const auto& b) {
    return std::tie(a.namespace_, a.name) < std::tie(b.namespace_, b.name);
  });
  return pods;
}

std::optional<ServicePort> service_port(const json& item) {
  const auto address = IpAddress::parse(text_of(item, "address"));
  const auto protocol = parse_protocol(text_of(item, "protocol"));
  if (!address || !protocol) return std::nullopt;  // headless, ExternalName
  ServicePort service{text_of(item, "namespace") + "/" + text_of(item, "name"), *address, port_of(item), *protocol, {}};
  for (const auto& backend : items_of(item, "backends")) {
    const auto at = IpAddress::parse(text_of(backend, "address"));
    if (!at || backend.value("ready", true) == false) continue;
    const auto pod = text_of(backend, "pod");
    service.backends.push_back({*at, port_of(backend), pod.empty() ? "" : text_of(backend, "namespace") + "/" + pod});
  }
  return service;
}

// Only a pod's own agent tells its addresses. Returns the pods whose agent answers and knows no addresses of them yet.
std::vector<std::string> add_addresses(const Layout& layout, std::vector<PodPlan>& pods) {
  std::vector<std::string> without;
  for (const auto& node : layout.nodes()) {
    auto client = api::Client::connect(node.socket());
    if (!client) continue;
    const auto theirs = load_pods(*client);
    if (!theirs) continue;
    std::map<std::string, const PodPlan*> known;
    for (const auto& pod : *theirs) known[pod.key()] = &pod;
    for (auto& pod : pods) {
      if (pod.node != node.name) continue;
      if (const auto found = known.find(pod.key()); found != known.end()) pod.addresses = found->second->addresses;
      if (pod.addresses.empty() && !pod.host_network) without.push_back(pod.key());
    }
  }
  return without;
}

}  // namespace

Result<std::vector<PodPlan>> load_pods(const Layout& layout) {
  WEFT_TRY(auto pods, ask_any(layout, [](const std::string& socket) -> Result<std::vector<PodPlan>> {
             WEFT_TRY(auto client, api::Client::connect(socket));
             return load_pods(client);
           }));
  const auto placement = read_placement(layout.placement_file());
  for (auto& pod : pods) {
    const auto found = placement.find(pod.key());
    pod.node =
        found != placement.end() && layout.find_node(found->second) != nullptr ? found->second : layout.node().name;
  }
  return pods;
}

std::vector<std::string> pods_without_addresses(const Layout& layout, std::vector<PodPlan> pods) {
  for (auto& pod : pods) pod.addresses.clear();
  return add_addresses(layout, pods);
}

Result<Inventory> load_inventory(const Layout& layout) {
  Inventory inventory;
  WEFT_TRY(inventory.pods, load_pods(layout));
  if (layout.nodes().size() > 1) add_addresses(layout, inventory.pods);
  WEFT_TRY(inventory.services, ask_any(layout, [](const std::string& socket) -> Result<std::vector<ServicePort>> {
             WEFT_TRY(auto client, api::Client::connect(socket));
             const auto answer = client.call("service.list", json::object());
             if (!answer) return fail(answer.error().error);
             std::vector<ServicePort> services;
             for (const auto& item : items_of(*answer, "items"))
               if (auto service = service_port(item)) services.push_back(std::move(*service));
             return services;
           }));
  return inventory;
}

const PodPlan* Inventory::pod(std::string_view key) const {
  const auto found = std::ranges::find_if(pods, [key](const PodPlan& pod) { return pod.key() == key; });
  return found == pods.end() ? nullptr : &*found;
}

const PodPlan* Inventory::pod_at(const IpAddress& address) const {
  const auto found = std::ranges::find_if(
      pods, [&](const PodPlan& pod) { return !pod.host_network && std::ranges::count(pod.addresses, address) > 0; });
  return found == pods.end() ? nullptr : &*found;
}

Result<std::vector<const PodPlan*>> Inventory::find_pods(std::string_view text) const {
  const std::string key =
      text.find('/') == std::string_view::npos ? fmt::format("default/{}", text) : std::string(text);
  if (const PodPlan* exact = pod(key)) return std::vector{exact};
  std::vector<const PodPlan*> found;
  for (const auto& candidate : pods)
    if (!candidate.workload.empty() && candidate.namespace_ + "/" + candidate.workload == key)
      found.push_back(&candidate);
  if (!found.empty()) return found;
  std::vector<std::string> known;
  for (const auto& candidate : pods) known.push_back(candidate.key());
  return fail(ErrorCode::not_found, fmt::format("\"{}\" is no pod or workload of this lab", text),
              known.empty() ? "the lab has no pods" : fmt::format("its pods are {}", fmt::join(known, ", ")));
}

std::vector<const ServicePort*> Inventory::service_ports(std::string_view key) const {
  std::vector<const ServicePort*> found;
  for (const auto& service : services)
    if (service.key == key) found.push_back(&service);
  return found;
}

}  // namespace weft::lab
