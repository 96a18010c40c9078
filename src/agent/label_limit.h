// How many labels a pod may have.
#pragma once

#include "base/result.h"
#include "model/objects.h"
#include "model/parse.h"

namespace weft::agent {

// Of a Pod or a Deployment: whether its pods could be told to a cluster. The error begins with the field.
Result<void> check_labels(const model::Object& object);

}  // namespace weft::agent
