// `weft lab`: a node and its pods on one machine, from manifests (docs/lab.md).
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace weft::cli {

// Adds `lab` with its subcommands to `app`. A subcommand runs in its CLI11 callback, prints its own
// errors and leaves its exit code in `exit_code`. `lab` is what `weft --lab` was given: the default of
// --name, which given to a group of commands sets it. Both must live until parsing is done.
void add_lab_command(CLI::App& app, std::string& lab, int& exit_code);

// A check of CLI11: what is wrong with `text` as a lab's name, or nothing.
std::string lab_name_problem(const std::string& text);

}  // namespace weft::cli
