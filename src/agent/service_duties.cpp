#include "agent/service_duties.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>

namespace weft::agent {
namespace {

// From one candidate's try to take a free address to the next one's: time for the news of it.
constexpr auto turn = std::chrono::milliseconds(150);
constexpr unsigned most_turns = 3;

}  // namespace

CheckTargets check_targets(const std::map<model::ObjectKey, model::HealthCheck>& checks,
                           const control::ServiceCompiler& services, const ProbeScope& scope) {
  CheckTargets targets;
  for (const auto& [key, check] : checks)
    for (const auto* port : services.ports_of(key)) {
      // Probes speak TCP: datagram ports need a port of their own for it.
      if (check.port == 0 && port->protocol != Protocol::tcp) continue;
      for (const auto& backend : port->backends) {
        CheckTarget target{backend.address, check.port, check};
        if (target.port == 0) target.port = backend.port;
        target.check.port = 0;
        if (!scope.unchecked(key, target.address, target.port).empty()) continue;
        targets[target].insert({backend.address, backend.port, port->protocol});
      }
    }
  return targets;
}

ServiceDuties::ServiceDuties(asio::io_context& loop, Publisher& publisher, std::function<bool()> proxy_healthy,
                             Note note)
    : publisher_(publisher),
      note_(std::move(note)),
      health_ports_(loop, std::move(proxy_healthy), {}),
      checker_(loop,
               [this](const CheckedBackend& backend, bool healthy) {
                 spdlog::info("backend {} port {}/{} is {}", backend.address.to_string(), backend.port,
                              weft::to_string(backend.protocol), healthy ? "healthy" : "not healthy");
                 auto published = publisher_.set_healthy(backend.address, backend.port, backend.protocol, healthy);
                 if (!published) note_("publishing what a health check found: " + published.error().message);
               },
               {}),
      announcer_(
          loop, [this](std::uint32_t ifindex, std::span<const std::uint8_t> frame) { return send(ifindex, frame); },
          [this] { announcements_changed(); }),
      listener_(loop, [this](std::uint32_t ifindex, const Heard& heard) { announcer_.heard(ifindex, heard); }) {
  announcer_.adopt(publisher_.announced());
  publisher_.set_may_announce([this](const weft_l2_key& key) { return announcer_.may_announce(key); });
}

void ServiceDuties::set_cluster(const std::string& node, cluster::Announcers& announcers,
                                std::function<bool(const MacAddress& mac)> is_node) {
  node_ = node;
  announcers_ = &announcers;
  std::set<IpAddress> answered;
  for (const auto& [key, row] : publisher_.announced()) answered.insert(datapath::from_abi(key.addr));
  announcers.adopt(answered);
  announcer_.set_cluster({.is_node = std::move(is_node), .is_agreed = [&announcers](const IpAddress& address) {
                            return announcers.surely_has(address);
                          }});
}

// Whoever comes first for an address tries first, so that a node that has many is an accident.
void ServiceDuties::wish() {
  if (announcers_ == nullptr) return;
  std::set<IpAddress> addresses;
  for (const auto& [key, row] : publisher_.announcements().rows) addresses.insert(datapath::from_abi(key.addr));
  announcers_->want(std::move(addresses), [this](const IpAddress& address) {
    return std::min(publisher_.announcements().rank(address, node_), most_turns) * turn;
  });
}

datapath::Rows<weft_l2_key, weft_l2> ServiceDuties::agreed_rows() const {
  auto rows = publisher_.announcements().rows;
  if (announcers_ != nullptr)
    std::erase_if(rows,
                  [this](const auto& row) { return !announcers_->may_announce(datapath::from_abi(row.first.addr)); });
  return rows;
}

void ServiceDuties::claim() {
  const auto wanted = agreed_rows();
  listener_.want(wanted);  // first: an answer may come at once
  announcer_.want(wanted);
  tell_conflicts();
}

void ServiceDuties::agreed() {
  const auto before = publisher_.announced();
  claim();
  const bool leaves =
      std::ranges::any_of(before, [this](const auto& row) { return !announcer_.may_announce(row.first); });
  const bool comes = std::ranges::any_of(publisher_.announcements().rows, [&](const auto& row) {
    return announcer_.may_announce(row.first) && !before.contains(row.first);
  });
  if (leaves || comes) announcements_changed();
}

// Another host has an address, or has it no more: the datapath is to answer for others.
void ServiceDuties::announcements_changed() {
  tell_conflicts();
  if (auto published = publisher_.publish_services(); !published)
    note_("publishing which addresses are announced: " + published.error().message);
}

void ServiceDuties::tell_conflicts() {
  std::map<std::pair<IpAddress, std::uint32_t>, std::string> now;
  for (const auto& conflict : announcer_.conflicts())
    now[{conflict.address, conflict.ifindex}] =
        fmt::format("{}: {} has it too", conflict.address.to_string(), conflict.other.to_string());
  for (const auto& [where, text] : now)
    if (!conflicts_.contains(where)) spdlog::warn("not announced on device {}: {}", where.second, text);
  for (const auto& [where, text] : conflicts_)
    if (!now.contains(where)) spdlog::info("over: not announced on device {}: {}", where.second, text);
  conflicts_ = std::move(now);
}

Result<void> ServiceDuties::send(std::uint32_t ifindex, std::span<const std::uint8_t> frame) {
  if (!socket_) {
    WEFT_TRY(auto socket, sys::PacketSocket::open());
    socket_.emplace(std::move(socket));
  }
  return socket_->send(ifindex, frame);
}

void ServiceDuties::refresh() {
  const bool changed = seen_ != publisher_.service_revision();
  seen_ = publisher_.service_revision();
  if (changed || !health_ports_.settled()) {
    const auto before = health_ports_.problems();
    health_ports_.want(publisher_.services().health_ports());
    const auto now = health_ports_.problems();  // told by problems() while they last
    for (const auto& problem : now)
      if (std::ranges::find(before, problem) == before.end()) spdlog::warn("{}", problem);
    for (const auto& problem : before)
      if (std::ranges::find(now, problem) == now.end()) spdlog::info("over: {}", problem);
  }
  if (!changed) return;
  const auto& checks = publisher_.service_facts().health_checks();
  if (!checks.empty() || checker_.targets() != 0)
    checker_.want(check_targets(checks, publisher_.services(), ProbeScope(publisher_)));
  wish();
  claim();
}

std::string ServiceDuties::unannounced(const IpAddress& address, const Node& node) const {
  if (const auto refused = publisher_.announcements().refused.find(address);
      refused != publisher_.announcements().refused.end())
    return fmt::format("{} is not announced: it {}", address.to_string(), refused->second);
  std::string why;
  for (const auto& conflict : announcer_.conflicts()) {
    if (conflict.address != address) continue;
    const auto uplink = node.uplinks.find(conflict.ifindex);
    why +=
        fmt::format("{}{} is not announced on {}: the host at {} has it", why.empty() ? "" : "; ", address.to_string(),
                    uplink == node.uplinks.end() ? "a device" : uplink->second.name, conflict.other.to_string());
  }
  return why;
}

std::vector<std::string> ServiceDuties::problems(const Node& node) const {
  auto problems = health_ports_.problems();
  const auto& announcements = publisher_.announcements();
  std::ranges::copy(announcements.problems, std::back_inserter(problems));
  std::set<IpAddress> addresses;
  for (const auto& [address, why] : announcements.refused) addresses.insert(address);
  for (const auto& conflict : announcer_.conflicts()) addresses.insert(conflict.address);
  constexpr std::size_t shown = 5;
  std::size_t count = 0;
  for (const auto& address : addresses) {
    if (++count > shown) continue;
    const bool refused = announcements.refused.contains(address);
    problems.push_back(unannounced(address, node) +
                       (refused
                            ? "; give its Service another address"
                            : "; take it from that host or out of the pool, it is asked for again every half minute"));
  }
  if (count > shown) problems.push_back(fmt::format("{} more addresses are not announced", count - shown));
  for (const auto& [ifindex, error] : listener_.errors())
    problems.push_back("conflicts of announced addresses go unnoticed: " + error);
  if (!announcer_.last_error().empty()) problems.push_back("announcing addresses: " + announcer_.last_error());
  return problems;
}

}  // namespace weft::agent
