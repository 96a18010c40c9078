// How values.h and its like are written and read: for the sources of this room that define a kind of value.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "base/json_depth.h"
#include "base/labels.h"
#include "base/result.h"
#include "sources/etcd/failure.h"

namespace weft::cluster {

using nlohmann::json;

constexpr int value_version = 1;

inline json object() { return {{"version", value_version}}; }

inline json texts(const std::vector<IpAddress>& addresses) {
  auto list = json::array();
  for (const auto& address : addresses) list.push_back(address.to_string());
  return list;
}

inline constexpr std::size_t deepest_value = 16;  // ours have five

// Text that came from elsewhere may not be UTF-8; what we write must be.
inline std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

// An object as it is read: each field has been asked for by its name and type, the first wrong one is told.
class Reader {
 public:
  Reader(std::string_view key, std::string_view text) : key_(key) {
    if (nests_deeper(text, deepest_value)) {
      wrong("it nests too deeply");
      return;
    }
    whole_ = json::parse(text, nullptr, false);
    if (whole_.is_object())
      check_version();
    else
      wrong("not a JSON object");
  }

  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() = default;

  std::string text(const char* field) {
    const json* found = at(field);
    if (found == nullptr) return {};
    if (found->is_string()) return found->get<std::string>();
    wrong(fmt::format("\"{}\" is no text", field));
    return {};
  }
  std::uint64_t number(const char* field, std::uint64_t least, std::uint64_t most) {
    const json* found = at(field);
    return found == nullptr ? 0 : number_of(field, *found, least, most);
  }
  // Absent: `value`.
  bool flag(const char* field, bool value) {
    if (!has(field)) return value;
    const json& found = *at(field);
    if (!found.is_boolean()) wrong(fmt::format("\"{}\" is neither true nor false", field));
    return found.is_boolean() && found.get<bool>();
  }
  LabelMap labels(const char* field) {
    LabelMap all;
    const json* found = at(field);
    if (found == nullptr) return all;
    if (!found->is_object()) {
      wrong(fmt::format("\"{}\" is no object", field));
      return all;
    }
    for (const auto& [name, value] : found->items()) {
      if (!value.is_string()) {
        wrong(fmt::format("label {} is no text", etcd::printable(name)));
        break;
      }
      all.emplace(name, value.get<std::string>());
    }
    return all;
  }
  std::vector<IpAddress> addresses(const char* field) {
    std::vector<IpAddress> all;
    each(field, [&](const json& element) {
      const auto address = element.is_string() ? IpAddress::parse(element.get_ref<const std::string&>())
                                               : fail(ErrorCode::invalid, "no text");
      if (!address) return wrong(fmt::format("\"{}\": {} is no address", field, shortened(element)));
      all.push_back(*address);
    });
    return all;
  }
  // Each element of a list.
  template <class Read>
  void each(const char* field, Read read) {
    const json* found = at(field);
    if (found == nullptr) return;
    if (!found->is_array()) return wrong(fmt::format("\"{}\" is no list", field));
    for (const auto& element : *found)
      if (good()) read(element);
  }
  // Each of which is an object, as a reader of its own.
  template <class Read>
  void each_object(const char* field, Read read) {
    each(field, [&](const json& element) {
      if (!element.is_object()) return wrong(fmt::format("\"{}\": {} is not a JSON object", field, shortened(element)));
      Reader part(key_, &element);
      read(part);
      if (!part.good()) error_ = std::move(part.error_);
    });
  }
  [[nodiscard]] bool has(const char* field) const { return good() && value_->contains(field); }
  std::uint64_t number_of(const char* field, const json& element, std::uint64_t least, std::uint64_t most) {
    const auto value = element.is_number_unsigned() ? std::optional(element.get<std::uint64_t>()) : std::nullopt;
    if (value && *value >= least && *value <= most) return *value;
    wrong(fmt::format("\"{}\": {} is not a number from {} to {}", field, shortened(element), least, most));
    return 0;
  }
  const json* at(const char* field) {
    if (!good()) return nullptr;
    const auto found = value_->find(field);
    if (found != value_->end()) return &*found;
    wrong(fmt::format("\"{}\" is missing", field));
    return nullptr;
  }
  void wrong(const std::string& why) {
    if (good())
      error_ = Error{ErrorCode::invalid, fmt::format("value of key {}: {}", etcd::printable(key_), why),
                     "delete the key if nobody needs it, or find out who wrote it"};
  }
  static std::string shortened(const json& element) { return etcd::printable(dump(element)); }
  [[nodiscard]] bool good() const { return !error_; }
  template <class T>
  Result<T> result(T value) {
    if (error_) return fail(std::move(*error_));
    return value;
  }

 private:
  void check_version() {
    const auto found = value_->find("version");
    if (found == value_->end() || !found->is_number_unsigned()) return wrong("\"version\" is no number");
    if (const auto theirs = found->get<std::uint64_t>(); theirs != value_version)
      wrong(fmt::format("version {} is not known; this program reads {}", theirs, value_version));
  }

  Reader(std::string_view key, const json* part) : key_(key), value_(part) {}

  std::string_view key_;
  json whole_;
  const json* value_ = &whole_;
  std::optional<Error> error_;
};

}  // namespace weft::cluster
