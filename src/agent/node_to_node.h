// What the node itself says to other nodes goes by their WireGuard devices: routes to the nodes' own addresses in a
// table of their own, and the rule that has it looked up. Not so what WireGuard itself sends, known by its mark, and
// not etcd: without it nobody would learn of keys. On the agent's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/agent/config.h"
#include "sys/rule_table.h"

namespace weft::agent {

inline constexpr std::uint32_t wireguard_mark = 0x57454654;  // "WEFT"
inline constexpr std::uint32_t node_table = 8700;

class NodeToNode {
 public:
  // The TCP ports of the endpoints, which may be names.
  static std::set<sys::Rule> rules_for(const std::vector<std::string>& etcd_endpoints);

  // Exactly these: what is there is looked at, and brought to it.
  Result<void> apply(const std::set<sys::TableRoute>& routes, const std::vector<std::string>& etcd_endpoints);
  // None, and no rules; also what an earlier agent left.
  Result<void> clear();

 private:
  Result<void> bring(const std::set<sys::TableRoute>& routes, const std::set<sys::Rule>& rules);

  std::optional<sys::RuleTable> table_;
};

}  // namespace weft::agent
