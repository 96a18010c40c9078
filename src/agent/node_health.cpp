#include "agent/node_health.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "control/nodes/nodes.h"

namespace weft::agent {
namespace {

using nlohmann::json;
using What = HealthProbe::What;

constexpr std::uint32_t lost_is_gone = 3;  // in a row

bool gone(const HealthResult& result) { return result.lost_in_row >= lost_is_gone; }

std::string what_carries(weft_way way) {
  switch (way) {
    case WEFT_WAY_VXLAN:
      return "let UDP port tunnel_port (VXLAN) pass between the nodes";
    case WEFT_WAY_GENEVE:
      return "let UDP port 6081 (Geneve) pass between the nodes";
    case WEFT_WAY_IPIP:
      return "let IP protocols 4 and 41 (IP-in-IP) pass between the nodes";
    case WEFT_WAY_WIREGUARD:
      return "let UDP ports wireguard_port and the next one (WireGuard) pass between the nodes (weft encryption "
             "status)";
    case WEFT_WAY_REFUSED:
      return "it is sent nothing in clear, and there is no key of it yet (weft encryption status)";
    default:
      return "the network between has to route its blocks (weft node list) to it, or choose a tunnel";
  }
}

std::size_t index_of(Family family) { return family == Family::v4 ? 0 : 1; }

}  // namespace

std::string_view to_string(What what) {
  switch (what) {
    case What::node:
      return "node";
    case What::pods:
      return "pods";
    case What::large:
      break;
  }
  return "large";
}

std::vector<HealthProbe> probes_of(const HealthTarget& target) {
  std::vector<HealthProbe> probes;
  for (const auto& address : target.addresses) probes.push_back({What::node, address, 0});
  if (target.way == WEFT_WAY_NONE) return probes;
  for (const auto& gateway : target.gateways) {
    probes.push_back({What::pods, gateway, 0});
    if (target.mtu != 0) probes.push_back({What::large, gateway, target.mtu});
  }
  return probes;
}

std::string diagnose(const std::string& node, const HealthTarget& target, const std::vector<HealthResult>& results) {
  const auto find = [&](What what, bool lost) {
    return std::ranges::find_if(
        results, [&](const HealthResult& result) { return result.probe.what == what && gone(result) == lost; });
  };
  if (!target.alive || results.empty()) return {};
  const auto node_lost = find(What::node, true);
  const auto node_well = find(What::node, false);
  const auto why = [](const HealthResult& result) { return result.error.empty() ? "" : " (" + result.error + ")"; };
  if (node_lost != results.end() && node_well == results.end())
    return fmt::format("node {} does not answer at {}{}: its machine, or the network between, is down or drops ICMP",
                       node, node_lost->probe.address.to_string(), why(*node_lost));
  if (const auto pods = find(What::pods, true); pods != results.end())
    return fmt::format("node {} answers by itself, but not at its pods' {} ({}){}: {}", node,
                       pods->probe.address.to_string(), control::to_string(target.way), why(*pods),
                       what_carries(target.way));
  if (const auto large = find(What::large, true); large != results.end())
    return fmt::format(
        "packets of {} bytes to the pods of node {} are lost, small ones are not{}: the network between takes less "
        "than it "
        "is thought to; set mtu to what passes, on every node",
        large->probe.size, node, why(*large));
  if (node_lost != results.end())
    return fmt::format("node {} does not answer at {}, though at another address{}", node,
                       node_lost->probe.address.to_string(), why(*node_lost));
  return {};
}

NodeHealth::NodeHealth(asio::io_context& loop, std::chrono::milliseconds interval)
    : loop_(loop), interval_(interval), timer_(loop), identifier_(static_cast<std::uint16_t>(::getpid())) {}

NodeHealth::~NodeHealth() {
  // The descriptors are the sockets'.
  for (auto& socket : sockets_)
    if (socket) socket->ready.release();
}

Result<void> NodeHealth::start() {
  for (const auto family : {Family::v4, Family::v6}) {
    auto ping = sys::PingSocket::open(family);
    if (!ping && family == Family::v6) break;  // a kernel without IPv6
    if (!ping) return fail(ping.error());
    const int fd = ping->fd();
    sockets_[index_of(family)] =
        std::make_unique<Socket>(Socket{std::move(*ping), asio::posix::stream_descriptor(loop_, fd)});
    listen(family);
  }
  turn();
  return {};
}

void NodeHealth::set_targets(HealthTargets targets) {
  std::erase_if(nodes_, [&](const auto& entry) { return !targets.contains(entry.first); });
  for (auto& [name, target] : targets) {
    auto& known = nodes_[name];
    if (known.target == target && !known.results.empty()) continue;
    const auto probes = probes_of(target);
    const auto same =
        std::ranges::equal(probes, known.results, [](const HealthProbe& probe, const HealthResult& result) {
          return probe.what == result.probe.what && probe.address == result.probe.address &&
                 probe.size == result.probe.size;
        });
    known.target = std::move(target);
    if (same) continue;
    known.results.clear();
    for (const auto& probe : probes) known.results.push_back({.probe = probe});
    known.asked.assign(probes.size(), {});
  }
}

// All nodes once in an interval, evenly spread.
void NodeHealth::turn() {
  const auto pace = interval_ / std::max<std::int64_t>(1, static_cast<std::int64_t>(nodes_.size()));
  timer_.expires_after(std::max<std::chrono::milliseconds>(pace, std::chrono::milliseconds(5)));
  timer_.async_wait([this](const std::error_code& error) {
    if (error) return;
    auto next = nodes_.upper_bound(last_turn_);
    if (next == nodes_.end()) next = nodes_.begin();
    if (next != nodes_.end()) {
      last_turn_ = next->first;
      ask(next->first, next->second);
    }
    turn();
  });
}

void NodeHealth::ask(const std::string& node, Known& known) {
  for (std::size_t i = 0; i < known.results.size(); ++i) {
    auto& result = known.results[i];
    auto& asked = known.asked[i];
    if (std::exchange(asked.waits, false)) {
      ++result.lost_in_row;
      waiting_.erase(asked.sequence);
    }
    const auto& socket = sockets_[index_of(result.probe.address.family())];
    if (!socket) continue;
    asked.sequence = next_sequence_++;
    asked.at = Clock::now();
    ++result.sent;
    auto sent = socket->ping.send(result.probe.address, identifier_, asked.sequence, result.probe.size);
    result.error = sent ? "" : sent.error().message;
    if (!sent) {
      ++result.lost_in_row;
      continue;
    }
    asked.waits = true;
    waiting_[asked.sequence] = {node, i};
  }
}

void NodeHealth::listen(Family family) {
  auto& socket = *sockets_[index_of(family)];
  socket.ready.async_wait(asio::posix::stream_descriptor::wait_read, [this, family](const std::error_code& error) {
    if (error) return;
    while (const auto reply = sockets_[index_of(family)]->ping.receive()) heard(*reply);
    listen(family);
  });
}

void NodeHealth::heard(const sys::EchoReply& reply) {
  if (reply.identifier != identifier_) return;
  const auto waiting = waiting_.find(reply.sequence);
  if (waiting == waiting_.end()) return;
  const auto node = nodes_.find(waiting->second.first);
  const auto index = waiting->second.second;
  waiting_.erase(waiting);
  if (node == nodes_.end() || index >= node->second.results.size()) return;
  auto& result = node->second.results[index];
  auto& asked = node->second.asked[index];
  if (!asked.waits || asked.sequence != reply.sequence || result.probe.address != reply.from) return;
  asked.waits = false;
  ++result.answered;
  result.lost_in_row = 0;
  result.latency = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - asked.at);
  result.average = result.average ? *result.average + (*result.latency - *result.average) / 8 : *result.latency;
}

