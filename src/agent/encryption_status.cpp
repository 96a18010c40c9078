// What the operator is told of encryption between nodes.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/encryption.h"
#include "agent/key_change.h"
#include "base/utc_text.h"

namespace weft::agent {
namespace {

using nlohmann::json;

// A session that is in use is made anew every two minutes, and asked about for a minute and a half (WireGuard's
// REKEY_AFTER_TIME, REJECT_AFTER_TIME and REKEY_ATTEMPT_TIME).
constexpr auto session_lasts = std::chrono::seconds(180 + 90);
// A first one takes a few round trips; where a packet is lost it is tried again after 5 seconds.
constexpr auto patience = std::chrono::seconds(12);
// Every node hears of the next key, makes one, tells it and is answered by all others.
constexpr auto change_patience = std::chrono::seconds(30);

std::chrono::system_clock::time_point at(std::int64_t nanoseconds) {
  return std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::nanoseconds(nanoseconds)));
}

}  // namespace

PeerReport Encryption::report(const std::string& name, const EncryptionPeer& peer) const {
  auto report = session_report(name, peer);
  add_wait(report, name, peer);
  return report;
}

void Encryption::add_wait(PeerReport& report, const std::string& name, const EncryptionPeer& peer) const {
  const auto since = waits_since_.find(name);
  if (since == waits_since_.end() || peer.keys.empty()) return;
  KeyWait wait{.node = name, .alive = peer.alive, .offered = {}, .newest = 0, .sends_by = {}, .address = {}};
  wait.newest = keys_.pairs.rbegin()->first;
  wait.offered.settled = peer.settled;
  for (const auto& key : peer.keys) {
    wait.offered.keys.push_back({key.generation, key.public_key, static_cast<std::uint16_t>(key.port)});
    if (key.generation != wait.newest) continue;
    if (const auto endpoint = endpoint_of(peer, static_cast<std::uint16_t>(key.port)))
      wait.address = endpoint->to_string();
  }
  if (const auto key = plan_.send.find(name); key != plan_.send.end()) wait.sends_by = key->second.generation;
  const auto why = why_waiting(wait);
  report.waits = why.text;
  // One that is away may be so; what is wrong with its session comes first.
  if (!peer.alive || !report.problem.empty() || std::chrono::steady_clock::now() - since->second < change_patience)
    return;
  report.problem = fmt::format("the change of keys does not end: {}", why.text);
  report.remedy = why.remedy;
}

PeerReport Encryption::session_report(const std::string& name, const EncryptionPeer& peer) const {
  PeerReport report;
  const bool lasts = keyless_.lasts(name, std::chrono::steady_clock::now());
  if (peer.keys.empty()) {
    report.state = parts_.config.encryption_strict ? "refused" : "clear";
    report.problem =
        parts_.config.encryption_strict
            ? fmt::format(
                  "node {} has no key, and encryption_strict lets nothing go there in clear: set "
                  "encryption: wireguard on it",
                  name)
            : fmt::format("node {} has no key: packets go there in clear; set encryption: wireguard on it", name);
    if (!peer.alive || !lasts) report.problem.clear();
    return report;
  }
  report.state = "waiting";
  const auto key = plan_.send.find(name);
  if (key == plan_.send.end()) {
    if (lasts) report.problem = fmt::format("node {} and this one have no keys of one generation yet", name);
    return report;
  }
  report.generation = key->second.generation;
  const auto device = devices_.find(report.generation);
  const auto shown = wireguard::Key::from_base64(key->second.public_key);
  if (device == devices_.end() || !shown) return report;
  const auto& states = device->second->state().peers;
  const auto state = states.find(*shown);
  if (state != states.end()) {
    if (state->second.endpoint) report.endpoint = state->second.endpoint->to_string();
    report.last_handshake = state->second.last_handshake;
    report.sent = state->second.sent;
    report.received = state->second.received;
  }
  if (report.last_handshake != 0) report.state = "encrypted";
  const auto since = since_.find(name);
  const bool waited = since != since_.end() && std::chrono::steady_clock::now() - since->second > patience;
  const auto blocked = [&](std::string_view what) {
    report.problem = fmt::format("{} with node {} at {}: let UDP ports {} and {} (WireGuard) pass between the nodes",
                                 what, name, report.endpoint.empty() ? "no address" : report.endpoint,
                                 parts_.config.wireguard_port, parts_.config.wireguard_port + 1);
  };
  if (peer.alive && waited && report.last_handshake == 0)
    blocked("no handshake");
  else if (peer.alive && report.last_handshake != 0 &&
           std::chrono::system_clock::now() - at(report.last_handshake) > session_lasts)
    blocked(fmt::format("no handshake since {}", utc_text(at(report.last_handshake))));
  return report;
}

