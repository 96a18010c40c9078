#include "chart/schema.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "base/ip.h"

namespace weft::chart {
namespace {

using nlohmann::json;

bool is_type(const std::string& type, const json& value) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  return false;
}

bool is_format(const std::string& format, const std::string& text) {
  const auto address = IpAddress::parse(text);
  if (format == "ipv4") return address && address->is_v4();
  if (format == "ipv6") return address && !address->is_v4();
  if (format == "cidr") return text.find('/') != std::string::npos && Cidr::parse(text).has_value();
  return true;
}

class Checker {
 public:
  explicit Checker(const json& root) : root_(root) {}

  void check(const json& schema, const json& value, const std::string& path) {
    if (const auto reference = schema.find("$ref"); reference != schema.end())
      return check(root_.at(json::json_pointer(reference->get<std::string>().substr(1))), value, path);
    if (!check_type(schema, value, path)) return;
    if (const auto allowed = schema.find("enum"); allowed != schema.end())
      if (std::ranges::find(*allowed, value) == allowed->end())
        wrong(path, fmt::format("expected one of {}, found {}", allowed->dump(), value.dump()));
    if (value.is_string()) check_text(schema, value.get_ref<const std::string&>(), path);
    if (value.is_number()) check_bounds(schema, "minimum", "maximum", value.get<double>(), path, "");
    if (value.is_array()) check_list(schema, value, path);
    if (value.is_object()) check_object(schema, value, path);
    check_junctors(schema, value, path);
  }

  std::vector<std::string> problems;

 private:
  void wrong(const std::string& path, const std::string& what) {
    problems.push_back(path.empty() ? what : fmt::format("{}: {}", path, what));
  }

  bool check_type(const json& schema, const json& value, const std::string& path) {
    const auto type = schema.find("type");
    if (type == schema.end()) return true;
    const auto types = type->is_array() ? *type : json::array({*type});
    for (const auto& one : types)
      if (is_type(one.get<std::string>(), value)) return true;
    wrong(path, fmt::format("expected {}, found {}", type->is_array() ? type->dump() : type->get<std::string>(),
                            value.dump()));
    return false;
  }

  void check_bounds(const json& schema, const char* least, const char* most, double number, const std::string& path,
                    const char* of) {
    if (schema.contains(least) && number < schema[least].get<double>())
      wrong(path, fmt::format("expected at least {}{}, found {}", schema[least].dump(), of, number));
    if (schema.contains(most) && number > schema[most].get<double>())
      wrong(path, fmt::format("expected at most {}{}, found {}", schema[most].dump(), of, number));
  }

  void check_text(const json& schema, const std::string& text, const std::string& path) {
    check_bounds(schema, "minLength", "maxLength", static_cast<double>(text.size()), path, " characters");
    if (schema.contains("pattern") && !std::regex_search(text, std::regex(schema["pattern"].get<std::string>())))
      wrong(path, fmt::format("expected what {} matches, found \"{}\"", schema["pattern"].get<std::string>(), text));
    if (schema.contains("format") && !is_format(schema["format"].get<std::string>(), text))
      wrong(path, fmt::format("expected {}, found \"{}\"", schema["format"].get<std::string>(), text));
  }

  void check_list(const json& schema, const json& value, const std::string& path) {
    check_bounds(schema, "minItems", "maxItems", static_cast<double>(value.size()), path, " entries");
    if (!schema.contains("items")) return;
    for (std::size_t i = 0; i < value.size(); ++i) check(schema["items"], value[i], fmt::format("{}[{}]", path, i));
  }

  void check_object(const json& schema, const json& value, const std::string& path) {
    check_bounds(schema, "minProperties", "maxProperties", static_cast<double>(value.size()), path, " fields");
    for (const auto& name : schema.value("required", json::array()))
      if (!value.contains(name.get<std::string>())) wrong(path, fmt::format("{} is missing", name.dump()));
    const auto known = schema.value("properties", json::object());
    const auto others = schema.find("additionalProperties");
    // metadata has a schema of the API server's own.
    const bool open =
        schema.value("x-kubernetes-preserve-unknown-fields", false) || (known.empty() && others == schema.end());
    for (const auto& [name, item] : value.items()) {
      const auto place = path.empty() ? name : fmt::format("{}.{}", path, name);
      if (known.contains(name))
        check(known[name], item, place);
      else if (others != schema.end() && others->is_object())
        check(*others, item, place);
      else if (!open)
        wrong(place, "there is no such field");
    }
  }

  void check_junctors(const json& schema, const json& value, const std::string& path) {
    const auto fits = [&](const json& part) {
      Checker checker(root_);
      checker.check(part, value, {});
      return checker.problems.empty();
    };
    if (const auto any = schema.find("anyOf"); any != schema.end() && std::ranges::none_of(*any, fits))
      wrong(path, fmt::format("{} fits none of {}", value.dump(), any->dump()));
    if (const auto none = schema.find("not"); none != schema.end() && fits(*none))
      wrong(path, fmt::format("{} is not allowed", value.dump()));
  }

  const json& root_;
};

}  // namespace

std::vector<std::string> check_schema(const json& schema, const json& value) {
  Checker checker(schema);
  checker.check(schema, value, {});
  return std::move(checker.problems);
}

}  // namespace weft::chart
