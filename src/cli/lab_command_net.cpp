// `weft lab net`, `kill`, `crash` and `start`: trouble for the nodes of a lab.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/lab_command_parts.h"
#include "lab/conditioning.h"
#include "lab/relay.h"

namespace weft::cli {
namespace {

std::string told(const lab::Condition& condition) {
  std::vector<std::string> words;
  if (condition.down == lab::Condition::Down::node) words.emplace_back("down");
  if (condition.down == lab::Condition::Down::agent) words.emplace_back("agent down");
  if (condition.group != 0) words.push_back(fmt::format("cut off (group {})", condition.group));
  if (condition.cut_from_etcd) words.emplace_back("cut off from etcd");
  if (condition.delay.count() != 0)
    words.push_back(fmt::format("delay {} ms", static_cast<double>(condition.delay.count()) / 1000));
  if (condition.loss_ppm != 0)
    words.push_back(fmt::format("loss {} %", static_cast<double>(condition.loss_ppm) / 10'000));
  std::string line;
  for (const auto& word : words) line += (line.empty() ? "" : ", ") + word;
  return line.empty() ? "well" : line;
}

int show(const lab::Layout& layout, const lab::Conditions& conditions, const std::string& output) {
  if (output == "json") {
    auto all = lab::conditions_to_json(conditions);
    for (const auto& node : layout.nodes())
      if (!all.contains(node.name)) all.update(lab::conditions_to_json({{node.name, {}}}));
    print_line(all.dump(2));
    return 0;
  }
  fmt::print("{:<8} {}\n", "NODE", "LINK");
  for (const auto& node : layout.nodes()) {
    const auto found = conditions.find(node.name);
    fmt::print("{:<8} {}\n", node.name, told(found == conditions.end() ? lab::Condition{} : found->second));
  }
  return 0;
}

int change(const LabOptions& options, const std::string& action, std::int64_t value = 0) {
  const auto machine = lab::this_machine();
  const auto done = lab::change_net(machine, options.name, action, options.nodes, value);
  return done ? show(machine.layout(options.name), *done, options.output) : report(done.error(), options.name);
}

int partition(const LabOptions& options) { return change(options, options.from == "etcd" ? "cut-etcd" : "partition"); }
int heal(const LabOptions& options) { return change(options, "heal"); }

int delay(const LabOptions& options) {
  const auto value = lab::parse_delay(options.value);
  return value ? change(options, "delay", value->count()) : usage(value.error());
}

int loss(const LabOptions& options) {
  const auto value = lab::parse_loss(options.value);
  return value ? change(options, "loss", *value) : usage(value.error());
}

int show_all(const LabOptions& options) {
  const auto layout = lab::this_machine().layout(options.name);
  if (const auto there = lab::check_lab_exists(layout); !there) return report(there.error());
  return show(layout, lab::load_conditions(layout.conditions_file()), options.output);
}

int node(const LabOptions& options, const char* action, const char* told_as) {
  const auto done =
      lab::change_node(lab::this_machine(), options.name, action, options.nodes.front(), options.new_address);
  if (!done) return report(done.error(), options.name);
  if (options.output == "json")
    print_line(nlohmann::json{{"lab", options.name}, {"name", options.nodes.front()}, {"action", action}}.dump(2));
  else
    print_line(fmt::format("{} {}", options.nodes.front(), told_as));
  return 0;
}

int kill(const LabOptions& options) {
  const bool is_node = lab::this_machine().layout(options.name).find_node(options.nodes.front()) != nullptr;
  return node(options, "kill", is_node ? "has no agent" : "is down");
}
int crash(const LabOptions& options) { return node(options, "crash", "is down"); }
int start(const LabOptions& options) { return node(options, "start", "starts"); }

int relay(const LabOptions& options) {
  const auto number = [&options](std::size_t at) { return std::stoll(options.command.at(at)); };
  try {
    return lab::run_relay(options.command.at(0), options.command.at(1),
                          {.delay = std::chrono::microseconds(number(2)),
                           .loss_ppm = static_cast<std::uint32_t>(number(3)),
                           .cut_tcp_port = static_cast<std::uint16_t>(number(4))});
  } catch (const std::exception&) {
    return usage({ErrorCode::invalid, "lab relay PORT TAP MICROSECONDS PPM TCP-PORT", {}});
  }
}

// One word, so that others may follow it.
CLI::Option* add_nodes(CLI::App* command, const Options& options, const char* what) {
  const auto split = [options](const std::string& text) { options->nodes = CLI::detail::split(text, ','); };
  return command->add_option_function<std::string>("node", split, what)->type_name("NODE[,NODE...]");
}

}  // namespace

void add_net_commands(const LabParent& parent) {
  auto& net = *parent.app.add_subcommand("net", "cut, slow down and heal the links of a lab's nodes");
  net.require_subcommand(1);
  net.footer("Example:\n  weft lab net partition node3 && weft lab net show && weft lab net heal");
  add_group_name(net, parent.lab);
  const LabParent below{net, parent.lab, parent.exit_code};

  auto options = fresh_options();
  auto* command = add_lab_subcommand(
      below, "partition", "cut nodes off from the others and the world, not from each other",
      "weft lab net partition node2,node3\n  weft lab net partition node2 --from etcd", options, partition);
  add_nodes(command, options, "the nodes of one side")->required();
  command->add_option("--from", options->from, "all, or etcd: only TCP 2379")->check(CLI::IsMember({"all", "etcd"}));
  add_lab_output(command, options);

  options = fresh_options();
  command = add_lab_subcommand(below, "delay", "let frames to and from nodes take longer, each way; 0ms ends it",
                               "weft lab net delay node2 20ms", options, delay);
  add_nodes(command, options, "the nodes")->required();
  command->add_option("delay", options->value, "20ms, 300us, 1s")->required()->type_name("DURATION");
  add_lab_output(command, options);

  options = fresh_options();
  command = add_lab_subcommand(below, "loss", "lose frames to and from nodes at random, in each direction; 0% ends it",
                               "weft lab net loss node2 5%", options, loss);
  add_nodes(command, options, "the nodes")->required();
  command->add_option("loss", options->value, "5%, 0.1%")->required()->type_name("PERCENT");
  add_lab_output(command, options);

  options = fresh_options();
  command = add_lab_subcommand(below, "heal", "undo all of it, of some nodes or of all",
                               "weft lab net heal\n  weft lab net heal node2", options, heal);
  add_nodes(command, options, "the nodes; default: all");
  add_lab_output(command, options);

  options = fresh_options();
  command =
      add_lab_subcommand(below, "show", "what was done to the nodes", "weft lab net show -o json", options, show_all);
  add_lab_output(command, options);

  const auto one = [&](const char* name, const char* description, const char* example, int (*run)(const LabOptions&)) {
    options = fresh_options();
    auto* added = add_lab_subcommand(parent, name, description, example, options, run);
    added->add_option("node", options->nodes, "the node, operator or member of etcd")
        ->required()
        ->expected(1)
        ->type_name("NODE");
    add_lab_output(added, options);
    return added;
  };
  one("kill", "kill the agent of a node, an operator or a member of etcd, and keep it down; pods' traffic goes on",
      "weft lab kill node2\n  weft lab kill operator1\n  weft lab kill etcd1", kill);
  one("crash", "take a whole node down as if it lost power: its network, its pods, all but its files",
      "weft lab crash node2 && weft lab start node2 --new-address", crash);
  command = one("start", "start what was killed or crashed", "weft lab start node2", start);
  command->add_flag("--new-address", options->new_address, "of a node that crashed: it returns with another address");

  options = fresh_options();
  command = add_lab_subcommand(parent, "relay", "be a node's bad wire (started by net)",
                               "weft lab relay node2 tap-node2 20000 0 0", options, relay);
  command->add_option("words", options->command, "PORT TAP MICROSECONDS PPM TCP-PORT");
  command->group("");
}

}  // namespace weft::cli
