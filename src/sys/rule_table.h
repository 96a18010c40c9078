// Routing rules and the routes of a table of our own, apart from the main table, which netlink.h has. Ours are known by
// their protocol number. In the network namespace of the thread that opened it; one owner.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace weft::sys {

struct Rule {
  Family family = Family::v4;
  std::uint32_t priority = 0;
  std::uint32_t table = 0;       // 254 is the main one
  std::uint32_t mark = 0;        // of packets; 0: any
  bool local = false;            // only what this node sends itself
  std::uint16_t tcp_source = 0;  // port; 0: any packet
  std::uint16_t tcp_destination = 0;
  auto operator<=>(const Rule&) const = default;
};

struct TableRoute {
  Cidr destination;
  int device = 0;
  IpAddress source;  // preferred
  auto operator<=>(const TableRoute&) const = default;
};

class RuleTable {
 public:
  static Result<RuleTable> open();
  RuleTable(RuleTable&&) noexcept;
  ~RuleTable();

  Result<std::vector<Rule>> rules();
  Result<void> add(const Rule& rule);     // present is success
  Result<void> remove(const Rule& rule);  // absent is success
  Result<std::vector<TableRoute>> routes(std::uint32_t table);
  Result<void> replace(std::uint32_t table, const TableRoute& route);
  Result<void> remove(std::uint32_t table, const TableRoute& route);

 private:
  class Impl;
  explicit RuleTable(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::sys
