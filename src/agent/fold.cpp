#include "agent/fold.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace weft::agent {

Folded fold(const std::vector<std::string_view>& namespaces, std::size_t each, std::size_t most) {
  std::map<std::string_view, std::vector<std::size_t>> places;
  for (std::size_t i = 0; i < namespaces.size(); ++i) places[namespaces[i]].push_back(i);
  Folded folded;
  std::map<std::string_view, std::size_t> named;
  // One of each namespace before a second one of any. Where a single one would be left it is named as well.
  for (std::size_t round = 0; round <= each; ++round)
    for (const auto& [space, of_it] : places) {
      const bool last = round != each || of_it.size() == each + 1;
      if (round >= of_it.size() || !last || folded.named.size() == most) continue;
      folded.named.push_back(of_it[round]);
      ++named[space];
    }
  std::ranges::sort(folded.named);
  std::size_t beyond = 0;
  std::size_t spaces = 0;
  for (const auto& [space, of_it] : places) {
    const auto left = of_it.size() - named[space];
    if (left == 0) continue;
    if (left == of_it.size()) {
      beyond += left;
      ++spaces;
    } else {
      folded.rest.push_back(space.empty() ? fmt::format("{} more without a namespace", left)
                                          : fmt::format("{} more in namespace {}", left, space));
    }
  }
  if (beyond != 0)
    folded.rest.push_back(fmt::format("{} more in {} other namespace{}", beyond, spaces, spaces == 1 ? "" : "s"));
  return folded;
}

}  // namespace weft::agent