json NodeHealth::to_json() const {
  auto items = json::array();
  for (const auto& [name, known] : nodes_) {
    json item{{"node", name},
              {"alive", known.target.alive},
              {"way", control::to_string(known.target.way)},
              {"problem", diagnose(name, known.target, known.results)},
              {"probes", json::array()}};
    for (const auto& result : known.results) {
      json probe{{"what", to_string(result.probe.what)},
                 {"address", result.probe.address.to_string()},
                 {"bytes", result.probe.size},
                 {"sent", result.sent},
                 {"answered", result.answered},
                 {"lost_in_row", result.lost_in_row},
                 {"latency_us", nullptr},
                 {"average_us", nullptr},
                 {"error", result.error}};
      if (result.latency) probe["latency_us"] = result.latency->count();
      if (result.average) probe["average_us"] = result.average->count();
      item["probes"].push_back(std::move(probe));
    }
    items.push_back(std::move(item));
  }
  return items;
}

bool is_silent(const std::vector<HealthResult>& results) {
  const auto lost = [&](HealthProbe::What what) {
    const auto of = [&](const HealthResult& result) { return result.probe.what == what; };
    return std::ranges::any_of(results, of) &&
           std::ranges::all_of(results, [&](const HealthResult& result) { return !of(result) || gone(result); });
  };
  return lost(What::node) || lost(What::pods);
}

std::set<std::string> NodeHealth::silent() const {
  std::set<std::string> all;
  for (const auto& [name, known] : nodes_)
    if (is_silent(known.results)) all.insert(name);
  return all;
}

std::map<std::string, std::string> NodeHealth::problems() const {
  std::map<std::string, std::string> all;
  for (const auto& [name, known] : nodes_)
    if (auto text = diagnose(name, known.target, known.results); !text.empty()) all["node health " + name] = text;
  return all;
}

}  // namespace weft::agent
