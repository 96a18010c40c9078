// How large the tables of Services are made: as asked for, but never too small for what they hold already.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bpfrt/map.h"
#include "datapath/datapath.h"

namespace weft::datapath {

// Where a table that is there (`pinned`; null: none) is larger than `options` say and its rows would not fit the
// smaller one with an eighth to spare, `options` are changed to its size. A sentence for each size that was kept.
std::vector<std::string> keep_sizes(Options& options,
                                    const std::function<bpfrt::RawMap*(const std::string& name)>& pinned);

}  // namespace weft::datapath
