// Which Service has which node port, health check ports included. A number belongs to one Service, which may use
// it for several protocols of one of its ports, as with Kubernetes' own allocator.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/result.h"
#include "control/services/names.h"
#include "control/services/services.h"

namespace weft::control::services {

class NodePorts {
 public:
  NodePorts(std::uint16_t first, std::uint16_t last) : first_(first), last_(last) {}

  // Fills `chosen` with the node ports and the health check port the Service shall have, given those it has.
  // Nothing changes until `claim`.
  [[nodiscard]] Result<void> choose(const model::Service& service, const Key& key, const ServiceAssignment& held,
                                    ServiceAssignment& chosen) const;
  // Given to those only who ask for them, until it is called again.
  void speak_for(std::unordered_set<std::uint16_t> ports) { spoken_for_ = std::move(ports); }
  void claim(const Key& service, const ServiceAssignment& assignment);
  void release(const Key& service, const ServiceAssignment& assignment);

 private:
  class Choice;
  [[nodiscard]] Result<void> check_requested(const Key& service, std::uint16_t port) const;
  [[nodiscard]] bool in_range(std::uint16_t port) const { return port >= first_ && port <= last_; }

  std::uint16_t first_;
  std::uint16_t last_;
  std::unordered_map<std::uint16_t, Key> owner_of_;
  std::unordered_set<std::uint16_t> spoken_for_;
  std::uint16_t cursor_ = 0;  // the last one claimed anew, so that reuse is late
};

}  // namespace weft::control::services