std::map<std::string, PeerReport> Encryption::reports() const {
  std::map<std::string, PeerReport> all;
  for (const auto& [name, peer] : peers_) all.emplace(name, report(name, peer));
  return all;
}

void Encryption::check() {
  std::map<std::string, Fault> of_nodes;
  for (const auto& [name, report] : reports())
    if (!report.problem.empty()) of_nodes["encryption node " + name] = {report.problem, report.remedy};
  parts_.faults.replace("encryption node ", of_nodes);
  std::map<std::string, std::string> of_devices;
  for (const auto& [generation, device] : devices_)
    if (!device->problem().empty())
      of_devices["encryption device " + device->name()] =
          fmt::format("encryption: {}: {}", device->name(), device->problem());
  parts_.faults.replace("encryption device ", of_devices);
  if (!unused_since_.empty()) plan(false);
  const auto seconds = parts_.config.wireguard_rotate_seconds;
  if (seconds == 0 || keys_.pairs.size() != 1 || !known_) return;
  const auto now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch());
  if (now.count() - keys_.pairs.begin()->second.made < seconds) return;
  if (auto begun = rotate(); begun) spdlog::info("encryption: keys are {} seconds old and change", seconds);
}

json Encryption::status_json() const {
  auto devices = json::array();
  for (const auto& [generation, device] : devices_) {
    json item{{"name", device->name()},         {"generation", generation},    {"public_key", ""},
              {"port", port_of(generation)},    {"ready", device->ready()},    {"pid", nullptr},
              {"restarts", device->restarts()}, {"problem", device->problem()}};
    if (const auto pair = keys_.pairs.find(generation); pair != keys_.pairs.end()) {
      item["public_key"] = pair->second.shown.base64();
      item["made"] = utc_text(std::chrono::system_clock::time_point(std::chrono::seconds(pair->second.made)));
    }
    if (by_ == WireGuardBy::program) item["pid"] = device->pid();
    devices.push_back(std::move(item));
  }
  auto items = json::array();
  std::size_t encrypted = 0;
  for (const auto& [name, report] : reports()) {
    encrypted += report.state == "encrypted" ? 1 : 0;
    json item{
        {"node", name},
        {"state", report.state},
        {"generation", report.generation},
        {"endpoint", report.endpoint},
        {"last_handshake", report.last_handshake == 0 ? json(nullptr) : json(utc_text(at(report.last_handshake)))},
        {"sent_bytes", report.sent},
        {"received_bytes", report.received},
        {"problem", report.problem},
        {"remedy", report.remedy},
        {"waits", report.waits}};
    items.push_back(std::move(item));
  }
  return {{"encryption", "wireguard"},
          {"implementation", by_ == WireGuardBy::kernel ? "kernel" : "wireguard-go"},
          {"strict", parts_.config.encryption_strict},
          {"node_to_node", parts_.config.encryption_node_to_node},
          {"rotating", keys_.pairs.size() > 1},
          {"waits_for", plan_.waits_for},
          {"encrypted", encrypted},
          {"nodes", peers_.size()},
          {"devices", std::move(devices)},
          {"items", std::move(items)}};
}

}  // namespace weft::agent
