#include "sources/kubernetes/decode.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cctype>
#include <optional>

#include "sources/kubernetes/json_stream.h"

namespace weft::kubernetes {
namespace {

namespace dom = simdjson::dom;
static_assert(json_padding >= simdjson::SIMDJSON_PADDING);

// What the parser keeps for the next object grows with the largest: not for good.
constexpr std::size_t kept_capacity = 128UL << 10;

std::string_view text(const dom::element& root, std::string_view key) {
  std::string_view value;
  if (root[key].get(value) != simdjson::SUCCESS) return {};
  return value;
}

std::string_view text(const dom::element& root, std::string_view outer, std::string_view key) {
  dom::element inner;
  if (root[outer].get(inner) != simdjson::SUCCESS) return {};
  return text(inner, key);
}

// For messages: what is foreign, on one line and not too long.
std::string shown(std::string_view foreign) {
  std::string line(foreign.substr(0, 300));
  std::ranges::replace_if(
      line, [](unsigned char c) { return std::iscntrl(c) != 0; }, ' ');
  return line;
}

// A text in quotes from `at` on, without them; nothing where it does not end. `at` is behind it then.
std::optional<std::string_view> quoted(std::string_view json, std::size_t& at) {
  const std::size_t begin = ++at;
  for (; at < json.size(); ++at) {
    if (json[at] == '\\') {
      ++at;
    } else if (json[at] == '"') {
      return json.substr(begin, at++ - begin);
    }
  }
  return std::nullopt;
}

// The end of the value at `at`, an object or array.
std::optional<std::size_t> end_of(std::string_view json, std::size_t at) {
  std::size_t depth = 0;
  while (at < json.size()) {
    const char c = json[at];
    if (c == '"') {
      if (!quoted(json, at)) return std::nullopt;
      continue;
    }
    ++at;
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) return at;
  }
  return std::nullopt;
}

std::optional<EventType> event_type(std::string_view word) {
  if (word == "ADDED") return EventType::added;
  if (word == "MODIFIED") return EventType::modified;
  if (word == "DELETED") return EventType::deleted;
  if (word == "BOOKMARK") return EventType::bookmark;
  if (word == "ERROR") return EventType::error;
  return std::nullopt;
}

std::unexpected<Error> no_event(std::string_view line) {
  return fail(ErrorCode::invalid, fmt::format("this is no event of a watch: {}", shown(line.substr(0, 80))));
}

}  // namespace

std::string ObjectMeta::key() const {
  if (namespace_name.empty()) return std::string(name);
  std::string key;
  key.reserve(namespace_name.size() + 1 + name.size());
  key += namespace_name;
  key += '/';
  key += name;
  return key;
}

// {"type":"ADDED","object":{...}}: the object is found without reading the line as a whole, and decoded alone.
Result<Event> split_event(std::string_view line) {
  std::optional<EventType> type;
  std::string_view object;
  std::string_view key;
  std::size_t at = line.find_first_not_of(" \t\r");
  if (at == std::string_view::npos || line[at] != '{') return no_event(line);
  for (++at; at < line.size() && line[at] != '}';) {
    const char c = line[at];
    if (c == '"') {
      const auto word = quoted(line, at);
      if (!word) return no_event(line);
      if (key == "type") {
        type = event_type(*word);
        if (!type) return no_event(line);
        key = {};
      } else if (key.empty()) {
        key = *word;
      } else {
        key = {};
      }
    } else if (c == '{' || c == '[') {
      const auto end = end_of(line, at);
      if (!end) return no_event(line);
      if (key == "object") object = line.substr(at, *end - at);
      key = {};
      at = *end;
    } else {
      if (c == ',') key = {};
      ++at;
    }
  }
  if (at == line.size() || !type || object.empty()) return no_event(line);
  return Event{.type = *type, .object = object};
}

struct Decoder::Parser {
  dom::parser parser;
  dom::element root;
};

Decoder::Decoder() : parser_(std::make_unique<Parser>()) {}
Decoder::~Decoder() = default;

