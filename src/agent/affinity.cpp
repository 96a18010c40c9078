#include "agent/affinity.h"

#include <map>
#include <set>
#include <vector>

namespace weft::agent {

void forget_stale_affinity(bpfrt::RawMap& affinity, const control::CompiledServices& services) {
  std::map<std::uint32_t, std::set<std::uint32_t>> usable;  // service id -> backend ids
  for (const auto& frontend : services.frontends) {
    if (frontend.affinity_seconds == 0) continue;
    auto& backends = usable[frontend.id];
    for (const auto& backend : frontend.backends) backends.insert(backend.id);
  }
  if (usable.empty()) return;
  bpfrt::Map<weft_affinity_key, weft_affinity> map(affinity);
  std::vector<weft_affinity_key> stale;
  (void)map.for_each([&](const weft_affinity_key& key, const weft_affinity& value) {
    const auto service = usable.find(key.service_id);
    if (service == usable.end() || !service->second.contains(value.backend_id)) stale.push_back(key);
    return true;
  });
  for (const auto& key : stale) (void)map.erase(key);
}

}  // namespace weft::agent
