#include "control/services/weights.h"

#include <algorithm>
#include <numeric>

namespace weft::control::services {
namespace {

void divide_by_common(std::vector<std::uint32_t>& counts) {
  std::uint32_t divisor = 0;
  for (const auto count : counts) divisor = std::gcd(divisor, count);
  for (auto& count : counts) count /= std::max(divisor, 1U);
}

}  // namespace

std::vector<std::uint32_t> repetitions(std::span<const Member> members) {
  std::vector<std::uint32_t> counts;
  counts.reserve(members.size());
  for (const auto& member : members) counts.push_back(std::max(member.weight, 1U));
  divide_by_common(counts);
  const auto sum = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
  const auto limit = std::max<std::uint64_t>(weighted_run_limit, members.size());
  if (sum <= limit) return counts;
  for (auto& count : counts)
    count = static_cast<std::uint32_t>(std::max<std::uint64_t>((count * limit + sum / 2) / sum, 1));
  divide_by_common(counts);
  return counts;
}

std::vector<std::uint32_t> weighted_sequence(std::span<const Member> members) {
  const auto counts = repetitions(members);
  const auto total = std::accumulate(counts.begin(), counts.end(), std::uint32_t{0});
  std::vector<std::uint32_t> sequence;
  sequence.reserve(total);
  if (total == members.size()) {
    for (const auto& member : members) sequence.push_back(member.id);
    return sequence;
  }
  // In each round every member gains its share, and the richest pays for a slot.
  std::vector<std::int64_t> credit(members.size(), 0);
  while (sequence.size() < total) {
    std::size_t best = 0;
    for (std::size_t i = 0; i < members.size(); ++i) {
      credit[i] += counts[i];
      if (credit[i] > credit[best]) best = i;
    }
    credit[best] -= total;
    sequence.push_back(members[best].id);
  }
  return sequence;
}

std::vector<std::uint32_t> slots_of(std::span<const Member> members, Protocol protocol, model::Algorithm algorithm,
                                    std::uint32_t table_size, std::uint32_t seed) {
  using model::Algorithm;
  const bool table = algorithm == Algorithm::maglev || algorithm == Algorithm::source_hash;
  if (table && members.size() > 1) return maglev_table(members, protocol, table_size, seed);
  if (!table && algorithm != Algorithm::least_connections) return weighted_sequence(members);
  std::vector<std::uint32_t> once;
  once.reserve(members.size());
  for (const auto& member : members) once.push_back(member.id);
  return once;
}

}  // namespace weft::control::services
