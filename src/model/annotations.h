// Annotations of Weft's own group, "weft.io/<name>": read like the fields of a mapping, but every value is text.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/objects.h"
#include "model/reader.h"

namespace weft::model {

// How what is said of one that nobody knows begins.
inline constexpr std::string_view unknown_annotation = "unknown annotation";

// One annotation. Each reader reports a problem and returns nothing when the text is not of that kind.
struct Annotation {
  std::string_view name;  // without the group
  Value value;
  std::string text;

  [[nodiscard]] std::optional<std::string> word(const std::vector<std::string_view>& words) const;
  [[nodiscard]] std::optional<std::uint32_t> number(std::uint32_t least, std::uint32_t most) const;
  // "500ms", "2s", "1m30s".
  [[nodiscard]] std::optional<std::chrono::milliseconds> duration(std::chrono::milliseconds least,
                                                                  std::chrono::milliseconds most) const;
  // The parts between commas, without the spaces around them; an empty part is a problem.
  [[nodiscard]] std::vector<std::string> parts(std::string_view what) const;
  // "expected <what>, found "<the text>"".
  void expected(std::string_view what) const;
};

class Annotations {
 public:
  // `object` holds metadata: an object or a pod template. What is wrong with the metadata as such is
  // said by decode_metadata.
  explicit Annotations(const Value& object);

  // The annotation weft.io/<name>; `name` is a literal.
  [[nodiscard]] std::optional<Annotation> take(std::string_view name);
  // Every annotation of the group that was not taken is a problem: a misspelt one would do nothing.
  void finish(std::string_view owner) const;

 private:
  std::vector<std::pair<std::string, Value>> given_;  // names without the group
  std::vector<std::string_view> taken_;
};

// weft.io/weight of an EndpointSlice, which takes no other; 1 when absent.
std::uint32_t decode_weight(const Value& object, std::string_view owner);
// Those of a Pod or a pod template (`owner`): weight, address-pool, addresses.
struct PodAnnotations {
  std::uint32_t weight = 1;
  AddressWish addresses;
};
PodAnnotations decode_pod_annotations(const Value& object, std::string_view owner);
// weft.io/address-pool of a Namespace, which takes no other; empty when absent.
std::string decode_namespace_pool(const Value& object);
// For objects that take no annotation of Weft's.
void refuse_annotations(const Value& object, std::string_view owner);

// The milliseconds of "500ms", "2s", "1m30s", "1h"; nothing for anything else.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

}  // namespace weft::model
