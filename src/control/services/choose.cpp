#include "control/services/choose.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "control/services/hash.h"

namespace weft::control {
namespace {

// So many slots are all compared by least connections; of longer runs four at random.
constexpr std::size_t compared_slots = 16;

weft_addr addr_of(const IpAddress& address) {
  weft_addr result{};
  std::memcpy(&result, address.bytes().data(), sizeof result);
  return result;
}

std::vector<std::pair<std::uint32_t, double>> shares_of(std::span<const std::uint32_t> run) {
  std::map<std::uint32_t, std::size_t> slots;
  for (const auto backend : run) ++slots[backend];
  std::vector<std::pair<std::uint32_t, double>> shares;
  for (const auto& [backend, count] : slots)
    shares.emplace_back(backend, static_cast<double>(count) / static_cast<double>(run.size()));
  return shares;
}

ChoiceAnswer by_slot(const ChoiceQuestion& question, std::uint32_t slot, std::string why) {
  ChoiceAnswer answer;
  answer.slot = slot;
  answer.backend = question.run[slot];
  answer.why = std::move(why);
  return answer;
}

ChoiceAnswer by_hash(const ChoiceQuestion& question) {
  const auto client = addr_of(question.client);
  const auto count = static_cast<std::uint32_t>(question.run.size());
  if (question.row.algorithm == WEFT_ALGORITHM_SOURCE_HASH) {
    const auto slot = weft_hash_slot(weft_hash_client(question.hash_seed, &client), count);
    return by_slot(
        question, slot,
        fmt::format("source hash: the hash of {} leads to slot {} of {}", question.client.to_string(), slot, count));
  }
  const auto hash = weft_hash_flow(question.hash_seed, &client, htons(question.client_port),
                                   static_cast<std::uint8_t>(question.protocol));
  const auto slot = weft_hash_slot(hash, count);
  return by_slot(question, slot,
                 fmt::format("Maglev: the hash of {} port {} {} leads to slot {} of {}", question.client.to_string(),
                             question.client_port, to_string(question.protocol), slot, count));
}

ChoiceAnswer by_connections(const ChoiceQuestion& question) {
  ChoiceAnswer answer;
  answer.shares = shares_of(question.run);
  if (question.active.size() != question.run.size()) {
    answer.why = "least connections: the one with the fewest open flows, which are not known here";
    return answer;
  }
  if (question.run.size() > compared_slots) {
    answer.why = fmt::format("least connections: the fewest open flows of 4 slots out of {}, taken at random",
                             question.run.size());
    return answer;
  }
  const auto fewest = *std::ranges::min_element(question.active);
  std::vector<std::uint32_t> idle;
  for (std::size_t i = 0; i < question.run.size(); ++i)
    if (question.active[i] == fewest) idle.push_back(question.run[i]);
  answer.shares = shares_of(idle);
  if (answer.shares.size() == 1) answer.backend = idle.front();
  answer.why = answer.backend
                   ? fmt::format("least connections: it has the fewest open flows, {}", fewest)
                   : fmt::format("least connections: one of {} with {} open flows each", answer.shares.size(), fewest);
  return answer;
}

}  // namespace

std::pair<std::uint32_t, std::uint32_t> slots_of(const weft_service& row, ClientScope scope) {
  if (scope == ClientScope::external) return {row.external_first_slot, row.external_slot_count};
  return {row.first_slot, row.slot_count};
}

ChoiceAnswer choose_backend(const ChoiceQuestion& question) {
  ChoiceAnswer answer;
  if (question.run.empty()) {
    answer.why = question.scope == ClientScope::external && (question.row.flags & WEFT_SERVICE_EXTERNAL_LOCAL) != 0
                     ? "no endpoint on this node can take new flows, and externalTrafficPolicy is Local"
                     : "no endpoint can take new flows";
    return answer;
  }
  if (question.row.affinity_seconds != 0 && question.remembered_backend) {
    answer.backend = question.remembered_backend;
    answer.why =
        fmt::format("session affinity remembers it, for {} s after each new flow", question.row.affinity_seconds);
    return answer;
  }
  if (std::ranges::all_of(question.run, [&](std::uint32_t backend) { return backend == question.run.front(); }))
    return by_slot(question, 0, "it is the only one");
  switch (question.row.algorithm) {
    case WEFT_ALGORITHM_MAGLEV:
    case WEFT_ALGORITHM_SOURCE_HASH:
      return by_hash(question);
    case WEFT_ALGORITHM_LEAST_CONNECTIONS:
      return by_connections(question);
    case WEFT_ALGORITHM_ROUND_ROBIN:
      if (question.cursor) {
        const auto slot = *question.cursor % static_cast<std::uint32_t>(question.run.size());
        return by_slot(question, slot,
                       fmt::format("round robin: it is next, slot {} of {}", slot, question.run.size()));
      }
      answer.why = "round robin: each slot in turn";
      break;
    default:
      answer.why = fmt::format("random: any of {} slots", question.run.size());
  }
  answer.shares = shares_of(question.run);
  return answer;
}

}  // namespace weft::control
