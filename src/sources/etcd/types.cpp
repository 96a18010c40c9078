#include "sources/etcd/types.h"

namespace weft::etcd {

Keys Keys::prefix(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  // etcd has no empty key: everything begins at the zero byte.
  if (end.empty()) return {prefix.empty() ? std::string(1, '\0') : std::string(prefix), std::string(1, '\0')};
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return {std::string(prefix), std::move(end)};
}

bool Keys::contains(std::string_view candidate) const {
  if (end.empty()) return candidate == key;
  // string_view compares bytes as unsigned, which is etcd's order.
  return candidate >= key && (end == std::string_view("\0", 1) || candidate < end);
}

std::string Keys::text() const {
  if (end.empty()) return printable(key);
  if (*this == prefix(key)) return printable(key) + "*";
  return printable(key) + ".." + printable(end);
}

}  // namespace weft::etcd
