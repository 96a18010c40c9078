// Pools of addresses that nodes share: CIDRs cut into blocks of one size. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace weft::cluster {

struct PoolRange {
  Cidr cidr;
  unsigned block_length = 0;  // the prefix length of each block
  // At most 2^32: check_pools refuses more.
  [[nodiscard]] std::uint64_t blocks() const;
  [[nodiscard]] Cidr block(std::uint64_t index) const;
  // It is one of the blocks, and no other CIDR.
  [[nodiscard]] bool has_block(const Cidr& block) const;
  auto operator<=>(const PoolRange&) const = default;
};

struct Pool {
  std::string name;
  std::vector<PoolRange> ranges;  // of both families, several of each
  // Of one family, and the block of that index.
  [[nodiscard]] std::uint64_t blocks(Family family) const;
  [[nodiscard]] Cidr block(Family family, std::uint64_t index) const;
  [[nodiscard]] bool has_block(const Cidr& block) const;
  // In which the address lies.
  [[nodiscard]] std::optional<Cidr> block_of(const IpAddress& address) const;
  [[nodiscard]] std::string to_string() const;  // "10.0.0.0/16 in blocks of /24, ..."
  auto operator<=>(const Pool&) const = default;
};

// Names, lengths, and that no two ranges overlap, of one pool or of two: an overlap names both.
Result<void> check_pools(const std::vector<Pool>& pools);

// `known` and those of `ours` that it lacks. A pool of ours that differs from the known one of its name, or overlaps
// another, is refused; the error names both.
Result<std::vector<Pool>> merge_pools(const std::vector<Pool>& known, const std::vector<Pool>& ours);

// Every block of `before` is one of `after`.
bool grows(const Pool& before, const Pool& after);

// `known` with the pool of that name as `pool` says; without ranges it is gone.
Result<std::vector<Pool>> change_pools(std::vector<Pool> known, const Pool& pool);

// For messages: "default, blue".
std::string names_of(const std::vector<Pool>& pools);

}  // namespace weft::cluster