Result<void> Decoder::read(std::string_view json) {
  if (parser_->parser.capacity() > kept_capacity && json.size() < kept_capacity / 2)
    parser_ = std::make_unique<Parser>();
  const auto error = parser_->parser.parse(json.data(), json.size(), false).get(parser_->root);
  if (error == simdjson::SUCCESS) return {};
  return fail(ErrorCode::invalid, fmt::format("this is not JSON: {}", simdjson::error_message(error)));
}

Result<Object> Decoder::object(std::string_view json) {
  WEFT_CHECK(read(json));
  const auto& root = parser_->root;
  dom::element metadata;
  if (root["metadata"].get(metadata) != simdjson::SUCCESS)
    return fail(ErrorCode::invalid, "the object has no metadata");
  const ObjectMeta meta{.namespace_name = text(metadata, "namespace"),
                        .name = text(metadata, "name"),
                        .uid = text(metadata, "uid"),
                        .resource_version = text(metadata, "resourceVersion")};
  if (meta.name.empty()) return fail(ErrorCode::invalid, "the object has no metadata.name");
  if (meta.resource_version.empty())
    return fail(ErrorCode::invalid, fmt::format("{}: there is no metadata.resourceVersion", shown(meta.key())));
  return Object{.meta = meta, .json = json, .root = root};
}

Result<ListEnd> Decoder::list_end(std::string_view json) {
  WEFT_CHECK(read(json));
  ListEnd end{.resource_version = std::string(text(parser_->root, "metadata", "resourceVersion")),
              .more = std::string(text(parser_->root, "metadata", "continue"))};
  if (end.resource_version.empty()) return fail(ErrorCode::invalid, "the list has no metadata.resourceVersion");
  dom::element items;
  if (parser_->root["items"].get(items) != simdjson::SUCCESS) return fail(ErrorCode::invalid, "the list has no items");
  return end;
}

Result<std::string> Decoder::bookmark(std::string_view json) {
  WEFT_CHECK(read(json));
  std::string version(text(parser_->root, "metadata", "resourceVersion"));
  if (version.empty()) return fail(ErrorCode::invalid, "a bookmark has no metadata.resourceVersion");
  return version;
}

Failure Decoder::status(std::string_view json, std::string_view place) {
  if (const auto read_it = read(json); !read_it)
    return {.reason = Reason::internal, .message = fmt::format("{}: {}", place, read_it.error().message)};
  const auto& root = parser_->root;
  std::int64_t code = 0;
  if (root["code"].get(code) != simdjson::SUCCESS) code = 0;
  std::string words(text(root, "reason"));
  dom::array causes;
  if (root["details"]["causes"].get(causes) == simdjson::SUCCESS)
    for (const dom::element cause : causes) words += fmt::format(" {}", text(cause, "reason"));
  const int number = static_cast<int>(std::clamp<std::int64_t>(code, 0, 999));
  Failure failure{.reason = reason_of(number, words),
                  .message = fmt::format("{}: {} {}: {}", place, number, shown(words), shown(text(root, "message"))),
                  .status = number};
  std::int64_t seconds = 0;
  if (root["details"]["retryAfterSeconds"].get(seconds) == simdjson::SUCCESS && seconds > 0)
    failure.retry_after = std::chrono::seconds(std::min<std::int64_t>(seconds, 120));
  return failure;
}

Failure Decoder::answer(int code, std::string_view body, std::string_view place) {
  std::string padded(body);
  padded.append(json_padding, '\0');
  const auto begin = body.find_first_not_of(" \t\r\n");
  if (begin != std::string_view::npos && body[begin] == '{') {
    auto failure = status(std::string_view(padded).substr(0, body.size()), place);
    // What HTTP says counts: a proxy in between does not write Statuses.
    if (failure.status == code) return failure;
  }
  return {
      .reason = reason_of(code, {}), .message = fmt::format("{}: {}: {}", place, code, shown(body)), .status = code};
}

}  // namespace weft::kubernetes
