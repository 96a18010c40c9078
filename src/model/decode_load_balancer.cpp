// Weft's own kinds: LoadBalancerPool and L2Announcement.
#include <fmt/format.h>

#include <algorithm>

#include "model/annotations.h"
#include "model/decode.h"
#include "model/names.h"

namespace weft::model {
namespace {

constexpr std::string_view range_form = "a CIDR, an address or a range such as 10.0.0.5-10.0.0.9";

IpAddress last_of(const Cidr& cidr) {
  auto bytes = cidr.address().bytes();
  for (unsigned bit = cidr.mapped_length(); bit < 128; ++bit)
    bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] | (0x80U >> bit % 8));
  return IpAddress(bytes);
}

// "first-last", both ends included.
std::optional<AddressRange> parse_range(const Value& value, std::string_view text) {
  const auto dash = text.find('-');
  const auto first = IpAddress::parse(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : IpAddress::parse(text.substr(dash + 1));
  if (!first || !last) {
    value.problem(fmt::format("expected {}, found {}", range_form, in_quotes(text)));
    return std::nullopt;
  }
  if (first->family() != last->family()) {
    value.problem("expected two addresses of one family, found " + in_quotes(text));
    return std::nullopt;
  }
  if (*last < *first) {
    value.problem(fmt::format("expected the lower address first, found {}", in_quotes(text)));
    return std::nullopt;
  }
  return AddressRange{*first, *last};
}

std::optional<AddressRange> decode_range(const Value& value) {
  const auto text = value.string();
  if (!text) return std::nullopt;
  std::optional<AddressRange> range;
  if (text->find('/') == std::string::npos) {
    range = parse_range(value, *text);
  } else if (const auto cidr = decode_cidr(value)) {
    range = AddressRange{cidr->address(), last_of(*cidr)};
  }
  if (range && !(is_service_address(range->first) && is_service_address(range->last))) {
    value.problem(fmt::format("expected addresses a Service can have, found {}", in_quotes(*text)));
    return std::nullopt;
  }
  return range;
}

void decode_ranges(const Value& value, LoadBalancerPool& pool) {
  const auto items = value.list();
  if (value.node().type == NodeType::list && items.empty()) value.problem("expected at least one entry, found none");
  for (const auto& item : items) {
    const auto range = decode_range(item);
    if (!range) continue;
    const auto clash = std::ranges::find_if(pool.ranges, [&](const AddressRange& other) {
      return other.first.family() == range->first.family() && other.first <= range->last && range->first <= other.last;
    });
    if (clash != pool.ranges.end())
      item.problem(fmt::format("overlaps {}-{} of the same pool", clash->first.to_string(), clash->last.to_string()));
    pool.ranges.push_back(*range);
  }
}

}  // namespace

void check_interface(const Value& value, std::string_view text, bool pattern) {
  constexpr std::size_t longest = 15;
  const bool plain = std::ranges::all_of(
      text, [&](char c) { return c > ' ' && c < 0x7f && c != '/' && c != ':' && (pattern || c != '*'); });
  if (text.empty() || text.size() > longest || !plain || text == "." || text == "..")
    value.problem(fmt::format("expected a device's name of at most {} characters, such as eth0{}, found {}", longest,
                              pattern ? " or eth*" : "", in_quotes(text)));
}

LoadBalancerPool decode_load_balancer_pool(const Value& root) {
  LoadBalancerPool pool;
  Fields object(root);
  pool.meta = decode_metadata(object, Kind::load_balancer_pool);
  refuse_annotations(root, "a LoadBalancerPool");
  object.accept({"status"});
  const auto spec = object.require("spec", "addresses");
  object.finish();
  if (!spec) return pool;
  Fields fields(*spec);
  if (const auto addresses = fields.require("addresses", "a list of at least one CIDR or range"))
    decode_ranges(*addresses, pool);
  if (const auto selector = fields.take("serviceSelector")) pool.service_selector = decode_selector(*selector);
  if (const auto namespaces = fields.take("namespaces"))
    for (const auto& item : namespaces->list())
      if (auto text = item.string()) {
        if (const auto wrong = check_dns_label(*text); !wrong.empty())
          item.problem(fmt::format("{}, found {}", wrong, in_quotes(*text)));
        pool.namespaces.push_back(std::move(*text));
      }
  if (const auto assign = fields.take("autoAssign")) pool.auto_assign = assign->boolean().value_or(true);
  fields.finish();
  return pool;
}

L2Announcement decode_l2_announcement(const Value& root) {
  L2Announcement announcement;
  Fields object(root);
  announcement.meta = decode_metadata(object, Kind::l2_announcement);
  refuse_annotations(root, "an L2Announcement");
  object.accept({"status"});
  const auto spec = object.require("spec", "what to announce; {} announces everything on the uplinks");
  object.finish();
  if (!spec) return announcement;
  Fields fields(*spec);
  if (const auto selector = fields.take("serviceSelector")) announcement.service_selector = decode_selector(*selector);
  if (const auto selector = fields.take("nodeSelector")) announcement.node_selector = decode_selector(*selector);
  if (const auto interfaces = fields.take("interfaces"))
    for (const auto& item : interfaces->list())
      if (auto text = item.string()) {
        check_interface(item, *text, true);
        announcement.interfaces.push_back(std::move(*text));
      }
  if (const auto external = fields.take("externalIPs")) announcement.external_ips = external->boolean().value_or(true);
  if (const auto balancers = fields.take("loadBalancerIPs"))
    announcement.load_balancer_ips = balancers->boolean().value_or(true);
  fields.finish();
  if (fields.valid() && !announcement.external_ips && !announcement.load_balancer_ips)
    spec->warning("announces nothing: externalIPs and loadBalancerIPs are both false");
  return announcement;
}

}  // namespace weft::model
