// How deep a JSON text nests, known before it is parsed: what walks the values it makes is recursive.
#pragma once

#include <cstddef>
#include <string_view>

namespace weft {

// Brackets outside texts; whether the rest is JSON is not asked.
inline bool nests_deeper(std::string_view json, std::size_t most) {
  std::size_t depth = 0;
  bool in_text = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_text) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_text = false;
    } else if (c == '"') {
      in_text = true;
    } else if (c == '[' || c == '{') {
      if (++depth > most) return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

}  // namespace weft
