#include "base/labels.h"

#include <fmt/format.h>

namespace weft {

std::vector<std::string> to_texts(const LabelMap& labels) {
  std::vector<std::string> texts;
  texts.reserve(labels.size());
  for (const auto& [key, value] : labels) texts.push_back(value.empty() ? key : fmt::format("{}={}", key, value));
  return texts;
}

std::string to_string(const LabelMap& labels) { return fmt::format("{}", fmt::join(to_texts(labels), ",")); }

}  // namespace weft
