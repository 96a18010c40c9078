#include "model/annotations.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "model/names.h"

namespace weft::model {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view group = "weft.io/";
constexpr std::uint32_t most_weight = 1000;

struct Home {
  std::string_view name;
  std::string_view place;
};
constexpr std::string_view services = "a Service";
constexpr std::string_view pods = "a Pod or the metadata of a pod template";
constexpr std::array homes{
    Home{"weight", "an EndpointSlice, a Pod or the metadata of a pod template"},
    Home{"algorithm", services},
    Home{"forwarding", services},
    Home{"maglev-table-size", services},
    Home{"local-redirect", services},
    Home{"load-balancer-ips", services},
    Home{"sharing-key", services},
    Home{"health-check", services},
    Home{"address-pool", "a Namespace, a Pod or the metadata of a pod template"},
    Home{"addresses", pods},
};

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

std::string duration_text(milliseconds duration) {
  const auto count = duration.count();
  if (count % 3600000 == 0) return fmt::format("{}h", count / 3600000);
  if (count % 60000 == 0) return fmt::format("{}m", count / 60000);
  return count % 1000 == 0 ? fmt::format("{}s", count / 1000) : fmt::format("{}ms", count);
}

// Takes "12ms" off the front of `text`.
std::optional<milliseconds> take_part(std::string_view& text) {
  constexpr std::array<std::pair<std::string_view, std::int64_t>, 4> units{
      {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}}};
  constexpr std::size_t most_digits = 9;
  const auto digits = text.find_first_not_of("0123456789");
  if (digits == 0 || digits == std::string_view::npos || digits > most_digits) return std::nullopt;
  std::int64_t number = 0;
  for (const char c : text.substr(0, digits)) number = number * 10 + (c - '0');
  text.remove_prefix(digits);
  for (const auto& [unit, factor] : units)
    if (text.starts_with(unit)) {
      text.remove_prefix(unit.size());
      return milliseconds(number * factor);
    }
  return std::nullopt;
}

}  // namespace

std::optional<milliseconds> parse_duration(std::string_view text) {
  milliseconds sum{0};
  do {
    const auto part = take_part(text);
    if (!part) return std::nullopt;
    sum += *part;
  } while (!text.empty());
  return sum;
}

std::optional<std::string> Annotation::word(const std::vector<std::string_view>& words) const {
  if (std::ranges::find(words, text) != words.end()) return text;
  std::string message = fmt::format("expected {}, found {}", fmt::join(words, " or "), in_quotes(text));
  if (const auto near = nearest(text, words); !near.empty()) message += fmt::format("; did you mean \"{}\"?", near);
  value.problem(std::move(message));
  return std::nullopt;
}

std::optional<std::uint32_t> Annotation::number(std::uint32_t least, std::uint32_t most) const {
  std::uint32_t number = 0;
  const auto* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc() && rest == end && number >= least && number <= most) return number;
  expected(fmt::format("a number from {} to {}", least, most));
  return std::nullopt;
}

std::optional<milliseconds> Annotation::duration(milliseconds least, milliseconds most) const {
  const auto duration = parse_duration(text);
  if (duration && *duration >= least && *duration <= most) return duration;
  expected(fmt::format("a duration from {} to {}, such as 500ms or 2s", duration_text(least), duration_text(most)));
  return std::nullopt;
}

std::vector<std::string> Annotation::parts(std::string_view what) const {
  std::vector<std::string> result;
  for (std::string_view rest = text;;) {
    const auto comma = rest.find(',');
    const auto part = trimmed(rest.substr(0, comma));
    if (part.empty()) {
      expected(what);
      return {};
    }
    result.emplace_back(part);
    if (comma == std::string_view::npos) return result;
    rest.remove_prefix(comma + 1);
  }
}

void Annotation::expected(std::string_view what) const {
  value.problem(fmt::format("expected {}, found {}", what, text.empty() ? "nothing" : in_quotes(text)));
}

