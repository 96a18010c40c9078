#include "cli/lab_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/lab_command_parts.h"
#include "cli/session.h"
#include "lab/condition.h"
#include "lab/inspect.h"
#include "lab/lifecycle.h"
#include "lab/machine.h"
#include "lab/probe.h"
#include "lab/supervisor.h"

namespace weft::cli {

int report(const Error& error, const std::string& lab) {
  const auto says = [&](const char* what) { return error.message.find(what) != std::string::npos; };
  const bool away = error.code == ErrorCode::unavailable &&
                    (says("does not answer") || says("closed the connection") || says("did not answer in time"));
  const bool of_agent = away && !lab.empty() && !says("supervisor");
  const auto hint = of_agent ? lab::way_back(lab::this_machine().layout(lab)) : error.hint;
  fmt::print(stderr, "weft: {}\n", error.message);
  if (!hint.empty()) fmt::print(stderr, "  {}\n", hint);
  // `up` waits for what does not come.
  const bool begins = error.code == ErrorCode::unavailable && (says("does not serve") || says("did not start"));
  return away || begins ? exit_unavailable : exit_failed;
}

int usage(const Error& error) {
  report(error);
  return exit_usage;
}

void print_line(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

lab::Progress progress_of(const LabOptions& options) {
  if (options.output != "json") return print_line;
  return [](const std::string& line) { fmt::print(stderr, "{}\n", line); };
}

void add_group_name(CLI::App& group, std::string& lab) {
  group.add_option("--name", lab, "the lab of the commands below; default: that of weft --lab, else \"default\"")
      ->check(lab_name_problem)
      ->type_name("NAME");
}

Options fresh_options() { return std::make_shared<LabOptions>(); }

CLI::App* add_lab_subcommand(const LabParent& parent, const char* name, const char* description, const char* example,
                             const Options& options, int (*run)(const LabOptions&)) {
  auto* command = parent.app.add_subcommand(name, description);
  auto* named = command->add_option("--name", options->name, "the lab; default: that of weft --lab, else \"default\"")
                    ->check(lab_name_problem);
  command->footer(std::string("Example:\n  ") + example);
  command->callback([parent, named, options, run] {
    options->named = named->count() != 0 || !parent.lab.empty();
    if (named->count() == 0 && !parent.lab.empty()) options->name = parent.lab;
    parent.exit_code = run(*options);
  });
  return command;
}

void add_lab_output(CLI::App* command, const Options& options) {
  command->add_option("-o,--output", options->output, "table or json")
      ->capture_default_str()
      ->check(CLI::IsMember({"table", "json"}));
}

namespace {

using nlohmann::json;

lab::UpOptions up_options(const LabOptions& options) {
  return {options.name, options.files, options.timeout, options.settings};
}

// As `list` has it.
int print_lab(const LabOptions& options) {
  print_line(lab::lab_to_json(lab::this_machine().layout(options.name)));
  return exit_ok;
}

int up(const LabOptions& options) {
  const auto machine = lab::this_machine();
  if (const auto done = lab::up(machine, up_options(options), progress_of(options)); !done) return report(done.error());
  if (options.output == "json") return print_lab(options);
  const auto name = options.name == lab::default_lab ? std::string() : " --name " + options.name;
  const auto layout = machine.layout(options.name);
  fmt::print("lab {} is up; its API is {}\nnext: weft lab probe{}, weft lab exec{} NS/POD -- CMD, weft lab down{}\n",
             options.name, layout.node().socket(), name, name, name);
  if (layout.nodes().size() > 1)
    fmt::print("of one node: weft --lab {} --node {} status\n", options.name, layout.nodes().back().name);
  return 0;
}

int apply(const LabOptions& options) {
  const auto done = lab::apply(lab::this_machine(), up_options(options), progress_of(options));
  if (!done) return report(done.error(), options.name);
  return options.output == "json" ? print_lab(options) : exit_ok;
}

int remove(const LabOptions& options) {
  const auto done = lab::remove(lab::this_machine(), up_options(options), progress_of(options));
  if (!done) return report(done.error(), options.name);
  return options.output == "json" ? print_lab(options) : exit_ok;
}

int down(const LabOptions& options) {
  const auto machine = lab::this_machine();
  auto names = options.all ? lab::find_labs(machine.roots) : std::vector<std::string>{options.name};
  const bool as_json = options.output == "json";
  const auto progress = progress_of(options);
  if (names.empty() && !as_json) print_line("there is no lab");
  int exit_code = 0;
  auto told = json::array();
  for (const auto& name : names) {
    const auto done = lab::down(machine, name, progress);
    if (!done)
      exit_code = report(done.error());
    else if (as_json)
      told.push_back({{"name", name}, {"taken_down", *done}});
    else
      print_line(fmt::format("{} {}", *done ? "taken down: lab" : "nothing to do: there is no lab", name));
  }
  if (as_json) print_line(told.dump(2));
  return exit_code;
}

constexpr auto list_line = "{:<16} {:<9} {:>7}  {:<9} {:<9} {:<15} {:<28} {}\n";

// Of a lab with several nodes each line has the node's pods.
void print_node(const lab::LabInfo& lab, const lab::NodeInfo& node) {
  const bool only = lab.nodes.size() == 1;
  const auto pods = only ? fmt::format("{}/{}", lab.pods_ready, lab.pods_total)
                         : fmt::format("{}/{}", node.pods_ready, node.pods.size());
  fmt::print(list_line, lab.name, lab.state, pods, node.name, node.state,
             node.address.empty() ? node.address_v6 : node.address, node.netns, node.socket);
}

void print_beside(const lab::LabInfo& lab, const lab::BesideInfo& one) {
  fmt::print(list_line, lab.name, lab.state, "-", one.name, one.state, one.address.empty() ? "-" : one.address, "-",
             "-");
}

int list(const LabOptions& options) {
  // Others can ask no supervisor: every lab would look broken.
  if (const auto root = lab::check_root(); !root) return report(root.error());
  auto labs = lab::list_labs(lab::this_machine());
  if (options.named) {
    std::erase_if(labs, [&](const lab::LabInfo& lab) { return lab.name != options.name; });
    if (labs.empty())
      return report({ErrorCode::not_found, fmt::format("there is no lab {}", options.name),
                     "weft lab list shows those there are"});
  }
  if (options.output == "json") {
    print_line(lab::labs_to_json(labs));
    return 0;
  }
  if (labs.empty()) print_line("there is no lab; make one with: weft lab up -f FILE|DIR");
  if (!labs.empty()) fmt::print(list_line, "NAME", "STATE", "PODS", "NODE", "IS", "ADDRESS", "NETNS", "API");
  for (const auto& lab : labs) {
    for (const auto& node : lab.nodes) print_node(lab, node);
    for (const auto& member : lab.members) print_beside(lab, member);
    for (const auto& one : lab.operators) print_beside(lab, one);
  }
  return 0;
}

// As shells do: 127 when there is no such command, 126 when it cannot be run.
int exec(const LabOptions& options) {
  if (const auto root = lab::check_root(); !root) return report(root.error());
  std::vector<std::string> command = options.command;
  if (!command.empty() && command.front() == "--") command.erase(command.begin());
  if (command.empty()) {
    return usage({ErrorCode::invalid, "exec needs a command", "weft lab exec NS/POD -- CMD"});
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
    print_line(lab::probes_to_json(*results));
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

void add_nodes(CLI::App* command, const Options& options) {
  auto& settings = options->settings;
  command->add_option("--nodes", settings.nodes, "how many nodes, 1 to 32; more than there are adds some")
      ->check(CLI::Range(1U, lab::most_nodes))
      ->type_name("N");
  command
      ->add_option("--operators", settings.operators, "weft-operators beside the nodes (default: 2 with several nodes)")
      ->check(CLI::Range(0U, lab::most_operators))
      ->type_name("N");
  const auto choice = [command](const char* name, std::string& slot, const char* what, std::vector<std::string> words) {
    command->add_option(name, slot, what)->check(CLI::IsMember(std::move(words)));
  };
  choice("--tunnel", settings.tunnel, "how pods' packets get to other nodes (default none: as they are)",
         {"none", "vxlan", "geneve", "ipip"});
  choice("--tunnel-scope", settings.tunnel_scope, "the tunnel for every way, or between networks only (default always)",
         {"always", "cross-subnet"});
  choice("--encryption", settings.encryption,
         "encrypt pods' packets between nodes (default none); also: nothing in clear where a node has no key, what the "
         "nodes themselves say too",
         {"none", "wireguard", "wireguard-strict", "wireguard-nodes"});
  choice("--underlay", settings.underlay,
         "nodes on one network, each on one of its own, or half of them on each of two (default flat)",
         {"flat", "routed", "mixed"});
  choice("--underlay-family", settings.underlay_family, "addresses of nodes (default dual)", {"4", "6", "dual"});
  choice("--store", settings.store, "etcd for the lab, or each node by itself (default: etcd with several nodes)",
         {"embedded", "etcd"});
  command
      ->add_option_function<std::string>(
          "--edge",
          [options](const std::string& text) {
            for (const auto& name : CLI::detail::split(text, ',')) {
              unsigned number = 0;
              if (!name.starts_with("node") || !CLI::detail::lexical_cast(name.substr(4), number) || number == 0)
                throw CLI::ValidationError("--edge", "expected nodes such as node2,node3");
              options->settings.edge.insert(number);
            }
          },
          "nodes that may be cut off for days and keep what they have")
      ->type_name("NODE[,NODE...]");
  command->add_option("--etcd-members", settings.etcd_members, "how many members its etcd has (default 1)")
      ->check(CLI::Range(1U, lab::most_etcd_members))
      ->type_name("N");
}

}  // namespace

std::string lab_name_problem(const std::string& text) {
  const auto valid = lab::check_lab_name(text);
  return valid ? std::string() : valid.error().message;
}

void add_lab_command(CLI::App& app, std::string& of_weft, int& exit_code) {
  auto& lab = *app.add_subcommand("lab", "nodes and their pods on this machine, from manifests (needs root)");
  lab.require_subcommand(1);
  lab.footer("Example:\n  weft lab up -f examples/shop && weft lab probe && weft lab down");
  add_group_name(lab, of_weft);
  const LabParent parent{lab, of_weft, exit_code};

  auto options = fresh_options();
  auto* command = add_lab_subcommand(parent, "up", "make a lab, apply manifests, wait until every pod answers",
                                     "weft lab up --name shop -f examples/shop\n  generate | weft lab up -f -\n"
                                     "  weft lab up --nodes 3 --tunnel vxlan -f examples/shop",
                                     options, up);
  add_files(command, options, false);
  add_timeout(command, options, "how long to wait (default 60s)");
  add_nodes(command, options);
  add_lab_output(command, options);

  options = fresh_options();
  command = add_lab_subcommand(parent, "apply", "apply manifests to a lab and wait until every pod answers",
                               "weft lab apply --name shop -f policy.yaml", options, apply);
  add_files(command, options, true);
  add_timeout(command, options, "how long to wait (default 60s)");
  add_lab_output(command, options);

  options = fresh_options();
  command = add_lab_subcommand(parent, "delete", "delete the manifests' objects and wait until their pods are gone",
                               "weft lab delete --name shop -f policy.yaml", options, remove);
  add_files(command, options, true);
  add_timeout(command, options, "how long to wait (default 60s)");
  add_lab_output(command, options);

  options = fresh_options();
  command = add_lab_subcommand(
      parent, "exec", "run a command in the network namespace of a pod, of a node or of the world",
      "weft lab exec shop/web -- curl -s http://10.96.0.10\n  weft lab exec node2 -- ip route", options, exec);
  command->add_option("target", options->target, "NS/POD, NS/WORKLOAD (its first pod), a node, host or world")
      ->required();
  command->add_option("command", options->command, "the command, best after --");

  options = fresh_options();
  command = add_lab_subcommand(parent, "list", "the labs of this machine, or the one that is named",
                               "weft lab list\n  weft lab list --name shop -o json", options, list);
  command->get_option("--name")->description("this lab alone; default: that of weft --lab, else all there are");
  add_lab_output(command, options);

  options = fresh_options();
  command = add_lab_subcommand(parent, "down", "take a lab away, also what a crash left of it",
                               "weft lab down --name shop\n  weft lab down --all", options, down);
  command->add_flag("--all", options->all, "every lab of this machine");
  add_lab_output(command, options);

  options = fresh_options();
  options->timeout = std::chrono::seconds(1);
  command = add_lab_subcommand(
      parent, "probe", "connect from pods to pods and compare with what the policy engine says",
      "weft lab probe\n  weft lab probe --from shop/web --to svc/shop/db --port 6379/TCP", options, probe);
  command->add_option("--from", options->probe.from, "NS/POD, NS/WORKLOAD, a node, host or world; default: every pod");
  command->add_option("--to", options->probe.to, "NS/POD, NS/WORKLOAD, svc/NS/NAME, an address, a node, host or world");
  command->add_option("--port", options->probe.ports, "80/TCP, 53/UDP, ICMP; default: the declared ports");
  command->add_option("--family", options->family, "4, 6 or all")->check(CLI::IsMember({"4", "6", "all"}));
  add_timeout(command, options, "for each connection (default 1s)");
  add_lab_output(command, options);

  add_net_commands(parent);

  options = fresh_options();
  command = add_lab_subcommand(parent, "supervise", "keep a lab running (started by up)",
                               "weft lab supervise --name shop", options, supervise);
  command->group("");
}

}  // namespace weft::cli
