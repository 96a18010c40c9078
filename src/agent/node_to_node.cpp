#include "agent/node_to_node.h"

#include <algorithm>
#include <charconv>

namespace weft::agent {
namespace {

constexpr std::uint32_t main_table = 254;
// In this order, far before the main table's 32766.
constexpr std::uint32_t own_packets = 8698;
constexpr std::uint32_t etcd_packets = 8699;
constexpr std::uint32_t node_packets = 8700;

// "https://10.0.0.1:2379"; the configuration has been checked, and etcd's own port is 2379.
std::uint16_t port_of(const std::string& endpoint) {
  std::uint16_t port = 2379;
  const auto colon = endpoint.rfind(':');
  if (colon != std::string::npos) std::from_chars(endpoint.data() + colon + 1, endpoint.data() + endpoint.size(), port);
  return port;
}

}  // namespace

std::set<sys::Rule> NodeToNode::rules_for(const std::vector<std::string>& etcd_endpoints) {
  std::set<sys::Rule> rules;
  for (const auto family : {Family::v4, Family::v6}) {
    rules.insert({.family = family, .priority = own_packets, .table = main_table, .mark = wireguard_mark});
    // Both ways: a member on one of the nodes answers from there.
    for (const auto& endpoint : etcd_endpoints) {
      rules.insert({.family = family, .priority = etcd_packets, .table = main_table, .tcp_source = port_of(endpoint)});
      rules.insert(
          {.family = family, .priority = etcd_packets, .table = main_table, .tcp_destination = port_of(endpoint)});
    }
    rules.insert({.family = family, .priority = node_packets, .table = node_table, .local = true});
  }
  return rules;
}

Result<void> NodeToNode::bring(const std::set<sys::TableRoute>& routes, const std::set<sys::Rule>& rules) {
  if (!table_) {
    WEFT_TRY(auto opened, sys::RuleTable::open());
    table_.emplace(std::move(opened));
  }
  WEFT_TRY(const auto present_rules, table_->rules());
  WEFT_TRY(const auto present_routes, table_->routes(node_table));
  // The exceptions come before what they are exceptions of, and go after it.
  for (const auto& rule : rules)
    if (rule.table == main_table && std::ranges::find(present_rules, rule) == present_rules.end())
      WEFT_CHECK(table_->add(rule));
  for (const auto& route : routes)
    if (std::ranges::find(present_routes, route) == present_routes.end())
      WEFT_CHECK(table_->replace(node_table, route));
  const auto leads_there = [&](const sys::TableRoute& present) {
    return std::ranges::any_of(routes, [&](const auto& route) { return route.destination == present.destination; });
  };
  for (const auto& route : present_routes)
    if (!leads_there(route)) WEFT_CHECK(table_->remove(node_table, route));
  for (const auto& rule : rules)
    if (rule.table != main_table && std::ranges::find(present_rules, rule) == present_rules.end())
      WEFT_CHECK(table_->add(rule));
  for (const bool last : {false, true})
    for (const auto& rule : present_rules)
      if ((rule.table == main_table) == last && !rules.contains(rule)) WEFT_CHECK(table_->remove(rule));
  return {};
}

Result<void> NodeToNode::apply(const std::set<sys::TableRoute>& routes,
                               const std::vector<std::string>& etcd_endpoints) {
  return bring(routes, rules_for(etcd_endpoints));
}

Result<void> NodeToNode::clear() { return bring({}, {}); }

}  // namespace weft::agent
