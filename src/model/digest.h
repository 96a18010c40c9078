// What a policy asks for, as a short text: for those that nobody counts the generations of.
#pragma once

#include <string>

#include "model/objects.h"

namespace weft::model {

// 16 hex digits, the same on every node of one version of Weft for policies that ask for the same, however they are
// written and wherever they come from. Names, labels and annotations are not in it.
std::string digest_of(const NetworkPolicy& policy);

}  // namespace weft::model
