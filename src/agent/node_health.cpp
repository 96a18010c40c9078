#include "agent/node_health.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/utc_text.h"
#include "control/nodes/nodes.h"

namespace weft::agent {
namespace {

using nlohmann::json;
using What = HealthProbe::What;

constexpr std::uint32_t lost_is_gone = 3;  // in a row
// A question that has waited for longer makes the answer before it one of the past.
constexpr auto answer_time = std::chrono::seconds(1);
// Between the questions to a node that is away when it is heard of first; and before them, as its lease may be on its
// way.
constexpr auto hurried_pace = std::chrono::milliseconds(400);
constexpr auto before_hurry = std::chrono::milliseconds(100);
// Where more are away at once, it is rather etcd that was, and so many answers at a time would not fit a socket.
constexpr std::size_t most_hurried = 32;

bool gone(const HealthResult& result) { return result.lost_in_row >= lost_is_gone; }

std::string what_carries(const HealthTarget& target) {
  switch (target.way) {
    case WEFT_WAY_VXLAN:
      return fmt::format("let UDP port {} (VXLAN, tunnel_port) pass between the nodes", target.tunnel_port);
    case WEFT_WAY_GENEVE:
      return "let UDP port 6081 (Geneve) pass between the nodes";
    case WEFT_WAY_IPIP:
      return "let IP protocols 4 and 41 (IP-in-IP) pass between the nodes";
    case WEFT_WAY_WIREGUARD:
      return fmt::format(
          "let UDP ports {} and {} (WireGuard, wireguard_port) pass between the nodes; weft encryption status shows "
          "the "
          "handshakes",
          target.wireguard_port, target.wireguard_port + 1);
    case WEFT_WAY_REFUSED:
      return "it is sent nothing in clear, and there is no key of it yet: weft encryption status";
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

namespace {

std::string why(const HealthResult& result) { return result.error.empty() ? "" : " (" + result.error + ")"; }

// What is known of one kind of question: some that are answered, some that are not any more.
struct Answers {
  const HealthResult* well = nullptr;
  const HealthResult* lost = nullptr;
};

Answers answers_of(What what, const std::vector<HealthResult>& results) {
  Answers answers;
  for (const auto& result : results) {
    if (result.probe.what != what) continue;
    auto& first = gone(result) ? answers.lost : answers.well;
    if (first == nullptr) first = &result;
  }
  return answers;
}

const HealthResult* confirmed(What what, const std::vector<HealthResult>& results) {
  const auto found = std::ranges::find_if(
      results, [&](const HealthResult& result) { return result.probe.what == what && result.confirmed; });
  return found == results.end() ? nullptr : &*found;
}

// What its machine was heard to say, and when where that is not now: a time does not change while nothing is heard.
std::string machine_text(const std::vector<HealthResult>& results) {
  const auto pods = answers_of(What::pods, results);
  if (const auto* machine = confirmed(What::node, results); machine != nullptr) {
    auto text = fmt::format(". Its machine answers at {}", machine->probe.address.to_string());
    if (confirmed(What::pods, results) != nullptr) return text + ", and its datapath carries what is for its pods";
    if (pods.lost != nullptr)
      return text + fmt::format(", but not at its pods' {}", pods.lost->probe.address.to_string());
    return text;
  }
  const auto itself = answers_of(What::node, results);
  if (itself.well == nullptr && itself.lost != nullptr)
    return fmt::format(", and its machine does not answer at {}{}", itself.lost->probe.address.to_string(),
                       why(*itself.lost));
  if (itself.well != nullptr && itself.well->heard)
    return fmt::format(". Its machine answered last at {}; whether it does now is not known yet",
                       utc_text(*itself.well->heard));
  return {};
}

// Its lease is over. Whether it is only the agent, the probes tell.
HealthVerdict away(const std::string& node, const HealthTarget& target, const std::vector<HealthResult>& results) {
  // A node that has just come is told by two keys, of which one is heard of first.
  if (std::ranges::all_of(results, [](const HealthResult& result) { return result.sent == 0; })) return {};
  const auto itself = answers_of(What::node, results);
  const bool machine = confirmed(What::node, results) != nullptr;
  const bool silent = itself.lost != nullptr && itself.well == nullptr;
  auto text = fmt::format("node {} is away: its agent has told nothing for longer than its lease{}", node,
                          machine_text(results));
  if (target.edge)
    return {.problem = {}, .remedy = {}, .note = text + "; it is at the edge, and may be", .of_settings = false};
  return {.problem = std::move(text),
          .remedy = fmt::format(
              "{}; a node that is gone for good is forgotten after reclaim_seconds, or at once by weft "
              "node delete {}",
              machine  ? "start weftd there, or see there why it does not reach what the nodes share (weft doctor)"
              : silent ? "see to the machine, or the network to it"
                       : "see whether its machine and weftd run, and what weft doctor says there",
              node),
          .note = {},
          .of_settings = false};
}

// Who has no place in the cluster any more has no part in its tunnels.
HealthVerdict unknown_there(const std::string& text, const HealthTarget& target, const Absence& forgotten) {
  const bool in_clear = target.way == WEFT_WAY_VXLAN || target.way == WEFT_WAY_GENEVE || target.way == WEFT_WAY_IPIP;
  return {.problem =
              fmt::format("{}: this node is without what the nodes share since {}, for longer than reclaim_seconds ({} "
                          "s): nodes that have it have forgotten this one, and drop what it sends{}",
                          text, utc_text(forgotten.since), forgotten.reclaim.count(),
                          in_clear ? " (drop reason tunnel-sender there)" : ""),
          .remedy =
              "see why this node does not reach what the nodes share (weft doctor); it comes back by itself once it "
              "does. If it "
              "lasts then: " +
              what_carries(target),
          .note = {},
          .of_settings = false};
}

}  // namespace

Fault settings_fault(const std::vector<std::string>& nodes, const std::string& settings) {
  constexpr std::size_t named = 3;
  const auto shown = std::min(nodes.size(), named);
  auto who = fmt::format("node{} {}", nodes.size() > 1 ? "s" : "",
                         fmt::join(nodes.begin(), nodes.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
  if (nodes.size() > shown) who += fmt::format(" and {} more", nodes.size() - shown);
  return {fmt::format("{} {} configured otherwise than this one: {}", who, nodes.size() > 1 ? "are" : "is", settings),
          "give every node the same in weftd.yaml, and restart weftd where it was wrong, one node after the other"};
}

HealthVerdict diagnose(const std::string& node, const HealthTarget& target, const std::vector<HealthResult>& results,
                       const std::optional<Absence>& forgotten) {
  const auto wrong = [](std::string problem, std::string remedy) {
    return HealthVerdict{std::move(problem), std::move(remedy), {}, false};
  };
  if (!target.alive) return away(node, target, results);
  const auto itself = answers_of(What::node, results);
  if (itself.lost != nullptr && itself.well == nullptr)
    return wrong(
        fmt::format("node {} does not answer at {}{}", node, itself.lost->probe.address.to_string(), why(*itself.lost)),
        "its machine, or the network between, is down or drops ICMP");
  if (const auto* pods = answers_of(What::pods, results).lost; pods != nullptr) {
    const auto text = fmt::format("node {} answers by itself, but not at its pods' {} ({}){}", node,
                                  pods->probe.address.to_string(), control::to_string(target.way), why(*pods));
    if (forgotten) return unknown_there(text, target, *forgotten);
    if (target.differences.empty()) return wrong(text, what_carries(target));
    return wrong(fmt::format("{}: the two are configured otherwise: {}", text, target.differences),
                 "give every node the same; if it lasts then: " + what_carries(target));
  }
  if (const auto* large = answers_of(What::large, results).lost; large != nullptr)
    return wrong(fmt::format("packets of {} bytes to the pods of node {} are lost, small ones are not{}: the network "
                             "between takes less than it is thought to",
                             large->probe.size, node, why(*large)),
                 "set mtu to what passes, on every node");
  if (itself.lost != nullptr)
    return wrong(fmt::format("node {} does not answer at {}, though at another address{}", node,
                             itself.lost->probe.address.to_string(), why(*itself.lost)),
                 "see which of its addresses are right, and what drops packets to this one");
  if (target.settings.empty()) return {};
  const auto fault = settings_fault({node}, target.settings);
  return {.problem = fault.text, .remedy = fault.remedy, .note = {}, .of_settings = true};
}

NodeHealth::NodeHealth(asio::io_context& loop, std::function<void()> settled, std::chrono::milliseconds interval)
    : loop_(loop),
      settled_(std::move(settled)),
      interval_(interval),
      timer_(loop),
      hurry_timer_(loop),
      identifier_(static_cast<std::uint16_t>(::getpid())) {}

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
  std::vector<std::string> away;  // as they are heard of first
  for (auto& [name, target] : targets) {
    const auto [entry, first] = nodes_.try_emplace(name);
    auto& known = entry->second;
    if (first && !target.alive) away.push_back(name);
    if (target.alive) stop_hurry(known);
    if (known.target == target && !known.results.empty()) continue;
    const auto probes = probes_of(target);
    const auto same =
        std::ranges::equal(probes, known.results, [](const HealthProbe& probe, const HealthResult& result) {
          return probe.what == result.probe.what && probe.address == result.probe.address &&
                 probe.size == result.probe.size;
        });
    // Only what is asked from now on tells whether more than its agent is away.
    if (known.target.alive && !target.alive)
      for (auto& result : known.results) result.confirmed = false;
    known.target = std::move(target);
    if (same) continue;
    known.results.clear();
    for (const auto& probe : probes) known.results.push_back({.probe = probe});
    known.asked.assign(probes.size(), {});
  }
  if (away.empty() || away.size() > most_hurried) return;
  for (const auto& name : away) {
    auto& known = nodes_.at(name);
    known.hurries = true;
    known.hurried = lost_is_gone;
  }
  if (!std::exchange(hurries_, true)) hurry_in(before_hurry);
}

// It has a lease: the ordinary number of unanswered questions, at the ordinary pace, is needed to find it silent.
void NodeHealth::stop_hurry(Known& known) {
  known.hurries = false;
  if (!std::exchange(known.lost_in_a_hurry, false)) return;
  for (auto& result : known.results) result.lost_in_row -= std::min(result.lost_in_row, lost_is_gone);
}

void NodeHealth::hurry_in(std::chrono::milliseconds time) {
  hurry_timer_.expires_after(time);
  hurry_timer_.async_wait([this](const std::error_code& error) {
    if (!error) hurry();
  });
}

// A node that is away may be a machine that is gone, to which Services are not to send until its ordinary turns have
// shown that.
void NodeHealth::hurry() {
  receive();  // this agent may have been busy while the answers came
  bool waits = false;
  for (auto& [name, known] : nodes_) {
    if (!known.hurries) continue;
    known.lost_in_a_hurry = true;
    if (known.hurried == 0) {
      count_lost(known);
      known.hurries = false;
      continue;
    }
    --known.hurried;
    waits = true;
    ask(name, known);
  }
  hurries_ = waits;
  if (!waits) return settled_();
  hurry_in(hurried_pace);
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
      if (!next->second.hurries) ask(next->first, next->second);
    }
    turn();
  });
}

// What nobody has answered until now.
void NodeHealth::count_lost(Known& known) {
  for (std::size_t i = 0; i < known.results.size(); ++i) {
    if (!std::exchange(known.asked[i].waits, false)) continue;
    ++known.results[i].lost_in_row;
    known.results[i].confirmed = false;
    waiting_.erase(known.asked[i].sequence);
  }
}

void NodeHealth::ask(const std::string& node, Known& known) {
  count_lost(known);
  for (std::size_t i = 0; i < known.results.size(); ++i) {
    auto& result = known.results[i];
    auto& asked = known.asked[i];
    const auto& socket = sockets_[index_of(result.probe.address.family())];
    if (!socket) continue;
    asked.sequence = next_sequence_++;
    asked.at = Clock::now();
    ++result.sent;
    auto sent = socket->ping.send(result.probe.address, identifier_, asked.sequence, result.probe.size);
    result.error = sent ? "" : sent.error().message;
    if (!sent) {
      ++result.lost_in_row;
      result.confirmed = false;
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
    receive();
    listen(family);
  });
}

void NodeHealth::receive() {
  for (const auto& socket : sockets_)
    while (socket) {
      const auto reply = socket->ping.receive();
      if (!reply) break;
      heard(*reply);
    }
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
  result.confirmed = true;
  result.heard = std::chrono::system_clock::now();
  result.latency = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - asked.at);
  result.average = result.average ? *result.average + (*result.latency - *result.average) / 8 : *result.latency;
}

std::vector<HealthResult> NodeHealth::results_of(const Known& known) {
  auto results = known.results;
  for (std::size_t i = 0; i < results.size(); ++i)
    if (known.asked[i].waits && Clock::now() - known.asked[i].at > answer_time) results[i].confirmed = false;
  return results;
}

json NodeHealth::to_json() const {
  auto items = json::array();
  for (const auto& [name, known] : nodes_) {
    const auto verdict = diagnose(name, known.target, results_of(known), forgotten_);
    json item{{"node", name},
              {"alive", known.target.alive},
              {"way", control::to_string(known.target.way)},
              {"problem", verdict.problem},
              {"remedy", verdict.remedy},
              {"note", verdict.note},
              {"of_settings", verdict.of_settings},
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

SilentNodes NodeHealth::silent() const {
  SilentNodes all;
  for (const auto& [name, known] : nodes_) {
    const auto lost = [&](HealthProbe::What what) {
      const auto of = [&](const HealthResult& result) { return result.probe.what == what; };
      return std::ranges::any_of(known.results, of) &&
             std::ranges::all_of(known.results,
                                 [&](const HealthResult& result) { return !of(result) || gone(result); });
    };
    const bool pods = lost(What::pods);
    if (pods) all.pods.insert(name);
    if (pods || lost(What::node)) all.any.insert(name);
  }
  return all;
}

std::map<std::string, Fault> NodeHealth::problems() const {
  std::map<std::string, Fault> all;
  std::map<std::string, std::vector<std::string>> otherwise;  // nodes by how they are configured
  for (const auto& [name, known] : nodes_) {
    auto verdict = diagnose(name, known.target, results_of(known), forgotten_);
    if (verdict.of_settings)
      otherwise[known.target.settings].push_back(name);
    else if (!verdict.problem.empty())
      all["node health " + name] = {std::move(verdict.problem), std::move(verdict.remedy)};
  }
  for (const auto& [settings, nodes] : otherwise)
    all["node health settings " + settings] = settings_fault(nodes, settings);
  return all;
}

}  // namespace weft::agent
