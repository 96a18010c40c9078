// -f FILE, DIR or -: the texts to send to the agent.
#pragma once

#include <istream>
#include <string>
#include <vector>

#include "base/result.h"

namespace weft::cli {

struct DocumentText {
  std::string file;
  std::string text;
};

// A directory gives its *.yaml, *.yml and *.json, sorted by path, with `recursive` those below it
// too; "-" gives `in` as "(stdin)". A directory without such files is `not_found`.
Result<std::vector<DocumentText>> read_documents(const std::vector<std::string>& paths, bool recursive,
                                                 std::istream& in);

}  // namespace weft::cli
