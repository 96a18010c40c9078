#include "base/labels.h"

namespace weft {

std::string to_string(const LabelMap& labels) {
  std::string text;
  for (const auto& [key, value] : labels) {
    if (!text.empty()) text += ',';
    text += key;
    if (!value.empty()) text += '=' + value;
  }
  return text;
}

}  // namespace weft
