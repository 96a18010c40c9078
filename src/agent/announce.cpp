#include "agent/announce.h"

#include <fnmatch.h>
#include <algorithm>

namespace weft::agent {
namespace {

bool names_device(const model::L2Announcement& announcement, const std::string& device) {
  return announcement.interfaces.empty() ||
         std::ranges::any_of(announcement.interfaces, [&](const std::string& pattern) {
           return ::fnmatch(pattern.c_str(), device.c_str(), 0) == 0;
         });
}

bool covers(const model::L2Announcement& announcement, control::FrontendKind kind) {
  return (kind == control::FrontendKind::external_ip && announcement.external_ips) ||
         (kind == control::FrontendKind::load_balancer && announcement.load_balancer_ips);
}

}  // namespace

datapath::Rows<weft_l2_key, weft_l2> announced_rows(const Objects& objects, const ServiceFacts& facts,
                                                    const control::ServiceCompiler& services, const Node& node) {
  datapath::Rows<weft_l2_key, weft_l2> rows;
  if (objects.announcements().empty()) return rows;
  const auto announce = [&](const control::ServiceFrontend& frontend, const LabelMap& labels) {
    for (const auto& [name, announcement] : objects.announcements()) {
      if (!covers(announcement, frontend.kind)) continue;
      if (announcement.service_selector && !announcement.service_selector->matches(labels)) continue;
      for (const auto& [index, uplink] : node.uplinks) {
        if (!names_device(announcement, uplink.name)) continue;
        weft_l2 row{};
        std::ranges::copy(uplink.mac.bytes, row.mac);
        rows[{datapath::to_abi(frontend.address), index}] = row;
      }
    }
  };
  for (const auto& [service, labels] : facts.announceable())
    for (const auto* port : services.ports_of(service))
      for (const auto& frontend : port->frontends)
        if (!node.addresses.contains(frontend.address) && !node.broadcasts.contains(frontend.address))
          announce(frontend, labels);
  return rows;
}

}  // namespace weft::agent
