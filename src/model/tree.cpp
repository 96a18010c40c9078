#include "model/tree.h"

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

namespace weft::model {
namespace {

using nlohmann::json;

template <std::size_t N>
bool one_of(std::string_view text, const std::array<std::string_view, N>& words) {
  for (const auto word : words)
    if (word == text) return true;
  return false;
}

constexpr std::array<std::string_view, 5> null_words{"", "~", "null", "Null", "NULL"};
// YAML 1.1 has y and n as well; as a label's value they are far more often meant as text.
constexpr std::array<std::string_view, 9> true_words{"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"};
constexpr std::array<std::string_view, 9> false_words{"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"};

bool all_of_set(std::string_view text, std::string_view set) {
  return !text.empty() && text.find_first_not_of(set) == std::string_view::npos;
}

// [-+]?[0-9]+ and the 0x, 0o and 0b forms.
bool looks_integer(std::string_view text) {
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  if (text.starts_with("0x")) return all_of_set(text.substr(2), "0123456789abcdefABCDEF_");
  if (text.starts_with("0o")) return all_of_set(text.substr(2), "01234567_");
  if (text.starts_with("0b")) return all_of_set(text.substr(2), "01_");
  return all_of_set(text, "0123456789_") && text.front() != '_';
}

bool looks_real(std::string_view text) {
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  if (text == ".inf" || text == ".Inf" || text == ".INF" || text == ".nan" || text == ".NaN" || text == ".NAN")
    return true;
  std::size_t at = 0;
  const auto digits = [&] {
    const std::size_t from = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    return at > from;
  };
  bool any = digits();
  if (at < text.size() && text[at] == '.') {
    ++at;
    any = digits() || any;
  }
  if (!any) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    if (!digits()) return false;
  }
  return at == text.size();
}

std::optional<std::int64_t> plain_decimal(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  std::string_view digits = text;
  if (digits.starts_with('-')) digits.remove_prefix(1);
  // "010" is eight to some readers and ten to others: a number nobody should rely on.
  if (digits.size() > 1 && digits.front() == '0') return std::nullopt;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<NodeId> add_json(Tree& tree, const json& value, std::size_t depth) {
  if (depth > Limits::depth + 10) return fail(ErrorCode::invalid, "the JSON is nested too deeply");
  const auto id = static_cast<NodeId>(tree.nodes.size());
  tree.nodes.emplace_back();
  TreeNode node;
  if (value.is_boolean()) {
    node.type = NodeType::boolean;
    node.truth = value.get<bool>();
    node.text = node.truth ? "true" : "false";
  } else if (value.is_string()) {
    node.type = NodeType::string;
    node.text = value.get_ref<const std::string&>();
  } else if (value.is_number()) {
    node.text = value.dump();
    const auto number = plain_decimal(node.text);
    node.type = number ? NodeType::integer : NodeType::real;
    node.integer = number.value_or(0);
  } else if (value.is_array()) {
    node.type = NodeType::list;
    for (const auto& item : value) {
      WEFT_TRY(const NodeId child, add_json(tree, item, depth + 1));
      node.items.push_back(child);
    }
  } else if (value.is_object()) {
    node.type = NodeType::map;
    for (const auto& [name, item] : value.items()) {
      WEFT_TRY(const NodeId child, add_json(tree, item, depth + 1));
      node.fields.push_back({name, child, 0, 0});
    }
  }
  tree.nodes[id] = std::move(node);
  return id;
}

json number_json(const TreeNode& node) {
  if (node.type == NodeType::integer) return node.integer;
  json parsed = json::parse(node.text, nullptr, false);
  // Forms JSON does not have (0x10, 010, .inf) stay the text they were.
  return parsed.is_number() ? parsed : json(node.text);
}

// An annotation without a value is an empty one, not an absent one.
void keep_empty(const Tree& tree, const TreeNode& parent, json& annotations) {
  for (const Field& field : parent.fields)
    if (field.name == "annotations")
      for (const Field& entry : tree.at(field.value).fields)
        if (tree.at(entry.value).type == NodeType::null) annotations[entry.name] = "";
}

}  // namespace

void resolve_plain(TreeNode& node) {
  const std::string& text = node.text;
  node.type = NodeType::string;
  if (one_of(text, null_words)) {
    node.type = NodeType::null;
  } else if (one_of(text, true_words) || one_of(text, false_words)) {
    node.type = NodeType::boolean;
    node.truth = one_of(text, true_words);
  } else if (looks_integer(text)) {
    const auto number = plain_decimal(text);
    node.type = number ? NodeType::integer : NodeType::real;
    node.integer = number.value_or(0);
  } else if (looks_real(text)) {
    node.type = NodeType::real;
  }
}

Result<Tree> tree_from_json(const json& value) {
  if (value.is_discarded()) return fail(ErrorCode::invalid, "not valid JSON");
  Tree tree;
  WEFT_TRY(tree.root, add_json(tree, value, 0));
  return tree;
}

json json_from_tree(const Tree& tree, NodeId id) {
  const TreeNode& node = tree.at(id);
  switch (node.type) {
    case NodeType::null:
      return nullptr;
    case NodeType::boolean:
      return node.truth;
    case NodeType::integer:
    case NodeType::real:
      return number_json(node);
    case NodeType::string:
      return node.text;
    case NodeType::list: {
      json list = json::array();
      for (const NodeId item : node.items) list.push_back(json_from_tree(tree, item));
      return list;
    }
    case NodeType::map: {
      json map = json::object();
      for (const Field& field : node.fields)
        if (tree.at(field.value).type != NodeType::null) map[field.name] = json_from_tree(tree, field.value);
      if (const auto annotations = map.find("annotations"); annotations != map.end())
        keep_empty(tree, node, *annotations);
      return map;
    }
  }
  return nullptr;
}

}  // namespace weft::model
