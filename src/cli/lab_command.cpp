#include "cli/lab_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/session.h"
#include "lab/inspect.h"
#include "lab/lifecycle.h"
#include "lab/machine.h"
#include "lab/probe.h"
#include "lab/supervisor.h"

namespace weft::cli {
namespace {

struct LabOptions {
  std::string name{lab::default_lab};
  std::vector<std::string> files;
  std::chrono::milliseconds timeout{60'000};
  std::string output = "table";
  bool all = false;
  std::string target;
  std::vector<std::string> command;
  lab::ProbeOptions probe;
  std::string family = "4";
};

using Options = std::shared_ptr<LabOptions>;

// With the name of a lab that is there: an agent that does not answer, or ends meanwhile, is not started by hand in it.
int report(const Error& error, const std::string& lab = {}) {
  const auto says = [&](const char* what) { return error.message.find(what) != std::string::npos; };
  const bool away = error.code == ErrorCode::unavailable && (says("does not answer") || says("closed the connection"));
  const auto hint = away && !lab.empty() ? "bring it back with: weft lab up --name " + lab : error.hint;
  fmt::print(stderr, "weft: {}\n", error.message);
  if (!hint.empty()) fmt::print(stderr, "  {}\n", hint);
  return error.code == ErrorCode::unavailable ? exit_unavailable : exit_failed;
}

void progress(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

lab::UpOptions up_options(const LabOptions& options) { return {options.name, options.files, options.timeout}; }

int up(const LabOptions& options) {
  const auto machine = lab::this_machine();
  if (const auto done = lab::up(machine, up_options(options), progress); !done) return report(done.error());
  const auto name = options.name == lab::default_lab ? std::string() : " --name " + options.name;
  const auto layout = machine.layout(options.name);
  fmt::print("lab {} is up; its API is {}\nnext: weft lab probe{}, weft lab exec{} NS/POD -- CMD, weft lab down{}\n",
             options.name, layout.node().socket(), name, name, name);
  return 0;
}

int apply(const LabOptions& options) {
  const auto done = lab::apply(lab::this_machine(), up_options(options), progress);
  return done ? 0 : report(done.error(), options.name);
}

int remove(const LabOptions& options) {
  const auto done = lab::remove(lab::this_machine(), up_options(options), progress);
  return done ? 0 : report(done.error(), options.name);
}

int down(const LabOptions& options) {
  const auto machine = lab::this_machine();
  auto names = options.all ? lab::find_labs(machine.roots) : std::vector<std::string>{options.name};
  if (names.empty()) progress("there is no lab");
  int exit_code = 0;
  for (const auto& name : names) {
    const auto done = lab::down(machine, name, progress);
    if (!done)
      exit_code = report(done.error());
    else
      progress(fmt::format("{} {}", *done ? "taken down: lab" : "nothing to do: there is no lab", name));
  }
  return exit_code;
}

int list(const LabOptions& options) {
  // Others can ask no supervisor: every lab would look broken.
  if (const auto root = lab::check_root(); !root) return report(root.error());
  const auto labs = lab::list_labs(lab::this_machine());
  if (options.output == "json") {
    progress(lab::labs_to_json(labs));
    return 0;
  }
  if (labs.empty()) progress("there is no lab; make one with: weft lab up -f FILE|DIR");
  if (!labs.empty())
    fmt::print("{:<16} {:<9} {:>7}  {:<6} {:<28} {}\n", "NAME", "STATE", "PODS", "NODE", "NETNS", "API");
  for (const auto& lab : labs)
    for (const auto& node : lab.nodes)
      fmt::print("{:<16} {:<9} {:>7}  {:<6} {:<28} {}\n", lab.name, lab.state,
                 fmt::format("{}/{}", lab.pods_ready, lab.pods_total), node.name, node.netns, node.socket);
  return 0;
}

// As shells do: 127 when there is no such command, 126 when it cannot be run.
int exec(const LabOptions& options) {
  if (const auto root = lab::check_root(); !root) return report(root.error());
  std::vector<std::string> command = options.command;
  if (!command.empty() && command.front() == "--") command.erase(command.begin());
  if (command.empty()) {
    report({ErrorCode::invalid, "exec needs a command", "weft lab exec NS/POD -- CMD"});
    return exit_usage;
  }
  const auto error = lab::execute(lab::this_machine().layout(options.name), options.target, command);
  report(error, options.name);
  if (!error.message.starts_with("run ")) return 1;
  return error.code == ErrorCode::not_found ? 127 : 126;
}

int probe(const LabOptions& options) {
  if (const auto root = lab::check_root(); !root) return report(root.error());
  lab::ProbeOptions wanted = options.probe;
  using Families = lab::ProbeOptions::Families;
  wanted.families = options.family == "6"     ? Families::v6
                    : options.family == "all" ? Families::all
                                              : Families::prefer_v4;
  wanted.timeout = options.timeout;
  const auto results = lab::run_probes(lab::this_machine().layout(options.name), wanted);
  if (!results) {
    const int code = report(results.error(), options.name);
    return results.error().code == ErrorCode::invalid ? exit_usage : code;
  }
  if (options.output == "json")
    progress(lab::probes_to_json(*results));
  else
    fmt::print("{}", lab::draw_matrix(*results, ::isatty(STDOUT_FILENO) == 1));
  for (const auto& result : *results)
    if (result.agrees == false) return 1;
  return 0;
}

int supervise(const LabOptions& options) {
  const auto machine = lab::this_machine();
  if (const auto valid = lab::check_lab_name(options.name); !valid) return report(valid.error());
  return lab::supervise(machine.layout(options.name), machine.binary_directory, STDOUT_FILENO);
}

// What the commands are added to and where they leave their exit code.
struct Parent {
  CLI::App& app;
  const std::string& lab;  // of `weft --lab`
  int& exit_code;
};

CLI::App* add(const Parent& parent, const char* name, const char* description, const char* example,
              const Options& options, int (*run)(const LabOptions&)) {
  auto* command = parent.app.add_subcommand(name, description);
  auto* named = command->add_option("--name", options->name, "the lab; default: that of weft --lab, else \"default\"")
                    ->check(lab_name_problem);
  command->footer(std::string("Example:\n  ") + example);
  command->callback([parent, named, options, run] {
    if (named->count() == 0 && !parent.lab.empty()) options->name = parent.lab;
    parent.exit_code = run(*options);
  });
  return command;
}

void add_files(CLI::App* command, const Options& options, bool required) {
  command->add_option("-f,--filename", options->files, "manifest files or directories; - is standard input")
      ->required(required)
      ->type_name("FILE|DIR");
}

// "1s", "500ms", "2m"; a bare number is seconds. Nothing when it is none of these.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const double factor = unit == "ms" ? 1 : unit == "s" || unit.empty() ? 1000 : unit == "m" ? 60'000 : 0;
  const double milliseconds = value * factor;
  if (error != std::errc() || !(milliseconds >= 1 && milliseconds <= 3'600'000)) return std::nullopt;
  return std::chrono::milliseconds(static_cast<long>(milliseconds));
}

void add_timeout(CLI::App* command, const Options& options, const char* description) {
  command
      ->add_option_function<std::string>(
          "--timeout",
          [options](const std::string& text) {
            const auto duration = parse_duration(text);
            if (!duration) throw CLI::ValidationError("--timeout", "expected a duration such as 500ms, 1s or 2m");
            options->timeout = *duration;
          },
          description)
      ->type_name("DURATION");
}

void add_output(CLI::App* command, const Options& options) {
  command->add_option("-o,--output", options->output, "table or json")
      ->capture_default_str()
      ->check(CLI::IsMember({"table", "json"}));
}

Options fresh() { return std::make_shared<LabOptions>(); }

}  // namespace

std::string lab_name_problem(const std::string& text) {
  const auto valid = lab::check_lab_name(text);
  return valid ? std::string() : valid.error().message;
}

void add_lab_command(CLI::App& app, const std::string& of_weft, int& exit_code) {
  auto& lab = *app.add_subcommand("lab", "a node and its pods on this machine, from manifests (needs root)");
  lab.require_subcommand(1);
  lab.footer("Example:\n  weft lab up -f examples/shop && weft lab probe && weft lab down");
  const Parent parent{lab, of_weft, exit_code};

  auto options = fresh();
  auto* command = add(parent, "up", "make a lab, apply manifests, wait until every pod answers",
                      "weft lab up --name shop -f examples/shop\n  generate | weft lab up -f -", options, up);
  add_files(command, options, false);
  add_timeout(command, options, "how long to wait (default 60s)");

  options = fresh();
  command = add(parent, "apply", "apply manifests to a lab and wait until every pod answers",
                "weft lab apply --name shop -f policy.yaml", options, apply);
  add_files(command, options, true);
  add_timeout(command, options, "how long to wait (default 60s)");

  options = fresh();
  command = add(parent, "delete", "delete the manifests' objects and wait until their pods are gone",
                "weft lab delete --name shop -f policy.yaml", options, remove);
  add_files(command, options, true);
  add_timeout(command, options, "how long to wait (default 60s)");

  options = fresh();
  command = add(parent, "exec", "run a command in the network namespace of a pod, of the host or of the world",
                "weft lab exec shop/web -- curl -s http://10.96.0.10\n  weft lab exec host -- ip route", options, exec);
  command->add_option("target", options->target, "NS/POD, NS/WORKLOAD (its first pod), host or world")->required();
  command->add_option("command", options->command, "the command, best after --");

  options = fresh();
  command = add(parent, "list", "the labs of this machine", "weft lab list\n  weft lab list -o json", options, list);
  add_output(command, options);

  options = fresh();
  command = add(parent, "down", "take a lab away, also what a crash left of it",
                "weft lab down --name shop\n  weft lab down --all", options, down);
  command->add_flag("--all", options->all, "every lab of this machine");

  options = fresh();
  options->timeout = std::chrono::seconds(1);
  command = add(parent, "probe", "connect from pods to pods and compare with what the policy engine says",
                "weft lab probe\n  weft lab probe --from shop/web --to svc/shop/db --port 6379/TCP", options, probe);
  command->add_option("--from", options->probe.from, "NS/POD, NS/WORKLOAD, host or world; default: every pod");
  command->add_option("--to", options->probe.to, "NS/POD, NS/WORKLOAD, svc/NS/NAME, an address, host or world");
  command->add_option("--port", options->probe.ports, "80/TCP, 53/UDP, ICMP; default: the declared ports");
  command->add_option("--family", options->family, "4, 6 or all")->check(CLI::IsMember({"4", "6", "all"}));
  add_timeout(command, options, "for each connection (default 1s)");
  add_output(command, options);

  options = fresh();
  command = add(parent, "supervise", "keep a lab running (started by up)", "weft lab supervise --name shop", options,
                supervise);
  command->group("");
}

}  // namespace weft::cli
