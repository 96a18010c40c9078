#include "agent/counters.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "abi/config.h"

namespace weft::agent {
namespace {

using nlohmann::json;

struct Named {
  const char* name;
  const char* meaning;
};

constexpr Named reasons[] = {
#define WEFT_NAMED(name, text, meaning) {text, meaning},
    WEFT_DROP_REASONS(WEFT_NAMED)};
constexpr Named stats_names[] = {WEFT_STATS(WEFT_NAMED)
#undef WEFT_NAMED
};

// The kernel hands out one value for each possible CPU, each rounded up to eight bytes.
template <class T, class Add>
void sum(const bpfrt::RawMap* map, std::uint32_t index, Add add) {
  if (map == nullptr) return;
  const auto values = map->lookup(std::as_bytes(std::span<const std::uint32_t, 1>(&index, 1)));
  if (!values || !*values) return;
  for (std::size_t at = 0; at + sizeof(T) <= (*values)->size(); at += sizeof(T)) {
    T value{};
    std::memcpy(&value, (*values)->data() + at, sizeof(T));
    add(value);
  }
}

}  // namespace

json drop_counters(const bpfrt::RawMap* drops) {
  auto list = json::array();
  for (std::uint32_t reason = 1; reason < WEFT_DROP_REASON_COUNT; ++reason) {
    weft_counter total{};
    sum<weft_counter>(drops, reason, [&](const weft_counter& counter) {
      total.packets += counter.packets;
      total.bytes += counter.bytes;
    });
    if (total.packets == 0) continue;
    list.push_back({{"reason", reasons[reason].name},
                    {"meaning", reasons[reason].meaning},
                    {"packets", total.packets},
                    {"bytes", total.bytes}});
  }
  return list;
}

json stat_counters(const bpfrt::RawMap* stats) {
  auto list = json::array();
  for (std::uint32_t index = 0; index < WEFT_STAT_COUNT; ++index) {
    std::uint64_t total = 0;
    sum<std::uint64_t>(stats, index, [&](std::uint64_t value) { total += value; });
    list.push_back({{"name", stats_names[index].name}, {"meaning", stats_names[index].meaning}, {"value", total}});
  }
  return list;
}

}  // namespace weft::agent
