// Documents that only the whole node, or cluster, can refuse: as problems, with their place in the file.
#pragma once

#include <vector>

#include "agent/publisher.h"
#include "model/parse.h"

namespace weft::agent {

// Refused documents leave `documents`; what is wrong with each, in order.
std::vector<model::Problem> take_refused(std::vector<model::Document>& documents,
                                         const std::vector<Publisher::Refusal>& refusals);

}  // namespace weft::agent
