// Configuration files: YAML, one mapping of keys to values, every key known. A program has a table of its keys, each
// with what takes its value; errors say "<file>:<line>:<column>: <key>: ...".
//
// A table's entry takes the structure it sets a field of, or one that is derived from it.
#pragma once

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace weft::config {

template <class Config>
using Setter = std::function<Result<void>(Config& config, const YAML::Node& value)>;
template <class Config>
using Keys = std::map<std::string, Setter<Config>>;

template <class T>
Result<T> scalar(const YAML::Node& node, const char* expected) {
  if (!node.IsScalar()) return fail(ErrorCode::invalid, fmt::format("expected {}", expected));
  T value{};
  if (!YAML::convert<T>::decode(node, value))
    return fail(ErrorCode::invalid, fmt::format("expected {}, found \"{}\"", expected, node.Scalar()));
  return value;
}

Result<std::vector<std::string>> read_texts(const YAML::Node& node);

template <class C>
auto text(std::string C::*field) {
  return [field](C& config, const YAML::Node& node) -> Result<void> {
    WEFT_TRY(config.*field, scalar<std::string>(node, "text"));
    return {};
  };
}

template <class C>
auto texts(std::vector<std::string> C::*field) {
  return [field](C& config, const YAML::Node& node) -> Result<void> {
    WEFT_TRY(config.*field, read_texts(node));
    return {};
  };
}

template <class C>
auto flag(bool C::*field) {
  return [field](C& config, const YAML::Node& node) -> Result<void> {
    WEFT_TRY(config.*field, scalar<bool>(node, "true or false"));
    return {};
  };
}

template <class C, class T>
auto number(T C::*field, std::uint32_t minimum, std::uint32_t maximum) {
  return [field, minimum, maximum](C& config, const YAML::Node& node) -> Result<void> {
    const auto expected = fmt::format("a number from {} to {}", minimum, maximum);
    WEFT_TRY(const auto value, scalar<std::int64_t>(node, expected.c_str()));
    if (value < minimum || value > maximum)
      return fail(ErrorCode::invalid, fmt::format("expected {}, found {}", expected, value));
    config.*field = static_cast<T>(value);
    return {};
  };
}

template <class C, class T>
auto word(T C::*field, Result<T> (*parse)(std::string_view)) {
  return [field, parse](C& config, const YAML::Node& node) -> Result<void> {
    WEFT_TRY(const auto value, scalar<std::string>(node, "text"));
    WEFT_TRY(config.*field, parse(value));
    return {};
  };
}

template <class C>
auto cidrs(std::vector<Cidr> C::*field, bool one_of_each_family) {
  return [field, one_of_each_family](C& config, const YAML::Node& node) -> Result<void> {
    WEFT_TRY(const auto values, read_texts(node));
    std::map<Family, int> seen;
    (config.*field).clear();
    for (const auto& value : values) {
      WEFT_TRY(const auto cidr, Cidr::parse(value));
      if (one_of_each_family && ++seen[cidr.family()] > 1)
        return fail(ErrorCode::invalid, fmt::format("{} is the second of its family, one is allowed", value));
      (config.*field).push_back(cidr);
    }
    return {};
  };
}

// One of spdlog's levels.
Result<std::string> parse_log_level(std::string_view text);

// The file's one mapping; nothing when it is empty. `example` is a file that shows every key.
Result<YAML::Node> read_document(const std::string& file, std::string_view text, std::string_view example);
std::string place(const std::string& file, const YAML::Mark& mark);  // "<file>:<line>:<column>"

// Sets what the document says; tells which keys it has.
template <class Config>
Result<std::set<std::string>> read_keys(Config& config, const std::string& file, const YAML::Node& document,
                                        const Keys<Config>& keys) {
  std::set<std::string> seen;
  if (!document.IsMap()) return seen;
  for (const auto& entry : document) {
    const auto& key = entry.first;
    const auto name = key.IsScalar() ? key.Scalar() : "(not a name)";
    const auto found = keys.find(name);
    if (found == keys.end()) {
      std::string known;
      for (const auto& [word, set] : keys) known += (known.empty() ? "" : ", ") + word;
      return fail(ErrorCode::invalid, fmt::format("{}: unknown key \"{}\"", place(file, key.Mark()), name),
                  "the keys are " + known);
    }
    if (!seen.insert(name).second)
      return fail(ErrorCode::invalid, fmt::format("{}: {} is given twice", place(file, key.Mark()), name));
    if (auto set = found->second(config, entry.second); !set)
      return fail(set.error().in(name).in(place(file, entry.second.Mark())));
  }
  return seen;
}

}  // namespace weft::config
