// API: what the kernel's maps hold.
#include <nlohmann/json.hpp>

#include "agent/agent.h"
#include "agent/counters.h"
#include "agent/map_dump.h"
#include "agent/memory.h"
#include "api/params.h"

namespace weft::agent {

using nlohmann::json;

void Agent::register_bpf() {
  server_->handle("bpf.list", [this](const json& params) -> api::Answer {
    WEFT_TRY(const auto name, api::required_text(params, "map"));
    WEFT_TRY(const auto limit, api::optional_number(params, "limit", 0));
    WEFT_TRY(auto items, dump_map(*datapath_, name, limit, compiler().rules(), services()));
    if (items.size() >= many_items) give_memory_back(loop_);
    return json{{"items", std::move(items)}};
  });
  server_->handle("bpf.stats", [this](const json& params) -> api::Answer {
    WEFT_TRY(const auto name, api::optional_text(params, "map"));
    json result{{"items", json::array()}};
    if (name.empty() || name == "drops")
      for (auto& item : drop_counters(datapath_->map("weft_drops_v1"))) result["items"].push_back(item);
    if (name.empty() || name == "stats")
      for (auto& item : stat_counters(datapath_->map("weft_stats_v1"))) result["items"].push_back(item);
    if (!name.empty() && name != "drops" && name != "stats") {
      WEFT_TRY(const auto items, dump_map(*datapath_, name, 0, compiler().rules(), services()));
      result["items"].push_back({{"map", name}, {"entries", items.size()}});
    }
    return result;
  });
}

}  // namespace weft::agent
