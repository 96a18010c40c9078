#include "model/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace weft::model {
namespace {

// Where a field that was met in the wrong mapping belongs.
struct Home {
  std::string_view field;
  std::string_view place;
};
constexpr std::array homes{
    Home{"podSelector", "spec of a NetworkPolicy or an entry of from and to"},
    Home{"namespaceSelector", "an entry of from and to"},
    Home{"ipBlock", "an entry of from and to"},
    Home{"policyTypes", "spec of a NetworkPolicy"},
    Home{"ingress", "spec of a NetworkPolicy"},
    Home{"egress", "spec of a NetworkPolicy"},
    Home{"from", "an entry of spec.ingress"},
    Home{"to", "an entry of spec.egress"},
    Home{"cidr", "ipBlock"},
    Home{"except", "ipBlock"},
    Home{"endPort", "an entry of ports"},
    Home{"matchLabels", "a selector"},
    Home{"matchExpressions", "a selector"},
    Home{"labels", "metadata"},
    Home{"annotations", "metadata"},
    Home{"replicas", "spec of a Deployment"},
    Home{"containers", "spec of a pod"},
    Home{"clusterIP", "spec of a Service"},
    Home{"targetPort", "an entry of spec.ports of a Service"},
    Home{"timeoutSeconds", "spec.sessionAffinityConfig.clientIP"},
    Home{"nodePort", "an entry of spec.ports of a Service"},
    Home{"externalTrafficPolicy", "spec of a Service"},
    Home{"internalTrafficPolicy", "spec of a Service"},
    Home{"loadBalancerSourceRanges", "spec of a Service"},
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

// Levenshtein's distance with swapped neighbours as one step, letters of either case equal.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> previous(b.size() + 1);
  std::vector<std::size_t> current(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) previous[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t cost = lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1;
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, previous[j - 1] + cost});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
        current[j] = std::min(current[j], before[j - 2] + 1);
    }
    before.swap(previous);
    previous.swap(current);
  }
  return previous[b.size()];
}

std::string joined(std::vector<std::string_view> words) {
  std::ranges::sort(words);
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string step(std::string_view path, std::string_view name) {
  const bool plain = !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
  if (!plain) return fmt::format("{}[{}]", path, in_quotes(name));
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

void append_bounded(std::vector<Problem>& list, std::size_t most, Problem problem) {
  if (list.size() < most) {
    list.push_back(std::move(problem));
  } else if (list.size() == most) {
    problem.path.clear();
    problem.message = "and more of the same document, not shown";
    list.push_back(std::move(problem));
  }
}

}  // namespace

std::string in_quotes(std::string_view text) {
  constexpr std::size_t longest = 80;
  const bool cut = text.size() > longest;
  if (cut) {
    text = text.substr(0, longest);
    // Not in the middle of a UTF-8 sequence.
    while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xc0) == 0x80) text.remove_suffix(1);
    if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xc0) text.remove_suffix(1);
  }
  std::string result = "\"";
  for (const char c : text) {
    if (c == '\n')
      result += "\\n";
    else if (c == '\t')
      result += "\\t";
    else if (c == '"')
      result += "\\\"";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      result += c;
  }
  return result + (cut ? "...\"" : "\"");
}

std::string describe(const TreeNode& node) {
  switch (node.type) {
    case NodeType::null:
      return "nothing";
    case NodeType::boolean:
      return "the boolean " + node.text;
    case NodeType::integer:
    case NodeType::real:
      return "the number " + node.text.substr(0, 40);
    case NodeType::string:
      return in_quotes(node.text);
    case NodeType::list:
      return "a list";
    case NodeType::map:
      return "a mapping";
  }
  return "?";
}

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& known) {
  if (word.size() > 64) return {};
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const auto candidate : known) {
    const std::size_t length =
        candidate.size() > word.size() ? candidate.size() - word.size() : word.size() - candidate.size();
    if (length >= best_distance) continue;
    if (const std::size_t d = distance(word, candidate); d < best_distance) {
      best = candidate;
      best_distance = d;
    }
  }
  return best;
}

void Report::problem(int line, int column, std::string_view path, std::string message) {
  append_bounded(problems_, most, {file_, line, column, std::string(path), std::move(message)});
}

void Report::warning(int line, int column, std::string_view path, std::string message) {
  append_bounded(warnings_, most, {file_, line, column, std::string(path), std::move(message)});
}

Value Value::field(const Field& field) const { return {*tree_, field.value, *report_, step(path_, field.name)}; }

std::optional<Value> Value::member(std::string_view name) const {
  for (const Field& entry : node().fields)
    if (entry.name == name) {
      Value found = field(entry);
      if (found.is_null()) return std::nullopt;
      return found;
    }
  return std::nullopt;
}

void Value::expected(std::string_view what) const {
  problem(fmt::format("expected {}, found {}", what, describe(node())));
}

std::optional<std::string> Value::string() const {
  const TreeNode& value = node();
  if (value.type == NodeType::string) return value.text;
  if (value.type == NodeType::boolean || value.type == NodeType::integer || value.type == NodeType::real)
    problem(
        fmt::format("expected text, found {}; write it in quotes: \"{}\"", describe(value), value.text.substr(0, 40)));
  else
    expected("text");
  return std::nullopt;
}

