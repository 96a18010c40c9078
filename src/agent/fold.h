// Of things of many namespaces, those to name: a few of each, so that one namespace's do not keep another's from being
// seen. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace weft::agent {

struct Folded {
  std::vector<std::size_t> named;  // places, in order
  // What is left: "12 more in namespace shop", "7 more in 3 other namespaces".
  std::vector<std::string> rest;
};

// By the namespace of each; empty: it has none. At most `each` of one are named (one more
// where it is the last), and `most` in all.
Folded fold(const std::vector<std::string_view>& namespaces, std::size_t each = 3, std::size_t most = 12);

}  // namespace weft::agent
