// Records of the ring buffer: the datapath may be of another version than the agent.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <span>

#include "flow/filter.h"
#include "flow/format.h"
#include "flow/render.h"
#include "flow/store.h"
#include "flow/testing.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weft::flow;  // NOLINT
  static FlowStore store = [] {
    FlowStore result({.capacity = 16});
    result.set_enrichment(testing::shop());
    return result;
  }();
  static const FlowFilter filter =
      *FlowFilter::parse({{"ip", {"10.0.0.0/8"}}, {"port", {"6379"}}, {"label", {"app"}}, {"pod", {"shop/"}}});
  const auto records = std::as_bytes(std::span(data, size));
  const std::size_t step = sizeof(weft_event);
  for (std::size_t at = 0; at < records.size(); at += step) {
    if (!store.add(records.subspan(at, std::min(step, records.size() - at)))) continue;
    const auto* flow = store.find(store.next() - 1);
    if (flow == nullptr) std::abort();
    (void)filter.matches(*flow);
    const auto object = to_json(*flow, "node");
    (void)object.dump();  // throws on text that is not UTF-8
    (void)compact_line(object, true);
    (void)flow_cells(object);
  }
  return 0;
}
