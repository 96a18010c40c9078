#include "agent/refusals.h"

#include <set>
#include <utility>

namespace weft::agent {

std::vector<model::Problem> take_refused(std::vector<model::Document>& documents,
                                         const std::vector<Publisher::Refusal>& refusals) {
  std::vector<model::Problem> problems;
  std::set<std::size_t> refused;
  for (const auto& [index, error] : refusals) {
    auto& problem = problems.emplace_back(documents[index].refused(error.message));
    if (!error.hint.empty()) problem.message += "; " + error.hint;
    refused.insert(index);
  }
  std::vector<model::Document> kept;
  for (std::size_t i = 0; i < documents.size(); ++i)
    if (!refused.contains(i)) kept.push_back(std::move(documents[i]));
  documents = std::move(kept);
  return problems;
}

}  // namespace weft::agent
