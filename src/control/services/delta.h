// What must change in the maps of services: made by the compiler, written by the datapath.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "abi/service.h"

namespace weft::control {

struct SlotRun {
  std::uint32_t first = 0;
  std::vector<std::uint32_t> backends;
};

// What must change in the maps. The writer's order: backends and slots, source ranges to add, port
// words, frontends to upsert, frontends to erase; then port words again, backends and source ranges to remove.
struct ServiceDelta {
  bool whole = false;  // the first one: whatever else the maps hold goes
  std::vector<std::pair<std::uint32_t, weft_backend>> backends;
  std::vector<std::uint32_t> backends_gone;
  std::vector<std::uint32_t> backends_new;  // their weft_bstat_v1 starts at zero
  std::vector<std::uint32_t> services_new;  // their weft_svcstate_v1 starts at zero
  std::vector<SlotRun> slots;
  std::vector<std::pair<weft_service_key, weft_service>> frontends;
  std::vector<weft_service_key> frontends_gone;
  std::vector<weft_source_range_key> source_ranges;
  std::vector<weft_source_range_key> source_ranges_gone;
  std::vector<std::pair<std::uint32_t, std::uint64_t>> port_words;  // index of weft_ports_v1, new value
  // A flow that exists may have to be decided again. One more backend is no reason.
  [[nodiscard]] bool changes_decisions() const {
    return !backends_gone.empty() || !frontends_gone.empty() || !source_ranges_gone.empty();
  }
  [[nodiscard]] bool empty() const {
    return !whole && backends.empty() && backends_gone.empty() && slots.empty() && frontends.empty() &&
           frontends_gone.empty() && source_ranges.empty() && source_ranges_gone.empty() && port_words.empty();
  }
};

}  // namespace weft::control
