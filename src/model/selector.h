// Kubernetes LabelSelector (meta/v1) as a value.
#pragma once

#include <string>
#include <vector>

#include "base/labels.h"

namespace weft::model {

struct LabelRequirement {
  enum class Operator { in, not_in, exists, does_not_exist };
  std::string key;
  Operator op = Operator::exists;
  std::vector<std::string> values;  // sorted; for in and not_in

  auto operator<=>(const LabelRequirement&) const = default;
};

// The empty selector matches everything. matchLabels are held as `in` requirements of one value.
// NotIn also matches objects that lack the key, as in Kubernetes.
struct LabelSelector {
  std::vector<LabelRequirement> requirements;

  [[nodiscard]] bool matches(const LabelMap& labels) const;
  [[nodiscard]] bool empty() const { return requirements.empty(); }
  [[nodiscard]] std::string to_string() const;  // "app=web,tier in (a,b),!canary"; "(all)" when empty

  auto operator<=>(const LabelSelector&) const = default;
};

}  // namespace weft::model
