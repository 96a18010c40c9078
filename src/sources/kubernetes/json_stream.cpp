#include "sources/kubernetes/json_stream.h"

#include <fmt/format.h>

#include <utility>

namespace weft::kubernetes {
namespace {

// A list's own part: kind, version, metadata.
constexpr std::size_t most_rest_bytes = 1UL << 20;
constexpr std::size_t longest_key = 32;
// What a buffer may keep between objects.
constexpr std::size_t kept_bytes = 256UL << 10;

void forget(std::string& text) {
  if (text.capacity() > kept_bytes)
    std::string().swap(text);
  else
    text.clear();
}

// Changes where in an item we are.
bool turns(char c) { return c == '"' || c == '{' || c == '}' || c == '[' || c == ']'; }

bool space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

}  // namespace

Result<void> ItemSplitter::append(std::string_view bytes) {
  if (to_ == To::nowhere) return {};
  auto& target = to_ == To::item ? item_ : rest_;
  const std::size_t most = to_ == To::item ? most_object_bytes : most_rest_bytes;
  if (target.size() + bytes.size() > most)
    return fail(ErrorCode::exhausted, fmt::format("{} has more than {} bytes",
                                                  to_ == To::item ? "an object" : "the list without its items", most));
  target += bytes;
  return {};
}

void ItemSplitter::open(char c) {
  ++depth_;
  if (depth_ == 2 && c == '[' && key_ == "items") in_items_ = true;
}

void ItemSplitter::close(char /*c*/) {
  if (depth_ == 0) {
    bad_ = true;
    return;
  }
  --depth_;
  if (to_ == To::item && depth_ == 2) item_complete_ = true;
}

void ItemSplitter::outside_text(char c) {
  switch (c) {
    case '"':
      in_text_ = true;
      if (depth_ == 1) text_.clear();
      bad_ = bad_ || depth_ == 0;
      break;
    case '{':
    case '[':
      open(c);
      break;
    case '}':
    case ']':
      close(c);
      break;
    case ':':
      if (depth_ == 1) key_ = text_;
      break;
    case ',':
      if (depth_ == 1) key_.clear();
      break;
    default:
      // Before the list, after it: nothing.
      bad_ = bad_ || (depth_ == 0 && !space(c));
  }
}

Result<void> ItemSplitter::push(std::string_view bytes, const TakeObject& take) {
  std::size_t run = 0;  // from here on, bytes go to `to_` together
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    // Most bytes are within texts of items, where only a text's end matters.
    if (in_text_ && !escaped_ && to_ == To::item) {
      while (i < bytes.size() && bytes[i] != '"' && bytes[i] != '\\') ++i;
      if (i == bytes.size()) break;
    }
    const char c = bytes[i];
    if (in_text_) {
      if (escaped_)
        escaped_ = false;
      else if (c == '\\')
        escaped_ = true;
      else if (c == '"')
        in_text_ = false;
      if (in_text_ && depth_ == 1 && text_.size() < longest_key) text_ += c;
      continue;
    }
    if (to_ == To::nowhere) {
      // Between the items.
      if (c == '{') {
        to_ = To::item;
        run = i;
      } else if (c == ']') {
        in_items_ = false;
        to_ = To::rest;
        run = i;
      } else if (c != ',' && !space(c)) {
        return fail(ErrorCode::invalid, "the items of the list are not all objects");
      }
    }
    if (to_ == To::nowhere || (to_ == To::item && !turns(c))) continue;
    outside_text(c);
    if (bad_) return fail(ErrorCode::invalid, "this is no list in JSON");
    if (in_items_ && to_ == To::rest) {
      WEFT_CHECK(append(bytes.substr(run, i + 1 - run)));
      to_ = To::nowhere;
    } else if (std::exchange(item_complete_, false)) {
      WEFT_CHECK(append(bytes.substr(run, i + 1 - run)));
      const std::size_t size = item_.size();
      item_.append(json_padding, '\0');
      take(std::string_view(item_).substr(0, size));
      forget(item_);
      to_ = To::nowhere;
    }
  }
  return to_ == To::nowhere ? Result<void>() : append(bytes.substr(run));
}

Result<std::string_view> ItemSplitter::finish() {
  if (depth_ != 0 || in_text_ || rest_.find_first_of("{[") == std::string::npos)
    return fail(ErrorCode::invalid, "the list is cut off");
  const std::size_t size = rest_.size();
  rest_.append(json_padding, '\0');
  return std::string_view(rest_).substr(0, size);
}

Result<void> LineSplitter::push(std::string_view bytes, const TakeObject& take) {
  std::size_t searched = buffer_.size();
  buffer_ += bytes;
  const std::size_t size = buffer_.size();
  buffer_.append(json_padding, '\0');
  std::size_t begin = 0;
  for (;;) {
    const auto end = std::string_view(buffer_).substr(0, size).find('\n', searched);
    if (end == std::string_view::npos) break;
    const auto line = std::string_view(buffer_).substr(begin, end - begin);
    if (line.find_first_not_of(" \r\t") != std::string_view::npos) take(line);
    begin = searched = end + 1;
  }
  const bool too_long = size - begin > most_object_bytes;
  buffer_.resize(size);
  buffer_.erase(0, begin);
  if (buffer_.empty()) forget(buffer_);
  if (too_long) return fail(ErrorCode::exhausted, fmt::format("an event has more than {} bytes", most_object_bytes));
  return {};
}

}  // namespace weft::kubernetes
