#include <nlohmann/json.hpp>

#include "model/parse.h"
#include "model/reader.h"
#include "model/tree.h"

namespace weft::model {
namespace {

using nlohmann::json;

bool is_scalar(const json& value) { return !value.is_structured() || value.empty(); }

// Whether text can stand without quotes and be read back as the same text.
bool is_plain(const std::string& text) {
  TreeNode node;
  node.text = text;
  resolve_plain(node);
  if (node.type != NodeType::string || text == "y" || text == "n" || text == "Y" || text == "N" ||
      text.front() == '=' || text.starts_with("---"))
    return false;
  for (const char c : text) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!word && std::string_view("-_./:=+@ ").find(c) == std::string_view::npos) return false;
  }
  if (std::string_view("-:@ ").find(text.front()) != std::string_view::npos) return false;
  // Forms like 2026-01-01 or 12:30 are dates and base-60 numbers to some readers.
  const bool numeric = text.front() >= '0' && text.front() <= '9';
  if (numeric && text.find_first_not_of("0123456789-:. T") == std::string::npos) return false;
  return text.back() != ':' && text.back() != ' ' && text.find(": ") == std::string::npos;
}

std::string scalar_text(const json& value) {
  if (value.is_string() && is_plain(value.get_ref<const std::string&>())) return value.get<std::string>();
  // JSON's quoted form is YAML's double-quoted one.
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  // DEL may stand in JSON text but not in YAML.
  for (auto at = text.find('\x7f'); at != std::string::npos; at = text.find('\x7f', at)) text.replace(at, 1, "\\u007f");
  return text;
}

std::string key_text(const std::string& key) { return scalar_text(json(key)); }

void write(std::string& out, const json& value, std::size_t indent, std::size_t depth);

void write_map(std::string& out, const json& map, std::size_t indent, std::size_t depth, bool first_in_place) {
  for (const auto& [key, value] : map.items()) {
    if (!first_in_place) out.append(indent, ' ');
    first_in_place = false;
    out += key_text(key) + ":";
    if (is_scalar(value)) {
      out += " " + scalar_text(value) + "\n";
    } else {
      out += "\n";
      write(out, value, value.is_array() ? indent : indent + 2, depth + 1);
    }
  }
}

void write(std::string& out, const json& value, std::size_t indent, std::size_t depth) {
  if (is_scalar(value) || depth > 2 * Limits::depth) {
    out.append(indent, ' ');
    out += scalar_text(value) + "\n";
  } else if (value.is_object()) {
    write_map(out, value, indent, depth, false);
  } else {
    for (const auto& item : value) {
      out.append(indent, ' ');
      out += "- ";
      if (is_scalar(item)) {
        out += scalar_text(item) + "\n";
      } else if (item.is_object()) {
        write_map(out, item, indent + 2, depth + 1, true);
      } else {
        out += "\n";
        write(out, item, indent + 2, depth + 1);
      }
    }
  }
}

}  // namespace

std::string yaml_from_json(std::string_view text) {
  json value = json::parse(text, nullptr, false);
  if (value.is_discarded()) return "# not valid JSON\n";
  std::string out;
  write(out, value, 0, 0);
  return out;
}

}  // namespace weft::model
