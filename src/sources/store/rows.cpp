#include "sources/store/rows.h"

#include <fmt/format.h>

namespace weft::store {
namespace {

// Rows of `after` that `before` lacks or holds differently go to `put`, keys only in `before` to `gone`.
template <class Key, class Value>
void compare(const std::map<Key, Value>& before, const std::map<Key, Value>& after, std::map<Key, Value>& put,
             std::vector<Key>& gone) {
  auto old = before.begin();
  auto now = after.begin();
  while (old != before.end() || now != after.end()) {
    if (now == after.end() || (old != before.end() && old->first < now->first)) {
      gone.push_back(old->first);
      ++old;
    } else if (old == before.end() || now->first < old->first) {
      put.emplace_hint(put.end(), *now);
      ++now;
    } else {
      if (old->second != now->second) put.emplace_hint(put.end(), *now);
      ++old;
      ++now;
    }
  }
}

}  // namespace

std::string_view to_string(EndpointState state) {
  switch (state) {
    case EndpointState::attaching:
      return "attaching";
    case EndpointState::ready:
      return "ready";
    case EndpointState::deleting:
      return "deleting";
  }
  return "unknown";
}

Result<EndpointState> parse_endpoint_state(std::string_view text) {
  for (const auto state : {EndpointState::attaching, EndpointState::ready, EndpointState::deleting})
    if (to_string(state) == text) return state;
  return fail(ErrorCode::invalid, fmt::format("\"{}\" is not the state of an endpoint", text));
}

bool NumberChange::empty() const {
  return put == NumberSet{} && gone.identities.empty() && gone.cidr_identities.empty() && gone.rules.empty();
}

NumberChange difference(const NumberSet& before, const NumberSet& after) {
  NumberChange change;
  auto& [put, gone] = change;
  compare(before.identities, after.identities, put.identities, gone.identities);
  compare(before.cidr_identities, after.cidr_identities, put.cidr_identities, gone.cidr_identities);
  compare(before.rules, after.rules, put.rules, gone.rules);
  return change;
}

}  // namespace weft::store
