#include "agent/unattached.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/utc_text.h"

namespace weft::agent {

void Unattached::failed(const model::ObjectKey& pod, const Error& error, Clock::time_point now) {
  const auto [entry, first] = pods_.try_emplace(pod);
  auto& failure = entry->second;
  if (first) failure.since = now;
  failure.error = error;
  // Where it is shown, the pod is named already.
  if (const auto named = "pod " + pod.to_string() + ": "; error.message.starts_with(named))
    failure.error.message = error.message.substr(named.size());
  failure.last = now;
  ++failure.tries;
  if (pods_.size() <= most) return;
  pods_.erase(std::ranges::min_element(pods_, {}, [](const auto& each) { return each.second.last; }));
}

void Unattached::expire(Clock::time_point now) {
  std::erase_if(pods_, [&](const auto& each) { return now - each.second.last > kept; });
}

nlohmann::json Unattached::to_json() const {
  auto items = nlohmann::json::array();
  for (const auto& [pod, failure] : pods_)
    items.push_back({{"namespace", pod.namespace_},
                     {"pod", pod.name},
                     {"reason", failure.error.message},
                     {"remedy", failure.error.hint},
                     {"tries", failure.tries},
                     {"since", utc_text(failure.since)},
                     {"last", utc_text(failure.last)}});
  return items;
}

}  // namespace weft::agent
