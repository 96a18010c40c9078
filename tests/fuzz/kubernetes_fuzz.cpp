// What an API server sends: lists cut into items, watches into lines, and what is decoded of them. In pieces of any
// length the same comes out; what JSON is, is taken apart as JSON's own parser would.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sources/kubernetes/decode.h"
#include "sources/kubernetes/json_stream.h"

namespace {

namespace kubernetes = weft::kubernetes;
using Texts = std::vector<std::string>;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

struct Split {
  bool good = false;
  Texts items;
  std::string rest;
};

template <class Splitter>
Split split(std::string_view bytes, std::size_t step) {
  Split result;
  Splitter splitter;
  weft::Result<void> pushed;
  for (std::size_t at = 0; at < bytes.size() && pushed; at += step)
    pushed = splitter.push(bytes.substr(at, step), [&](std::string_view json) { result.items.emplace_back(json); });
  result.good = pushed.has_value();
  if constexpr (requires { splitter.finish(); }) {
    const auto rest = result.good ? splitter.finish() : weft::Result<std::string_view>(std::string_view());
    if (rest && result.good)
      result.rest = *rest;
    else
      result.good = false;
  }
  return result;
}

// With readable bytes behind it, and no more than that.
std::string_view padded(std::string& text) {
  const std::size_t size = text.size();
  text.append(kubernetes::json_padding, '\0');
  return std::string_view(text).substr(0, size);
}

void object(kubernetes::Decoder& decoder, std::string_view json) {
  const auto object = decoder.object(json);
  const auto plain = nlohmann::json::parse(json, nullptr, false);
  if (!object) return;
  require(!object->meta.name.empty() && !object->meta.resource_version.empty(), "an object has a name and a version");
  // What nests deeper than simdjson goes is for neither.
  require(plain.is_object(), "what is decoded is JSON");
}

void list(std::string_view bytes, std::size_t step) {
  const auto whole = split<kubernetes::ItemSplitter>(bytes, bytes.size() + 1);
  const auto pieces = split<kubernetes::ItemSplitter>(bytes, step);
  require(whole.good == pieces.good, "a list is one in pieces, too");
  if (!whole.good) return;
  require(whole.items == pieces.items && whole.rest == pieces.rest, "in pieces the same comes out");
  kubernetes::Decoder decoder;
  for (auto item : whole.items) object(decoder, padded(item));
  auto rest = whole.rest;
  static_cast<void>(decoder.list_end(padded(rest)).has_value());
}

void watch(std::string_view bytes, std::size_t step) {
  const auto whole = split<kubernetes::LineSplitter>(bytes, bytes.size() + 1);
  const auto pieces = split<kubernetes::LineSplitter>(bytes, step);
  require(whole.items == pieces.items, "in pieces the same comes out");
  kubernetes::Decoder decoder;
  for (auto line : whole.items) {
    const auto text = padded(line);
    const auto event = kubernetes::split_event(text);
    const auto plain = nlohmann::json::parse(text, nullptr, false);
    if (!event) continue;
    require(
        event->object.data() >= text.data() && event->object.data() + event->object.size() <= text.data() + text.size(),
        "an object is a part of its line");
    object(decoder, event->object);
    static_cast<void>(decoder.bookmark(event->object).has_value());
    const auto failure = decoder.status(event->object, "here");
    require(failure.message.find('\n') == std::string::npos, "a message is one line");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::size_t step = data[1] == 0 ? 1 : data[1];
  switch (data[0] % 3) {
    case 0:
      list(bytes, step);
      break;
    case 1:
      watch(bytes, step);
      break;
    default: {
      kubernetes::Decoder decoder;
      const auto failure = decoder.answer(400 + data[1], bytes, "here");
      require(failure.message.starts_with("here: "), "a failure says where");
    }
  }
  return 0;
}
