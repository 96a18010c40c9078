#include "datapath/table_sizes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>

#include "abi/service.h"

namespace weft::datapath {
namespace {

using Pinned = std::function<bpfrt::RawMap*(const std::string& name)>;

std::uint32_t size_of(bpfrt::RawMap* map) {
  if (map == nullptr) return 0;
  const auto info = map->info();
  return info ? info->max_entries : 0;
}

// What the rows of the frontends need: of frontends and service ids, and of slots.
struct Need {
  std::uint64_t services = 0;
  std::uint64_t slots = 0;
};

Need need_of(bpfrt::RawMap* frontends) {
  Need need;
  if (frontends == nullptr) return need;
  const auto info = frontends->info();
  if (!info || info->key_size != sizeof(weft_service_key) || info->value_size != sizeof(weft_service)) return need;
  std::set<std::uint32_t> ids;
  std::map<std::uint32_t, std::uint32_t> runs;  // first slot, length
  std::uint64_t count = 0;
  (void)bpfrt::Map<weft_service_key, weft_service>(*frontends).for_each([&](const auto&, const weft_service& row) {
    ++count;
    ids.insert(row.service_id);
    for (const auto& [first, length] :
         {std::pair{row.first_slot, row.slot_count}, std::pair{row.external_first_slot, row.external_slot_count}})
      if (length != 0) runs[first] = std::max(runs[first], length);
    return true;
  });
  need.services = std::max<std::uint64_t>(count, ids.empty() ? 0 : ids.size() + 1);  // id 0 is not used
  for (const auto& [first, length] : runs) need.slots += length;
  return need;
}

std::uint64_t backends_in(bpfrt::RawMap* map) {
  if (map == nullptr) return 0;
  const auto rows = bpfrt::ArrayRows<weft_backend>::open(*map);
  if (!rows) return 0;
  std::uint64_t used = 0;
  const auto listed = rows->for_each([&](std::uint32_t, const weft_backend& row) {
    used += row.state != WEFT_BACKEND_GONE ? 1 : 0;
    return true;
  });
  if (!listed) return rows->size();  // they may all be in use
  return used == 0 ? 0 : used + 1;   // id 0 is not used
}

bool fits(std::uint64_t need, std::uint32_t entries) { return need <= entries - entries / 8; }

void keep(std::uint32_t& wanted, std::uint32_t present, std::uint64_t need, const char* option,
          std::vector<std::string>& kept) {
  if (present <= wanted || fits(need, wanted)) return;
  kept.push_back(
      fmt::format("{} is {}, too few for what the table holds, {}: it keeps its size of {}; raise {} to {} "
                  "or more, or delete Services and restart weftd",
                  option, wanted, need, present, option, need + need / 4));
  wanted = present;
}

}  // namespace

std::vector<std::string> keep_sizes(Options& options, const Pinned& pinned) {
  std::vector<std::string> kept;
  auto* frontends = pinned("weft_svc_v2");
  auto* backends = pinned("weft_backend_v2");
  const auto services_present = size_of(frontends);
  const auto backends_present = size_of(backends);
  const auto slots_present = size_of(pinned("weft_slot_v2"));
  // Reading all rows is for the rare start that makes a table smaller.
  if (services_present > options.service_entries || slots_present > options.slot_entries) {
    const auto need = need_of(frontends);
    keep(options.service_entries, services_present, need.services, "service_table_entries", kept);
    keep(options.slot_entries, slots_present, need.slots, "slot_table_entries", kept);
  }
  if (backends_present > options.backend_entries)
    keep(options.backend_entries, backends_present, backends_in(backends), "backend_table_entries", kept);
  return kept;
}

}  // namespace weft::datapath
