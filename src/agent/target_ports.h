// Service ports that name a container port nobody has: most likely a typing error, and no endpoint comes of them.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "model/objects.h"

namespace weft::agent {

struct MissingTarget {
  std::size_t port = 0;  // index among the Service's
  std::string text;
};

// Of a Service whose endpoints are the pods its selector matches. Nothing while it matches none: their ports are
// not known then.
std::vector<MissingTarget> missing_targets(const model::Service& service,
                                           const std::map<model::ObjectKey, model::Pod>& pods);

}  // namespace weft::agent
