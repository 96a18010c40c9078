// Being there, as everybody in the cluster sees it: what a lease stands for.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "sources/etcd/types.h"

namespace weft::cluster {

// This node, or this operator, is alive.
struct Membership {
  std::uint64_t epoch = 0;  // counts how often it came (back)
  etcd::LeaseId lease = 0;
  etcd::Compare holds;  // true for as long as nobody has seen it away
};

// Who may have a role.
struct Candidate {
  std::function<std::optional<Membership>()> membership;  // as it is now
  std::string value;                                      // what the role's key says: an Incarnation
};

}  // namespace weft::cluster
