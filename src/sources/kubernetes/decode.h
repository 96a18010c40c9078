// What the API server says as values. Views of a decoded object are good until the next is decoded.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sources/kubernetes/failure.h"

namespace simdjson::dom {
class element;
}

namespace weft::kubernetes {

// metadata, as far as it is needed to follow an object.
struct ObjectMeta {
  std::string_view namespace_name;  // empty: it has none
  std::string_view name;
  std::string_view uid;
  std::string_view resource_version;
  // "namespace/name", or the name.
  [[nodiscard]] std::string key() const;
};

// One object for whoever decodes it further: as it was sent, and read already. Include <simdjson.h> to walk `root`.
struct Object {
  ObjectMeta meta;
  std::string_view json;
  const simdjson::dom::element& root;
};

struct ListEnd {
  std::string resource_version;
  std::string more;  // the continue token; empty: this was the last page
};

// https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
enum class EventType : std::uint8_t { added, modified, deleted, bookmark, error };
struct Event {
  EventType type = EventType::error;
  std::string_view object;  // a part of the line
};
// `line` is followed by json_padding readable bytes, and then `object` is.
Result<Event> split_event(std::string_view line);

// Not for two threads at once. Every `json` is followed by json_padding readable bytes (json_stream.h).
class Decoder {
 public:
  Decoder();
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // An error names the object, where it has a name.
  Result<Object> object(std::string_view json);
  // What is left of a list without its items.
  Result<ListEnd> list_end(std::string_view json);
  // metadata.resourceVersion of a bookmark, which has no name.
  Result<std::string> bookmark(std::string_view json);
  // The failure that a Status tells; `place` begins its message.
  Failure status(std::string_view json, std::string_view place);
  // The same of the body of an answer, which has no padding and may be no Status at all.
  Failure answer(int code, std::string_view body, std::string_view place);

 private:
  struct Parser;
  Result<void> read(std::string_view json);

  std::unique_ptr<Parser> parser_;
};

}  // namespace weft::kubernetes
