// What the files of `weft lab` share.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/layout.h"
#include "lab/lifecycle.h"
#include "lab/probe.h"

namespace CLI {
class App;
}

namespace weft::cli {

struct LabOptions {
  std::string name{lab::default_lab};
  bool named = false;  // by the command line
  std::vector<std::string> files;
  std::chrono::milliseconds timeout{60'000};
  std::string output = "table";
  bool all = false;
  std::string target;
  std::vector<std::string> command;
  lab::ProbeOptions probe;
  std::string family = "4";
  lab::SettingsRequest settings;
  std::vector<std::string> nodes;
  std::string from = "all";
  std::string value;
  bool new_address = false;
};
using Options = std::shared_ptr<LabOptions>;
Options fresh_options();

// What the commands are added to and where they leave their exit code.
struct LabParent {
  CLI::App& app;
  std::string& lab;  // of `weft --lab`
  int& exit_code;
};
CLI::App* add_lab_subcommand(const LabParent& parent, const char* name, const char* description, const char* example,
                             const Options& options, int (*run)(const LabOptions&));
void add_lab_output(CLI::App* command, const Options& options);
// --name of a group of commands, before the command's own.
void add_group_name(CLI::App& group, std::string& lab);

// Prints the error; the exit code for it: 3 where an agent, or the lab's supervisor, does not answer. With the name of
// a lab that is there: an agent that does not answer, or ends meanwhile, is not started by hand in it.
int report(const Error& error, const std::string& lab = {});
int usage(const Error& error);
void print_line(const std::string& line);
// Where lines about the work go: not between JSON.
lab::Progress progress_of(const LabOptions& options);

// `net` and its subcommands, `kill`, `crash`, `start`.
void add_net_commands(const LabParent& parent);

}  // namespace weft::cli