Annotations::Annotations(const Value& object) {
  const auto meta = object.member("metadata");
  const auto annotations = meta ? meta->member("annotations") : std::nullopt;
  if (!annotations || annotations->node().type != NodeType::map) return;
  for (auto& [key, value] : annotations->entries()) {
    const auto type = value.node().type;
    if (key.starts_with(group) && (type == NodeType::string || type == NodeType::null))
      given_.emplace_back(key.substr(group.size()), std::move(value));
  }
}

std::optional<Annotation> Annotations::take(std::string_view name) {
  taken_.push_back(name);
  const auto found = std::ranges::find(given_, name, &std::pair<std::string, Value>::first);
  if (found == given_.end()) return std::nullopt;
  const TreeNode& node = found->second.node();
  return Annotation{name, found->second, node.type == NodeType::string ? node.text : std::string()};
}

void Annotations::finish(std::string_view owner) const {
  for (const auto& [name, value] : given_) {
    if (std::ranges::find(taken_, name) != taken_.end()) continue;
    std::string message = fmt::format("{} {}", unknown_annotation, in_quotes(std::string(group) + name));
    const auto near = nearest(name, taken_);
    if (!value.report().tells_unknown()) {
      // Of an object that a server has: a later version's, or one of Weft's own workloads.
      if (!near.empty()) value.warning(fmt::format("{}; did you mean \"{}{}\"?", message, group, near));
      continue;
    }
    const auto home = std::ranges::find_if(homes, [&](const Home& entry) { return name.starts_with(entry.name); });
    if (!near.empty())
      message += fmt::format("; did you mean \"{}{}\"?", group, near);
    else if (home != homes.end() && home->place != owner)
      message += fmt::format(" of {}; it belongs to {}", owner, home->place);
    else if (taken_.empty())
      message += fmt::format("; {} takes none of {}", owner, group);
    else
      message += fmt::format("; {} takes {}{}", owner, group, fmt::join(taken_, fmt::format(", {}", group)));
    value.problem(std::move(message));
  }
}

namespace {

std::uint32_t take_weight(Annotations& annotations) {
  const auto given = annotations.take("weight");
  return given ? given->number(0, most_weight).value_or(1) : 1;
}

std::string take_pool(Annotations& annotations) {
  const auto given = annotations.take("address-pool");
  if (!given) return {};
  if (const auto wrong = check_dns_subdomain(given->text); !wrong.empty())
    given->value.problem(fmt::format("{}, found {}", wrong, in_quotes(given->text)));
  return given->text;
}

// One of each family at most: that is what an interface of a pod has.
std::vector<IpAddress> take_addresses(Annotations& annotations) {
  constexpr std::string_view form = "an address, or one of each family joined by a comma";
  std::vector<IpAddress> addresses;
  const auto given = annotations.take("addresses");
  if (!given) return addresses;
  for (const auto& part : given->parts(form)) {
    const auto address = IpAddress::parse(part);
    if (!address) {
      given->expected(form);
      return {};
    }
    if (std::ranges::find(addresses, address->family(), &IpAddress::family) != addresses.end()) {
      given->value.problem(fmt::format("a second address of one family: {}", in_quotes(given->text)));
      return {};
    }
    addresses.push_back(*address);
  }
  return addresses;
}

}  // namespace

std::uint32_t decode_weight(const Value& object, std::string_view owner) {
  Annotations annotations(object);
  const auto weight = take_weight(annotations);
  annotations.finish(owner);
  return weight;
}

PodAnnotations decode_pod_annotations(const Value& object, std::string_view owner) {
  Annotations annotations(object);
  PodAnnotations result;
  result.weight = take_weight(annotations);
  result.addresses.pool = take_pool(annotations);
  result.addresses.addresses = take_addresses(annotations);
  annotations.finish(owner);
  return result;
}

std::string decode_namespace_pool(const Value& object) {
  Annotations annotations(object);
  auto pool = take_pool(annotations);
  annotations.finish("a Namespace");
  return pool;
}

void refuse_annotations(const Value& object, std::string_view owner) { Annotations(object).finish(owner); }

}  // namespace weft::model
