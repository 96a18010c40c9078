// Shell completion: small scripts that ask `weft __complete` for candidates, which walks the very
// tree of commands that parses, so it cannot miss one.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cli/session.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace weft::cli {

// Options whose values are known beforehand.
using Completions = std::map<const CLI::Option*, std::vector<std::string>>;

// For "bash", "zsh" or "fish".
std::string_view completion_script(std::string_view shell);

// `words` are those after "weft", the last one incomplete. Prints a candidate a line,
// "word<TAB>description"; the line ":files" stands for names of files. Names of pods, namespaces,
// services and labs come from the agent if it answers at once; errors print nothing.
int print_completions(const Session& session, const CLI::App& root, const Completions& completions,
                      const std::vector<std::string>& words);

}  // namespace weft::cli
