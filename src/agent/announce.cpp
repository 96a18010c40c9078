#include "agent/announce.h"

#include <fnmatch.h>
#include <algorithm>

namespace weft::agent {
namespace {

std::vector<const model::L2Announcement*> announcements_of(const Objects& objects) {
  std::vector<const model::L2Announcement*> result;
  for (auto at = objects.all().lower_bound({model::Kind::l2_announcement, {}}); at != objects.all().end(); ++at) {
    if (at->first.kind != model::Kind::l2_announcement) break;
    if (const auto* announcement = std::get_if<model::L2Announcement>(&at->second.object))
      result.push_back(announcement);
  }
  return result;
}

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

bool has_announcements(const Objects& objects) { return !announcements_of(objects).empty(); }

datapath::Rows<weft_l2_key, weft_l2> announced_rows(const Objects& objects, const control::ServiceCompiler& services,
                                                    const Node& node) {
  datapath::Rows<weft_l2_key, weft_l2> rows;
  const auto announcements = announcements_of(objects);
  if (announcements.empty()) return rows;
  services.for_each([&](const control::ServicePort& port) {
    for (const auto& frontend : port.frontends) {
      if (frontend.kind != control::FrontendKind::external_ip && frontend.kind != control::FrontendKind::load_balancer)
        continue;
      const auto* entry = objects.find({model::Kind::service, port.service});
      if (entry == nullptr || node.addresses.contains(frontend.address)) continue;
      for (const auto* announcement : announcements) {
        if (!covers(*announcement, frontend.kind)) continue;
        if (announcement->service_selector &&
            !announcement->service_selector->matches(model::metadata_of(entry->object).labels))
          continue;
        for (const auto& [index, uplink] : node.uplinks) {
          if (!names_device(*announcement, uplink.name)) continue;
          weft_l2 row{};
          std::ranges::copy(uplink.mac.bytes, row.mac);
          rows[{datapath::to_abi(frontend.address), index}] = row;
        }
      }
    }
  });
  return rows;
}

}  // namespace weft::agent
