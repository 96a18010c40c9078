// What the agent's API tells of the cluster, its nodes and its operators.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "agent/cluster_link.h"
#include "base/utc_text.h"

namespace weft::agent {

using nlohmann::json;

json ClusterLink::status_json() const {
  auto blocks = json::array();
  for (const auto& block : member_->blocks().blocks())
    blocks.push_back({{"pool", block.pool},
                      {"cidr", block.cidr.to_string()},
                      {"usable", member_->blocks().may_allocate_from(block)}});
  std::size_t alive = 0;
  for (const auto& [name, node] : member_->registry().nodes()) alive += node.alive ? 1 : 0;
  return {{"name", config_.cluster},
          {"kept_in", store_name()},
          {"endpoints", servers_},
          {"joined", joined()},
          {"since", utc_text(since_)},
          {"unreachable_since", deaf_ ? utc_text(deaf_->since) : ""},
          {"problem", joined() && !deaf_ ? "" : why_away()},
          {"forgotten", forgotten().has_value()},
          {"removed", removed_.to_json()},
          {"refused", refused_},
          {"synced", synced()},
          {"nodes", member_->registry().nodes().size()},
          {"alive", alive},
          {"blocks", std::move(blocks)},
          {"collector", member_->role().holds().has_value()},
          {"operator", operator_text()},
          {"tunnel", to_string(config_.tunnel)}};
}

std::string ClusterLink::absence() const {
  if (!refused_.empty()) return refused_;
  if (joined() && !deaf_) return {};
  const auto why = why_away();
  const auto own = handlers_.own_reason ? handlers_.own_reason(servers_) : std::string();
  return fmt::format("{} is away since {}: {}{}{}", store_text(), utc_text(deaf_ ? deaf_->since : since_), own,
                     own.empty() ? "" : ": ", why.empty() ? "no answer yet" : why);
}

std::string ClusterLink::why_away() const {
  if (!joined()) return why_away_;
  const auto& why = member_->registry().why_deaf();
  return why ? why->to_error().message : std::string();
}

// "operator1", "node2, there is no operator", ...
std::string ClusterLink::operator_text() const {
  const auto holder = member_->role().holder();
  if (!holder && member_->registry().nodes().empty()) return "not known yet";
  if (!holder) return config_.operator_use == Config::OperatorUse::external ? "none is there" : "none yet";
  const auto& all = member_->operators().all();
  if (all.contains({holder->node, holder->boot_id})) return holder->node;
  return fmt::format("{} {}", holder->node, all.empty() ? "(a node: no operator is there)" : "(a node, for now)");
}

json ClusterLink::operators_json() const {
  const auto holder = member_->role().holder();
  const auto& all = member_->operators().all();
  auto items = json::array();
  for (const auto& [key, record] : all) {
    const auto& did = record.collected;
    items.push_back({{"name", key.name},
                     {"run", key.run},
                     {"acts", holder && holder->node == key.name && holder->boot_id == key.run},
                     {"host", record.host},
                     {"version", record.version},
                     {"started", record.started},
                     {"last_round", record.last_round},
                     {"rounds", did.rounds},
                     {"collected",
                      {{"nodes", did.nodes},
                       {"endpoints", did.endpoints},
                       {"blocks", did.blocks},
                       {"users", did.users},
                       {"identities", did.identities}}},
                     {"services_served", record.served},
                     {"services_waiting", record.waiting},
                     {"problem", record.problem}});
  }
  json acting;
  if (holder)
    acting = {{"name", holder->node}, {"kind", all.contains({holder->node, holder->boot_id}) ? "operator" : "node"}};
  return {{"acting", std::move(acting)},
          {"stands_in", config_.operator_use == Config::OperatorUse::automatic},
          {"items", std::move(items)}};
}

json ClusterLink::nodes_json(const ClusterView& view) const {
  std::map<std::string, std::vector<std::string>> blocks;
  for (const auto& [block, owner] : member_->blocks().owners()) blocks[owner].push_back(block.cidr.to_string());
  const auto texts = [](const std::vector<IpAddress>& addresses) {
    auto list = json::array();
    for (const auto& address : addresses) list.push_back(address.to_string());
    return list;
  };
  auto items = json::array();
  for (const auto& [name, node] : member_->registry().nodes()) {
    const bool self = name == config_.node;
    json item{{"name", name},
              {"self", self},
              {"state", node.alive ? "alive" : "away"},
              {"addresses", json::array()},
              {"gateways", json::array()},
              {"zone", ""},
              {"labels", json::object()},
              {"edge", false},
              {"blocks", blocks[name]},
              {"way", self ? "self" : "none"},
              {"clock_difference_seconds", clocks_.difference(name).count()},
              {"problem", self ? refused_ : std::string()}};
    if (node.record) {
      item["addresses"] = texts(node.record->underlay);
      item["gateways"] = texts(node.record->gateways);
      item["zone"] = node.record->zone;
      item["labels"] = node.record->labels.empty() ? json::object() : json(node.record->labels);
      item["mode"] = node.record->mode;
      item["edge"] = node.record->keep;
    }
    item["pods"] = pods().count_of(name);
    if (const auto reach = view.plan.reach.find(name); reach != view.plan.reach.end()) {
      item["way"] = control::to_string(reach->second.way);
      item["number"] = reach->second.number;
      item["problem"] = reach->second.problem;
    }
    if (!node.wrong.empty()) item["problem"] = node.wrong;
    if (const auto left_out = left_out_.find(name); left_out != left_out_.end())
      item["problem"] =
          fmt::format("{}{}not its own: {}", item["problem"].get<std::string>(),
                      item["problem"].get_ref<const std::string&>().empty() ? "" : "; ", left_out->second.second);
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace weft::agent
