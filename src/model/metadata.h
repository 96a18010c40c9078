// What every object has: its name, labels, and where it was written.
#pragma once

#include <cstdint>
#include <string>

#include "base/labels.h"

namespace weft::model {

// Where an object was written; line is 1-based, 0 when unknown.
struct SourceLocation {
  std::string file;
  int line = 0;
  auto operator<=>(const SourceLocation&) const = default;
};

struct ObjectKey {
  std::string namespace_;  // empty for kinds without one
  std::string name;
  [[nodiscard]] std::string to_string() const { return namespace_.empty() ? name : namespace_ + "/" + name; }
  auto operator<=>(const ObjectKey&) const = default;
};

struct Metadata {
  std::string namespace_;  // "default" when absent; empty for kinds without one
  std::string name;
  LabelMap labels;
  LabelMap annotations;
  std::string uid;
  SourceLocation location;
  // Counts the changes of what a NetworkPolicy of an API server asks for; 0: nobody counts them.
  std::uint64_t generation = 0;
  [[nodiscard]] ObjectKey key() const { return {namespace_, name}; }
  bool operator==(const Metadata&) const = default;
};

}  // namespace weft::model
