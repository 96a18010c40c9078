// The command line: reads arguments, runs one command.
#pragma once

#include <string>
#include <vector>

#include "cli/session.h"

namespace weft::cli {

// `arguments` without the program's name. Returns the exit code.
int run(const std::vector<std::string>& arguments, const Streams& streams);

}  // namespace weft::cli
