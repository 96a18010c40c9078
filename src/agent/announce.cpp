#include "agent/announce.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>

#include "agent/address_pools.h"
#include "agent/external_addresses.h"

namespace weft::agent {
namespace {

bool names_device(const std::string& pattern, const std::string& device) {
  return ::fnmatch(pattern.c_str(), device.c_str(), 0) == 0;
}

bool names_device(const model::L2Announcement& announcement, const std::string& device) {
  return announcement.interfaces.empty() ||
         std::ranges::any_of(announcement.interfaces, [&](const auto& name) { return names_device(name, device); });
}

bool covers(const model::L2Announcement& announcement, control::FrontendKind kind) {
  return (kind == control::FrontendKind::external_ip && announcement.external_ips) ||
         (kind == control::FrontendKind::load_balancer && announcement.load_balancer_ips);
}

// A name that is nobody's is a mistake; a pattern may be for other nodes, as long as another one fits here.
std::vector<std::string> device_problems(const model::L2Announcement& announcement, const Node& node) {
  const auto is_uplink = [&](const std::string& pattern) {
    return std::ranges::any_of(node.uplinks,
                               [&](const auto& entry) { return names_device(pattern, entry.second.name); });
  };
  const bool nowhere = std::ranges::none_of(announcement.interfaces, is_uplink);
  std::string uplinks;
  for (const auto& [index, uplink] : node.uplinks) uplinks += (uplinks.empty() ? "" : ", ") + uplink.name;
  std::vector<std::string> problems;
  for (const auto& name : announcement.interfaces) {
    if (is_uplink(name) || (!nowhere && name.find_first_of("*?[") != std::string::npos)) continue;
    problems.push_back(fmt::format(
        "L2Announcement {}: spec.interfaces: no uplink of this node is named {}, so nothing is announced there; its "
        "uplinks are {}: correct the name, or add the device to `devices` in the configuration",
        announcement.meta.name, name, uplinks.empty() ? "none" : uplinks));
  }
  return problems;
}

class Collector {
 public:
  Collector(const Objects& objects, const control::ServiceCompiler& services, const Node& node, const Config& config)
      : objects_(objects),
        services_(services),
        node_(node),
        config_(config),
        pod_pools_(further_cidrs(config, objects)) {}

  void add(const model::ObjectKey& service, const control::ServiceFrontend& frontend, const LabelMap& labels) {
    if (node_.addresses.contains(frontend.address)) return;  // the stack answers
    bool allowed = false;
    for (const auto& [name, announcement] : objects_.announcements()) {
      if (!covers(announcement, frontend.kind)) continue;
      if (announcement.service_selector && !announcement.service_selector->matches(labels)) continue;
      if (!allowed && !admit(service, frontend)) return;
      allowed = true;
      for (const auto& [index, uplink] : node_.uplinks) {
        if (!names_device(announcement, uplink.name)) continue;
        weft_l2 row{};
        std::ranges::copy(uplink.mac.bytes, row.mac);
        result_.rows[{datapath::to_abi(frontend.address), index}] = row;
      }
    }
  }
  Announcements take() {
    for (const auto& [name, announcement] : objects_.announcements())
      std::ranges::move(device_problems(announcement, node_), std::back_inserter(result_.problems));
    return std::move(result_);
  }

 private:
  // Who writes a Service must not draw the traffic of others: of its router, say.
  bool admit(const model::ObjectKey& service, const control::ServiceFrontend& frontend) {
    auto why = taken_by(frontend.address, config_, node_, pod_pools_);
    if (why.empty() && !config_.external_ips && named_by_itself(service, frontend))
      why = "is in no LoadBalancerPool, and this node serves no other addresses (`external_ips: false`)";
    if (!why.empty()) result_.refused.insert_or_assign(frontend.address, why);
    return why.empty();
  }
  [[nodiscard]] bool named_by_itself(const model::ObjectKey& service, const control::ServiceFrontend& frontend) const {
    if (frontend.kind == control::FrontendKind::external_ip) return true;
    const auto given = services_.held(service).load_balancer_ips;
    return std::ranges::find(given, frontend.address) == given.end();
  }

  const Objects& objects_;
  const control::ServiceCompiler& services_;
  const Node& node_;
  const Config& config_;
  std::vector<Cidr> pod_pools_;
  Announcements result_;
};

}  // namespace

Announcements announcements(const Objects& objects, const ServiceFacts& facts, const control::ServiceCompiler& services,
                            const Node& node, const Config& config) {
  if (objects.announcements().empty()) return {};
  Collector collector(objects, services, node, config);
  for (const auto& [service, labels] : facts.announceable())
    for (const auto* port : services.ports_of(service))
      for (const auto& frontend : port->frontends) collector.add(service, frontend, labels);
  return collector.take();
}

}  // namespace weft::agent