std::optional<bool> Value::boolean() const {
  if (node().type == NodeType::boolean) return node().truth;
  expected("true or false");
  return std::nullopt;
}

std::optional<std::int64_t> Value::integer(std::int64_t least, std::int64_t most) const {
  const TreeNode& value = node();
  if (value.type == NodeType::integer && value.integer >= least && value.integer <= most) return value.integer;
  const std::string what = fmt::format("a number from {} to {}", least, most);
  TreeNode plain;
  plain.text = value.text;
  if (value.type == NodeType::string) resolve_plain(plain);
  if (value.type == NodeType::string && plain.type == NodeType::integer)
    problem(fmt::format("expected {}, found the text {}; write it without quotes", what, in_quotes(value.text)));
  else
    expected(what);
  return std::nullopt;
}

std::vector<Value> Value::list() const {
  std::vector<Value> result;
  const TreeNode& value = node();
  if (value.type == NodeType::list) {
    result.reserve(value.items.size());
    for (std::size_t i = 0; i < value.items.size(); ++i)
      result.emplace_back(*tree_, value.items[i], *report_, fmt::format("{}[{}]", path_, i));
  } else if (value.type != NodeType::null) {
    expected("a list");
  }
  return result;
}

std::vector<std::pair<std::string, Value>> Value::entries() const {
  std::vector<std::pair<std::string, Value>> result;
  const TreeNode& value = node();
  if (value.type == NodeType::map) {
    result.reserve(value.fields.size());
    for (const Field& entry : value.fields) result.emplace_back(entry.name, field(entry));
  } else if (value.type != NodeType::null) {
    expected("a mapping");
  }
  return result;
}

Fields::Fields(const Value& value) : value_(value), valid_(value.node().type == NodeType::map) {
  if (!valid_) value.expected("a mapping");
}

std::optional<Value> Fields::take(std::string_view name) {
  known_.push_back(name);
  taken_.push_back(name);
  if (!valid_) return std::nullopt;
  for (const Field& field : value_.node().fields)
    if (field.name == name) {
      Value value = value_.field(field);
      if (value.is_null()) return std::nullopt;
      return value;
    }
  return std::nullopt;
}

std::optional<Value> Fields::require(std::string_view name, std::string_view what) {
  auto value = take(name);
  if (value || !valid_) return value;
  int line = value_.node().line;
  int column = value_.node().column;
  std::string_view reason = "is missing";
  for (const Field& field : value_.node().fields)
    if (field.name == name) {
      line = field.line;
      column = field.column;
      reason = "is empty";
    }
  value_.report().problem(line, column, step(value_.path(), name),
                          fmt::format("{} {}; expected {}", name, reason, what));
  return std::nullopt;
}

void Fields::accept(std::initializer_list<std::string_view> names) { known_.insert(known_.end(), names); }

void Fields::unsupported(std::string_view name, std::string_view consequence) {
  if (const auto value = take(name)) value->warning(fmt::format("Weft does not act on {} yet: {}", name, consequence));
}

void Fields::refuse(std::string_view name, std::string_view why) { refused_.emplace_back(name, why); }

std::string_view Fields::refusal(std::string_view name) const {
  auto names = known_;
  for (const auto& [refused, why] : refused_) names.push_back(refused);
  const auto near = refused_.empty() ? std::string_view() : nearest(name, names);
  const auto found = std::ranges::find(refused_, near, &std::pair<std::string_view, std::string_view>::first);
  return near.empty() || found == refused_.end() ? std::string_view() : found->second;
}

void Fields::finish(Unknown unknown) {
  if (!valid_ || !value_.report().tells_unknown()) return;
  // More would not be shown, and each costs a search for the nearest name.
  std::size_t left = Report::most + 1;
  for (const Field& field : value_.node().fields) {
    if (std::ranges::find(known_, field.name) != known_.end()) continue;
    report_unknown(field, unknown);
    if (--left == 0) return;
  }
}

void Fields::report_unknown(const Field& field, Unknown unknown) {
  if (const auto why = refusal(field.name); !why.empty()) {
    const Value value = value_.field(field);
    const bool exact = std::ranges::find(refused_, field.name, &std::pair<std::string_view, std::string_view>::first) !=
                       refused_.end();
    if (exact) return value.is_null() ? void() : value.problem(std::string(why));
    return value_.report().problem(field.line, field.column, value.path(),
                                   fmt::format("unknown field {}; {}", in_quotes(field.name), why));
  }
  std::string message = fmt::format("unknown field {}", in_quotes(field.name));
  const auto home = std::ranges::find(homes, field.name, &Home::field);
  const auto near = nearest(field.name, known_);
  if (!near.empty())
    message += fmt::format("; did you mean \"{}\"?", near);
  else if (home != homes.end())
    message += fmt::format("; it belongs into {}", home->place);
  else if (known_.size() <= 10)
    message += fmt::format("; expected one of {}", joined(known_));
  const Value value = value_.field(field);
  if (unknown == Unknown::problem || std::ranges::find(taken_, near) != taken_.end())
    value_.report().problem(field.line, field.column, value.path(), std::move(message));
  else
    value_.report().warning(field.line, field.column, value.path(), message + "; it is ignored");
}

}  // namespace weft::model
