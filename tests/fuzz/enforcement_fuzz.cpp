// What a node tells of the policies it enforces, which any program with access to the store may have written: what is
// read is read again from what encode makes of it, and what is found in it is what it holds.
#include "sources/cluster/enforcement.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>

#include "sources/cluster/enforcement_view.h"

namespace {

namespace cluster = weft::cluster;

constexpr std::string_view name_of_key = "/weft/v1/c/enforcement/fuzzed";

void require(bool holds) {
  if (!holds) std::abort();
}

void finds(const cluster::Enforcement& enforcement) {
  for (const auto& policy : enforcement.policies) {
    require(enforcement.find(policy.namespace_, policy.name) == &policy);
    require(!enforcement.omits(policy.namespace_, policy.name));
    require(!policy.version.empty());
  }
  require(enforcement.omits("\xff", "") == (enforcement.omitted != 0));
}

// As many as fit, from the first on, and none is lost count of.
void within(const cluster::Enforcement& enforcement, std::size_t most) {
  if (enforcement.omitted > std::numeric_limits<std::uint32_t>::max()) return;
  const auto text = cluster::encode_within(enforcement, most);
  const auto read = cluster::decode_enforcement(name_of_key, text);
  require(read.has_value());
  require(text.size() <= most || read->policies.empty());
  require(read->policies.size() + read->omitted == enforcement.policies.size() + enforcement.omitted);
  for (std::size_t i = 0; i < read->policies.size(); ++i) require(read->policies[i] == enforcement.policies[i]);
}

// Whoever follows the nodes sees each of its policies, and nothing of them once it is gone.
void viewed(const cluster::Enforcement& enforcement) {
  cluster::EnforcementView view;
  const cluster::EnforcementView::Time now{};
  view.set_alive("node", enforcement.boot_id, now);
  require(view.set("node", enforcement, now).size() == enforcement.policies.size());
  require(view.policies_of("node").size() == enforcement.policies.size());
  require(view.set("node", enforcement, now).empty());
  require(view.set("node", std::nullopt, now).size() == enforcement.policies.size());
  require(view.policies_of("node").empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto first = cluster::decode_enforcement(name_of_key, bytes);
  if (!first) {
    require(first.error().message.find(name_of_key) != std::string::npos);
    return 0;
  }
  const std::string text = cluster::encode(*first);
  const auto again = cluster::decode_enforcement(name_of_key, text);
  require(again.has_value() && *again == *first && cluster::encode(*again) == text);
  require(first->tells_as(*again));
  finds(*first);
  within(*first, std::size_t{data[0]} * 16);
  viewed(*first);
  return 0;
}
