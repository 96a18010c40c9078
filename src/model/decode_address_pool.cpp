// PodAddressPool: addresses for pods beside those of the node's configuration.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "model/annotations.h"
#include "model/decode.h"

namespace weft::model {
namespace {

// As many as an index of blocks has bits (sources/cluster/pools.h).
constexpr unsigned most_block_bits = 32;
constexpr std::size_t most_ranges = 64;  // all pools of a cluster are one key of its etcd
constexpr unsigned usual_block_v4 = 24;
constexpr unsigned usual_block_v6 = 64;

// No host routes these, so no pod can have one.
bool check_routed(const Value& value, const Cidr& cidr) {
  static constexpr std::array specials{"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3",
                                       "::/127",    "fe80::/10",   "ff00::/8",       "::ffff:0.0.0.0/96"};
  for (const auto* text : specials) {
    const auto special = Cidr::parse(text);
    if (!special || special->family() != cidr.family()) continue;
    if (!special->contains(cidr) && !cidr.contains(*special)) continue;
    value.problem(fmt::format("{} holds addresses of {}, which no host routes", cidr.to_string(), text));
    return false;
  }
  return true;
}

unsigned decode_block_length(Fields& fields, const Cidr& cidr) {
  const unsigned most = cidr.is_v4() ? 32 : 128;
  const auto given = fields.take("blockLength");
  if (!given) return std::max(cidr.is_v4() ? usual_block_v4 : usual_block_v6, cidr.length());
  const auto length = static_cast<unsigned>(given->integer(0, most).value_or(most));
  if (length < cidr.length())
    given->problem(fmt::format("a block of /{} is larger than {}", length, cidr.to_string()));
  else if (length - cidr.length() > most_block_bits)
    given->problem(
        fmt::format("{} in blocks of /{} is more than 2^{} blocks", cidr.to_string(), length, most_block_bits));
  return length;
}

void decode_range(const Value& value, PodAddressPool& pool) {
  Fields fields(value);
  const auto given = fields.require("cidr", "a CIDR such as 10.50.0.0/16");
  const auto cidr = given ? decode_cidr(*given) : std::nullopt;
  if (!cidr) {
    fields.accept({"blockLength"});
    return fields.finish();
  }
  const PodAddressRange range{*cidr, decode_block_length(fields, *cidr)};
  fields.finish();
  if (!check_routed(*given, *cidr)) return;
  const auto clash = std::ranges::find_if(pool.ranges, [&](const PodAddressRange& other) {
    return other.cidr.contains(*cidr) || cidr->contains(other.cidr);
  });
  if (clash != pool.ranges.end())
    given->problem(fmt::format("{} overlaps {} of the same pool", cidr->to_string(), clash->cidr.to_string()));
  pool.ranges.push_back(range);
}

}  // namespace

PodAddressPool decode_pod_address_pool(const Value& root) {
  PodAddressPool pool;
  Fields object(root);
  pool.meta = decode_metadata(object, Kind::pod_address_pool);
  refuse_annotations(root, "a PodAddressPool");
  object.accept({"status"});
  if (const auto meta = root.member("metadata"); pool.meta.name == default_address_pool && meta)
    meta->member("name")->problem("the pool \"default\" is pod_cidrs of the configuration; choose another name");
  const auto spec = object.require("spec", "cidrs");
  object.finish();
  if (!spec) return pool;
  Fields fields(*spec);
  if (const auto cidrs = fields.require("cidrs", "a list of at least one CIDR")) {
    const auto items = cidrs->list();
    if (cidrs->node().type == NodeType::list && items.empty())
      cidrs->problem("expected at least one entry, found none");
    if (items.size() > most_ranges) {
      cidrs->problem(fmt::format("expected at most {} entries, found {}", most_ranges, items.size()));
      return pool;
    }
    for (const auto& item : items) decode_range(item, pool);
  }
  if (const auto selector = fields.take("namespaceSelector")) pool.namespace_selector = decode_selector(*selector);
  if (const auto selector = fields.take("podSelector")) pool.pod_selector = decode_selector(*selector);
  fields.finish();
  return pool;
}

}  // namespace weft::model
