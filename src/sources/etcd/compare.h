// How a comparison of a transaction (types.h) compares, for those who stand in for etcd.
#pragma once

#include "sources/etcd/types.h"

namespace weft::etcd {

template <class T>
bool compares(Compare::Is is, const T& left, const T& right) {
  switch (is) {
    case Compare::Is::equal:
      return left == right;
    case Compare::Is::greater:
      return left > right;
    case Compare::Is::less:
      return left < right;
    case Compare::Is::not_equal:
      break;
  }
  return left != right;
}

}  // namespace weft::etcd
