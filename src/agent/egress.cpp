// The agent where EgressGateways are concerned: the addresses it has for them, and what it tells of them.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/agent.h"

namespace weft::agent {

using nlohmann::json;

namespace {

json texts(const auto& items) {
  auto list = json::array();
  for (const auto& item : items) list.push_back(item.to_string());
  return list;
}

const char* state_of(const control::EgressCandidate& candidate) {
  if (candidate.used_v4 || candidate.used_v6) return "active";
  return candidate.why_not.empty() ? "standby" : "unused";
}

}  // namespace

void Agent::tend_egress(bool again) {
  if (!taken_over_ || (cluster_ && !publisher_->cluster().known)) return;  // what an earlier run had stays
  const auto& plan = compiled().egress;
  std::map<std::string, std::string> problems;
  for (const auto& [key, status] : plan.gateways)
    if (!status.problem.empty())
      problems[fmt::format("EgressGateway {}", key.name)] =
          fmt::format("EgressGateway {}: {}", key.name, status.problem);
  faults_.replace("EgressGateway ", problems);
  if (cluster_) cluster_->claim_addresses(plan.claims);
  TendedEgress now{plan.addresses, node_.addresses};
  if (!again && tended_egress_ == now) return;
  tended_egress_ = std::move(now);
  if (!egress_addresses_)
    egress_addresses_.emplace(loop_, *netlink_, faults_,
                              [this](std::uint32_t ifindex, std::span<const std::uint8_t> frame) -> Result<void> {
                                if (!egress_socket_) {
                                  WEFT_TRY(egress_socket_, sys::PacketSocket::open());
                                }
                                return egress_socket_->send(ifindex, frame);
                              });
  // Once more with the next look at the node, if something failed.
  if (!egress_addresses_->want(plan.addresses, node_)) tended_egress_.reset();
}

// A node whose silence has begun, or ended, is another gateway, or none.
void Agent::notice_silence() {
  auto silent = node_health_->silent();
  const bool cut_off = cluster_->cut_off();
  if (silent == silent_nodes_ && cut_off == cut_off_) return;
  silent_nodes_ = std::move(silent);
  cut_off_ = cut_off;
  others_changed();
}

// Who comes back may have answered the neighbours for an address that is this node's by now.
void Agent::greet_returned(const ClusterView& view) {
  std::set<std::string> living;
  for (const auto& [name, node] : view.nodes)
    if (node.alive && !node.self) living.insert(name);
  const bool returned = !std::ranges::includes(living_nodes_, living);
  living_nodes_ = std::move(living);
  if (returned && egress_addresses_) egress_addresses_->announce_again();
}

std::string Agent::egress_node_name(std::uint16_t number) const {
  if (number == WEFT_EGRESS_HERE) return config_.node;
  for (const auto& [name, reach] : publisher_->cluster().plan.reach)
    if (reach.number == number) return name;
  return fmt::format("number {}", number);
}

// Which of several gateways a pod elsewhere takes is its own node's choice.
json Agent::egress_pods(const model::ObjectKey& gateway, const control::EgressStatus& status) const {
  auto pods = json::array();
  for (const auto& live : compiled().endpoints) {
    if (!status.identities.contains(live.identity)) continue;
    json item{{"namespace", live.record.namespace_},
              {"pod", live.record.pod},
              {"node", config_.node},
              {"gateways", json::array()}};
    for (const auto& address : live.record.addresses)
      for (const auto& [prefix, row] : compiled().egress.rows) {
        if (prefix.identity != live.identity || row.gateway != gateway ||
            prefix.destination.family() != address.family())
          continue;
        const auto by = control::egress_gateway_of(row.row, address);
        auto name = by ? egress_node_name(*by) : std::string();
        if (!name.empty() && std::ranges::find(item["gateways"], json(name)) == item["gateways"].end())
          item["gateways"].push_back(std::move(name));
      }
    pods.push_back(std::move(item));
  }
  if (publisher_->others() == nullptr) return pods;
  publisher_->others()->each([&](const cluster::ToldPod& pod) {
    if (!pod.told.host_network && status.identities.contains(pod.told.identity))
      pods.push_back(
          {{"namespace", pod.name.namespace_}, {"pod", pod.name.name}, {"node", pod.node}, {"gateways", nullptr}});
  });
  return pods;
}

json Agent::list_egress() const {
  auto items = json::array();
  for (const auto& [key, gateway] : objects_->egress_gateways()) {
    const auto planned = compiled().egress.gateways.find(key);
    json item{{"name", key.name},
              {"destinations", texts(gateway.destinations)},
              {"excluded", texts(gateway.excluded)},
              {"max_gateways", gateway.max_gateways},
              {"failover", gateway.failover == model::EgressGateway::Failover::drop ? "Drop" : "Next"},
              {"gateways", json::array()},
              {"pods", json::array()},
              {"problem", "not compiled yet: what the nodes share is not known whole"}};
    if (planned != compiled().egress.gateways.end()) {
      const auto& status = planned->second;
      for (const auto& candidate : status.candidates) {
        auto addresses = json::array();
        for (const auto& address : {candidate.v4, candidate.v6})
          if (address) addresses.push_back(address->to_string());
        item["gateways"].push_back({{"node", candidate.node},
                                    {"self", candidate.node == config_.node},
                                    {"state", state_of(candidate)},
                                    {"addresses", std::move(addresses)},
                                    {"why", candidate.why_not}});
      }
      item["pods"] = egress_pods(key, status);
      item["problem"] = status.problem;
    }
    items.push_back(std::move(item));
  }
  return items;
}

json Agent::egress_way(const control::ExplainSide& from, const control::ExplainSide& to) const {
  if (!from.pod || !from.address || !to.address || to.pod || to.is_host ||
      publisher_->cluster().plan.addresses.contains(*to.address))
    return nullptr;
  const auto* row = compiled().egress.find(from.identity, *to.address);
  if (row == nullptr) return nullptr;
  const auto by = control::egress_gateway_of(row->row, *from.address);
  const std::string node = by ? egress_node_name(*by) : "";
  json way{{"name", row->gateway.name}, {"node", by ? json(node) : json(nullptr)}, {"address", nullptr}};
  const auto planned = compiled().egress.gateways.find(row->gateway);
  if (!by || planned == compiled().egress.gateways.end()) return way;
  for (const auto& candidate : planned->second.candidates)
    if (const auto& address = to.address->is_v4() ? candidate.v4 : candidate.v6; candidate.node == node && address)
      way["address"] = address->to_string();
  return way;
}

void Agent::register_egress() {
  server_->handle("egress.list", [this](const json&) -> api::Answer { return dated(json{{"items", list_egress()}}); });
}

}  // namespace weft::agent
