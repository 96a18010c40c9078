// Cuts what the API server sends into objects while it comes: the items of a list, the lines of a watch. What is handed
// over is one object at a time, so a list of any length costs the memory of its largest object. Nothing of JSON is
// checked beyond what is needed to find the ends: who decodes an object does that.
//
// Every text handed over is followed by `json_padding` readable bytes, and is gone after the call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace weft::kubernetes {

// What the decoder reads past the end (SIMDJSON_PADDING).
constexpr std::size_t json_padding = 64;
// etcd refuses requests above 1.5 MiB, so no object is larger there; in JSON it may be some times as long.
constexpr std::size_t most_object_bytes = 16UL << 20;

using TakeObject = std::function<void(std::string_view json)>;

// {"kind": "PodList", "metadata": {...}, "items": [{...}, {...}]}
class ItemSplitter {
 public:
  // Hands over the items that are complete with these bytes.
  Result<void> push(std::string_view bytes, const TakeObject& take);
  // After the last byte: the list without its items.
  Result<std::string_view> finish();

 private:
  enum class To : std::uint8_t { rest, item, nowhere };

  void outside_text(char c);
  void open(char c);
  void close(char c);
  void text_ends();
  Result<void> append(std::string_view bytes);

  To to_ = To::rest;
  std::size_t depth_ = 0;
  bool in_text_ = false;
  bool escaped_ = false;
  bool in_items_ = false;
  bool item_complete_ = false;
  bool bad_ = false;
  std::string text_;  // the last one at depth 1, which may be a key
  std::string key_;   // whose value stands there
  std::string item_;
  std::string rest_;
};

// {...}\n{...}\n
class LineSplitter {
 public:
  Result<void> push(std::string_view bytes, const TakeObject& take);
  // A line that has begun and not ended.
  [[nodiscard]] bool within_line() const { return !buffer_.empty(); }

 private:
  std::string buffer_;
};

}  // namespace weft::kubernetes
