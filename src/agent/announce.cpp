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

// FNV-1a and a finisher: any function that every node has alike.
std::uint64_t weight_of(const std::string& address, const std::string& node) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  const auto feed = [&hash](const std::string& text) {
    for (const char c : text + '\n') hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  };
  feed(address);
  feed(node);
  hash = (hash ^ (hash >> 33U)) * 0xff51afd7ed558ccdU;
  return hash ^ (hash >> 33U);
}

bool is_for(const model::L2Announcement& announcement, const LabelMap& node) {
  return !announcement.node_selector || announcement.node_selector->matches(node);
}

// The nodes with an endpoint of it that takes new flows; this one is "".
std::set<std::string> nodes_with_endpoint(const control::ServicePort& port) {
  std::set<std::string> nodes;
  for (const auto& backend : port.backends)
    if (backend.ready && !backend.terminating && backend.healthy && backend.weight != 0)
      nodes.insert(backend.local ? std::string() : backend.node);
  return nodes;
}

class Collector {
 public:
  Collector(const Objects& objects, const control::ServiceCompiler& services, const Node& node, const Config& config,
            const ClusterView& cluster)
      : objects_(objects),
        services_(services),
        node_(node),
        config_(config),
        clustered_(cluster.clustered),
        labels_(config.labels()),
        pod_pools_(further_cidrs(config, objects)) {
    for (const auto& [name, announcement] : objects_.announcements())
      for (const auto& [other, known] : cluster.nodes)
        if (known.alive && !known.self && is_for(announcement, known.labels))
          result_.nodes[name.to_string()].push_back(other);
  }

  void add(const control::ServicePort& port, const control::ServiceFrontend& frontend, const LabelMap& labels) {
    if (node_.addresses.contains(frontend.address)) return;  // the stack answers
    std::optional<std::set<std::string>> with_endpoint;
    if (clustered_ && port.external_local) with_endpoint = nodes_with_endpoint(port);
    bool allowed = false;
    for (const auto& [name, announcement] : objects_.announcements()) {
      if (!covers(announcement, frontend.kind) || !is_for(announcement, labels_)) continue;
      if (announcement.service_selector && !announcement.service_selector->matches(labels)) continue;
      if (!allowed && !admit(port.service, frontend)) return;
      allowed = true;
      if (with_endpoint && !with_endpoint->contains("")) continue;
      for (const auto& [index, uplink] : node_.uplinks) {
        if (!names_device(announcement, uplink.name)) continue;
        weft_l2 row{};
        std::ranges::copy(uplink.mac.bytes, row.mac);
        result_.rows[{datapath::to_abi(frontend.address), index}] = row;
        if (clustered_) stand(frontend.address, name.to_string(), with_endpoint);
      }
    }
  }
  Announcements take() {
    for (const auto& [name, announcement] : objects_.announcements())
      if (is_for(announcement, labels_))
        std::ranges::move(device_problems(announcement, node_), std::back_inserter(result_.problems));
    return std::move(result_);
  }

 private:
  // Services that share an address have it with the endpoints of all of them.
  void stand(const IpAddress& address, const std::string& announcement,
             const std::optional<std::set<std::string>>& with_endpoint) {
    const auto [found, added] = result_.candidacies.try_emplace(address);
    auto& candidacy = found->second;
    candidacy.announcements.insert(announcement);
    if (added)
      candidacy.with_endpoint = with_endpoint;
    else if (candidacy.with_endpoint && with_endpoint)
      candidacy.with_endpoint->insert(with_endpoint->begin(), with_endpoint->end());
    else
      candidacy.with_endpoint.reset();
  }
  bool admit(const model::ObjectKey& service, const control::ServiceFrontend& frontend) {
    const auto why = not_to_be_told(service, frontend, services_, config_, node_, pod_pools_);
    if (!why.empty()) result_.refused.insert_or_assign(frontend.address, why);
    return why.empty();
  }

  const Objects& objects_;
  const control::ServiceCompiler& services_;
  const Node& node_;
  const Config& config_;
  const bool clustered_;
  const LabelMap labels_;
  const std::vector<Cidr> pod_pools_;
  Announcements result_;
};

}  // namespace

unsigned Announcements::rank(const IpAddress& address, const std::string& self) const {
  const auto found = candidacies.find(address);
  if (found == candidacies.end()) return 0;
  const auto& [announcements, with_endpoint] = found->second;
  const auto text = address.to_string();
  const std::pair own(weight_of(text, self), self);
  std::set<std::string> before;
  for (const auto& announcement : announcements)
    if (const auto candidates = nodes.find(announcement); candidates != nodes.end())
      for (const auto& node : candidates->second)
        if ((!with_endpoint || with_endpoint->contains(node)) && std::pair(weight_of(text, node), node) > own)
          before.insert(node);
  return static_cast<unsigned>(before.size());
}

Announcements announcements(const Objects& objects, const ServiceFacts& facts, const control::ServiceCompiler& services,
                            const Node& node, const Config& config, const ClusterView& cluster) {
  if (objects.announcements().empty()) return {};
  Collector collector(objects, services, node, config, cluster);
  for (const auto& [service, labels] : facts.announceable())
    for (const auto* port : services.ports_of(service))
      for (const auto& frontend : port->frontends) collector.add(*port, frontend, labels);
  return collector.take();
}

}  // namespace weft::agent
