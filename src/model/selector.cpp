#include "model/selector.h"

#include <algorithm>

namespace weft::model {
namespace {

bool satisfied(const LabelRequirement& requirement, const LabelMap& labels) {
  const auto found = labels.find(requirement.key);
  const bool present = found != labels.end();
  switch (requirement.op) {
    case LabelRequirement::Operator::exists:
      return present;
    case LabelRequirement::Operator::does_not_exist:
      return !present;
    case LabelRequirement::Operator::in:
      return present && std::ranges::binary_search(requirement.values, found->second);
    case LabelRequirement::Operator::not_in:
      return !present || !std::ranges::binary_search(requirement.values, found->second);
  }
  return false;
}

std::string joined(const std::vector<std::string>& values) {
  std::string text;
  for (const auto& value : values) {
    if (!text.empty()) text += ',';
    text += value;
  }
  return text;
}

std::string text_of(const LabelRequirement& requirement) {
  switch (requirement.op) {
    case LabelRequirement::Operator::exists:
      return requirement.key;
    case LabelRequirement::Operator::does_not_exist:
      return "!" + requirement.key;
    case LabelRequirement::Operator::in:
      if (requirement.values.size() == 1) return requirement.key + "=" + requirement.values.front();
      return requirement.key + " in (" + joined(requirement.values) + ")";
    case LabelRequirement::Operator::not_in:
      if (requirement.values.size() == 1) return requirement.key + "!=" + requirement.values.front();
      return requirement.key + " notin (" + joined(requirement.values) + ")";
  }
  return requirement.key;
}

}  // namespace

bool LabelSelector::matches(const LabelMap& labels) const {
  return std::ranges::all_of(requirements, [&](const auto& requirement) { return satisfied(requirement, labels); });
}

std::string LabelSelector::to_string() const {
  if (requirements.empty()) return "(all)";
  std::string text;
  for (const auto& requirement : requirements) {
    if (!text.empty()) text += ',';
    text += text_of(requirement);
  }
  return text;
}

}  // namespace weft::model
