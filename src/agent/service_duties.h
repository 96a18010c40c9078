// What the agent does for Services besides filling maps: health check ports, probing of backends, telling the
// neighbours about addresses. On the agent's loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/checker.h"
#include "agent/health_port.h"
#include "agent/l2.h"
#include "agent/l2_listener.h"
#include "agent/probe_scope.h"
#include "agent/publisher.h"
#include "sources/cluster/announcers.h"
#include "sys/packet_socket.h"

namespace weft::agent {

// What the Services with a health check want probed, as far as this node may.
CheckTargets check_targets(const std::map<model::ObjectKey, model::HealthCheck>& checks,
                           const control::ServiceCompiler& services, const ProbeScope& scope);

class ServiceDuties {
 public:
  using Note = std::function<void(const std::string& problem)>;
  // The publisher asks it from now on which addresses may be announced, and is to publish again after refresh() only.
  ServiceDuties(asio::io_context& loop, Publisher& publisher, std::function<bool()> proxy_healthy, Note note);
  // Of a cluster, before the first refresh(): which addresses this node announces is agreed on there. `is_node` says
  // whether a device is another node's.
  void set_cluster(const std::string& node, cluster::Announcers& announcers,
                   std::function<bool(const MacAddress& mac)> is_node);
  // What was agreed is another.
  void agreed();

  // Does what follows from the last differences of services; cheap when there were none.
  void refresh();

  [[nodiscard]] const Checker& checker() const { return checker_; }
  // Why the address is not announced, or not everywhere, though an L2Announcement covers it; empty: it is, or none
  // does.
  [[nodiscard]] std::string unannounced(const IpAddress& address, const Node& node) const;
  // Standing troubles, for the status.
  [[nodiscard]] std::vector<std::string> problems(const Node& node) const;

 private:
  [[nodiscard]] datapath::Rows<weft_l2_key, weft_l2> agreed_rows() const;
  void wish();
  void claim();
  void announcements_changed();
  void tell_conflicts();
  Result<void> send(std::uint32_t ifindex, std::span<const std::uint8_t> frame);

  Publisher& publisher_;
  Note note_;
  std::optional<sys::PacketSocket> socket_;
  HealthPorts health_ports_;
  Checker checker_;
  L2Announcer announcer_;
  L2Listener listener_;
  cluster::Announcers* announcers_ = nullptr;  // null: this node is by itself
  std::string node_;
  std::map<std::pair<IpAddress, std::uint32_t>, std::string> conflicts_;  // as they were logged
  std::optional<std::uint64_t> seen_;                                     // Publisher::service_revision()
};

}  // namespace weft::agent
