#include "agent/removed_nodes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/utc_text.h"

namespace weft::agent {
namespace {

std::vector<std::string> texts_of(const std::vector<IpAddress>& addresses) {
  std::vector<std::string> texts;
  for (const auto& address : addresses) texts.push_back(address.to_string());
  return texts;
}

std::string said(const std::string& name, const RemovedNodes::Removed& removed) {
  const auto addresses = texts_of(removed.addresses);
  return fmt::format("node {}{} was removed from the cluster{}: what it had is free for others", name,
                     addresses.empty() ? "" : fmt::format(" ({})", fmt::join(addresses, ", ")),
                     removed.silent_since ? fmt::format(", silent since {} at least", utc_text(*removed.silent_since))
                                          : std::string());
}

}  // namespace

std::vector<std::string> RemovedNodes::heard(const cluster::NodeDifference& difference, Time now) {
  std::vector<std::string> texts;
  for (const auto& [name, node] : difference.set) {
    removed_.erase(name);
    if (node.alive) {
      silent_.erase(name);
    } else if (node.record) {
      silent_.try_emplace(name, Silent{{}, now}).first->second.addresses = node.record->underlay;
    }
  }
  for (const auto& name : difference.gone) {
    Removed removed{.addresses = {}, .silent_since = {}, .at = now};
    if (auto silent = silent_.extract(name)) {
      removed.addresses = std::move(silent.mapped().addresses);
      removed.silent_since = silent.mapped().since;
    }
    texts.push_back(said(name, removed));
    removed_.insert_or_assign(name, std::move(removed));
  }
  while (removed_.size() > most)
    removed_.erase(std::ranges::min_element(removed_, {}, [](const auto& entry) { return entry.second.at; }));
  return texts;
}

nlohmann::json RemovedNodes::to_json() const {
  auto items = nlohmann::json::array();
  for (const auto& [name, removed] : removed_)
    items.push_back({{"name", name},
                     {"addresses", texts_of(removed.addresses)},
                     {"silent_since", removed.silent_since ? utc_text(*removed.silent_since) : ""},
                     {"removed", utc_text(removed.at)}});
  return items;
}

}  // namespace weft::agent
