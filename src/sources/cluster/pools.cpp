#include "sources/cluster/pools.h"

#include <fmt/format.h>

#include <algorithm>

#include "sources/cluster/keys.h"

namespace weft::cluster {
namespace {

constexpr unsigned most_block_bits = 32;

std::string range_text(const PoolRange& range) {
  return fmt::format("{} in blocks of /{}", range.cidr.to_string(), range.block_length);
}

Result<void> check_range(const Pool& pool, const PoolRange& range) {
  const unsigned most = range.cidr.is_v4() ? 32 : 128;
  const auto wrong = [&](const std::string& why) {
    return fail(ErrorCode::invalid, fmt::format("pool \"{}\": {}: {}", pool.name, range_text(range), why));
  };
  if (range.block_length > most) return wrong(fmt::format("a block's prefix length is at most {}", most));
  if (range.block_length < range.cidr.length()) return wrong("a block is larger than the CIDR");
  // IPv4 addresses in IPv6's form are IPv4 addresses here. Whatever holds them holds their neighbours below.
  if (!range.cidr.is_v4() && range.cidr.contains(*IpAddress::parse("::fffe:0:0")))
    return wrong("the IPv4-mapped addresses are among them");
  if (range.block_length - range.cidr.length() > most_block_bits)
    return wrong(fmt::format("more than 2^{} blocks", most_block_bits));
  return {};
}

Result<void> check_overlap(const Pool& a, const PoolRange& of_a, const Pool& b, const PoolRange& of_b) {
  if (!of_a.cidr.contains(of_b.cidr) && !of_b.cidr.contains(of_a.cidr)) return {};
  return fail(ErrorCode::invalid,
              fmt::format("{} of pool \"{}\" overlaps {} of pool \"{}\"", of_a.cidr.to_string(), a.name,
                          of_b.cidr.to_string(), b.name),
              "an address belongs to one pool: give one of the two another CIDR");
}

Result<void> check_overlaps(const Pool& a, const Pool& b) {
  for (std::size_t i = 0; i < a.ranges.size(); ++i)
    for (std::size_t j = &a == &b ? i + 1 : 0; j < b.ranges.size(); ++j)
      WEFT_CHECK(check_overlap(a, a.ranges[i], b, b.ranges[j]));
  return {};
}

}  // namespace

std::uint64_t PoolRange::blocks() const { return std::uint64_t{1} << (block_length - cidr.length()); }

Cidr PoolRange::block(std::uint64_t index) const {
  auto bytes = cidr.address().bytes();
  const unsigned last = Cidr(cidr.address(), block_length).mapped_length();
  // Bit by bit from the block's lowest: the index has at most 32.
  for (unsigned bit = last; index != 0 && bit > 0; --bit, index >>= 1)
    if ((index & 1) != 0)
      bytes[(bit - 1) / 8] = static_cast<std::uint8_t>(bytes[(bit - 1) / 8] | 0x80U >> ((bit - 1) % 8));
  return {IpAddress(bytes), block_length};
}

bool PoolRange::has_block(const Cidr& block) const { return block.length() == block_length && cidr.contains(block); }

std::uint64_t Pool::blocks(Family family) const {
  std::uint64_t sum = 0;
  for (const auto& range : ranges)
    if (range.cidr.family() == family) sum += range.blocks();
  return sum;
}

Cidr Pool::block(Family family, std::uint64_t index) const {
  for (const auto& range : ranges) {
    if (range.cidr.family() != family) continue;
    if (index < range.blocks()) return range.block(index);
    index -= range.blocks();
  }
  return {};
}

bool Pool::has_block(const Cidr& block) const {
  return std::ranges::any_of(ranges, [&](const auto& range) { return range.has_block(block); });
}

std::optional<Cidr> Pool::block_of(const IpAddress& address) const {
  for (const auto& range : ranges)
    if (range.cidr.contains(address)) return Cidr(address, range.block_length);
  return std::nullopt;
}

std::string Pool::to_string() const {
  std::vector<std::string> texts;
  for (const auto& range : ranges) texts.push_back(range_text(range));
  return fmt::format("{}", fmt::join(texts, ", "));
}

Result<void> check_pools(const std::vector<Pool>& pools) {
  for (std::size_t i = 0; i < pools.size(); ++i) {
    const auto& pool = pools[i];
    WEFT_CHECK(check_name("pool", pool.name));
    if (pool.ranges.empty()) return fail(ErrorCode::invalid, fmt::format("pool \"{}\" has no CIDR", pool.name));
    for (const auto& range : pool.ranges) WEFT_CHECK(check_range(pool, range));
    for (std::size_t j = 0; j < i; ++j) {
      if (pools[j].name == pool.name)
        return fail(ErrorCode::invalid, fmt::format("pool \"{}\" is there twice: {}; {}", pool.name,
                                                    pools[j].to_string(), pool.to_string()));
      WEFT_CHECK(check_overlaps(pools[j], pool));
    }
    WEFT_CHECK(check_overlaps(pool, pool));
  }
  return {};
}

Result<std::vector<Pool>> merge_pools(const std::vector<Pool>& known, const std::vector<Pool>& ours) {
  auto all = known;
  for (const auto& pool : ours) {
    const auto same = std::ranges::find(known, pool.name, &Pool::name);
    if (same == known.end()) {
      all.push_back(pool);
    } else if (*same != pool) {
      return fail(
          ErrorCode::invalid,
          fmt::format("pool \"{}\" is {} here and {} in the cluster", pool.name, pool.to_string(), same->to_string()),
          "every node of a cluster is configured with the same pools");
    }
  }
  WEFT_CHECK(check_pools(all));
  return all;
}

bool grows(const Pool& before, const Pool& after) {
  return std::ranges::all_of(
      before.ranges, [&](const auto& range) { return std::ranges::find(after.ranges, range) != after.ranges.end(); });
}

Result<std::vector<Pool>> change_pools(std::vector<Pool> known, const Pool& pool) {
  const auto same = std::ranges::find(known, pool.name, &Pool::name);
  if (pool.ranges.empty()) {
    if (same != known.end()) known.erase(same);
    return known;
  }
  if (same != known.end())
    *same = pool;
  else
    known.push_back(pool);
  WEFT_CHECK(check_pools(known));
  return known;
}

std::string names_of(const std::vector<Pool>& pools) {
  std::string names;
  for (const auto& pool : pools) names += (names.empty() ? "" : ", ") + pool.name;
  return names.empty() ? "none" : names;
}

}  // namespace weft::cluster
