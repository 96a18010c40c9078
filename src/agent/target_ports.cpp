#include "agent/target_ports.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <variant>

#include "agent/compile.h"

namespace weft::agent {
namespace {

bool matches(const LabelMap& selector, const LabelMap& labels) {
  return std::ranges::all_of(selector, [&](const auto& wanted) {
    const auto found = labels.find(wanted.first);
    return found != labels.end() && found->second == wanted.second;
  });
}

bool names_targets(const model::Service& service) {
  return service.selector && !service.selector->empty() && std::ranges::any_of(service.ports, [](const auto& port) {
           return std::holds_alternative<std::string>(port.target_port);
         });
}

}  // namespace

std::vector<MissingTarget> missing_targets(const model::Service& service,
                                           const std::map<model::ObjectKey, model::Pod>& pods) {
  std::vector<MissingTarget> missing;
  if (!names_targets(service)) return missing;
  std::set<std::pair<std::string, Protocol>> present;
  bool some = false;
  for (auto pod = pods.lower_bound({service.meta.namespace_, ""});
       pod != pods.end() && pod->first.namespace_ == service.meta.namespace_; ++pod) {
    if (!matches(*service.selector, pod->second.meta.labels)) continue;
    some = true;
    for (const auto& port : ports_of(pod->second))
      if (!port.name.empty()) present.emplace(port.name, port.protocol);
  }
  if (!some) return missing;
  std::set<std::string> names;
  for (const auto& [name, protocol] : present) names.insert(fmt::format("{} ({})", name, to_string(protocol)));
  for (std::size_t i = 0; i < service.ports.size(); ++i) {
    const auto& port = service.ports[i];
    const auto* wanted = std::get_if<std::string>(&port.target_port);
    if (wanted == nullptr || present.contains({*wanted, port.protocol})) continue;
    missing.push_back(
        {i, fmt::format("no pod it selects has a {} port named \"{}\"; they have {}", to_string(port.protocol), *wanted,
                        names.empty() ? "none with a name" : fmt::format("{}", fmt::join(names, ", ")))});
  }
  return missing;
}

}  // namespace weft::agent
