#include "control/services/endpoint_choice.h"

#include <algorithm>

namespace weft::control::services {
namespace {

bool is_open(const Backend& backend) { return backend.has(backend_ordinary | backend_healthy) && backend.weight != 0; }

bool is_closing(const Backend& backend) {
  return is_open(backend) && !backend.has(backend_ready) && backend.has(backend_serving | backend_terminating);
}

// The bit an endpoint must have to be chosen by its hint; 0: hints do not count. They count only when every
// ready endpoint has one and some ready endpoint is meant for here; the node goes before the zone.
std::uint16_t topology_bit(std::span<const Backend> backends) {
  const auto applies = [&](std::uint16_t has_hint, std::uint16_t here) {
    bool any = false;
    for (const auto& backend : backends) {
      if (!is_usable(backend)) continue;
      if (!backend.has(has_hint)) return false;
      any = any || backend.has(here);
    }
    return any;
  };
  if (applies(backend_hints_node, backend_this_node)) return backend_this_node;
  if (applies(backend_hints_zone, backend_this_zone)) return backend_this_zone;
  return 0;
}

}  // namespace

bool is_usable(const Backend& backend) { return is_open(backend) && backend.has(backend_ready); }

void choose_endpoints(std::span<Backend> backends, bool use_cluster, bool use_local) {
  // Ready ones; when there is none, those that end but still answer.
  const auto mark = [&](std::uint16_t run, std::uint16_t wanted, std::uint16_t wanted_when_closing) {
    bool any = false;
    for (auto& backend : backends)
      if (is_usable(backend) && backend.has(wanted)) {
        backend.bits |= run;
        any = true;
      }
    if (any) return;
    for (auto& backend : backends)
      if (is_closing(backend) && backend.has(wanted_when_closing)) backend.bits |= run;
  };
  if (use_cluster) mark(backend_in_cluster, topology_bit(backends), 0);
  if (use_local) mark(backend_in_local, backend_local, backend_local);
}

}  // namespace weft::control::services
