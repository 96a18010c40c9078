// Who gets room in a table that is too small for all.
#pragma once

#include <cstddef>
#include <map>
#include <set>

#include "model/objects.h"

namespace weft::control::policy_internal {

// The objects whose claims have no room. Namespaces share it evenly, what one of them leaves is for the others; in each
// the smaller claims come first, of equals those that come first by name. So nobody takes another's room.
std::set<model::ObjectKey> without_room(const std::map<model::ObjectKey, std::size_t>& claims, std::size_t room);

}  // namespace weft::control::policy_internal
