// `weft lab`: a node and its pods on one machine, from manifests (docs/lab.md).
#pragma once

namespace CLI {
class App;
}

namespace weft::cli {

// Adds `lab` with its subcommands to `app`. A subcommand runs in its CLI11 callback, prints its own
// errors and leaves its exit code in `exit_code`, which must live until parsing is done.
void add_lab_command(CLI::App& app, int& exit_code);

}  // namespace weft::cli
