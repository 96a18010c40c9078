#include "cli/app.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "api/request.h"
#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/kubernetes_command.h"
#include "cli/lab_command.h"

namespace weft::cli {
namespace {

using Values = std::vector<std::string>;

// The tree of commands with the places their arguments are read into; lives for one run.
class CommandLine {
 public:
  explicit CommandLine(const Streams& streams) : session_(streams) {
    app_.name("weft");
    app_.require_subcommand(1);
    app_.fallthrough();
    // Not excludes(): an exported WEFT_SOCKET must not forbid --lab, which wins.
    app_.add_option("--socket", session_.socket, "Socket of the agent (default /run/weft/weft.sock)")
        ->envname("WEFT_SOCKET")
        ->type_name("PATH");
    app_.add_option("--lab", session_.lab, "Talk to the agent of this lab instead")
        ->check(lab_name_problem)
        ->type_name("NAME");
    app_.add_option("--node", session_.node, "Node of the lab (default node1)")->type_name("NODE");
    app_.set_version_flag("-V,--version", "weft " WEFT_VERSION, "Print the version of this program and exit");
    app_.footer(
        "Examples:\n"
        "  weft status                        # is this node well\n"
        "  weft doctor                        # what is wrong, and what to do\n"
        "  weft apply -f shop.yaml            # objects, all or none\n"
        "  weft observe -f --verdict dropped  # flows as they are refused\n"
        "  weft policy explain --from shop/web --to svc/shop/db --port 6379\n"
        "  weft lab up -f examples/minimal    # nodes and pods on this machine\n\n"
        "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the agent is not available, or knows of no node "
        "yet.\n"
        "\"weft COMMAND --help\" says more about a command.");
    add_general();
    add_doctor();
    add_objects();
    add_store();
    add_lists();
    add_services();
    add_policy();
    add_bgp();
    add_bpf();
    add_observe();
    add_kubernetes_commands(app_, session_, completions_);
    add_lab_command(app_, session_.lab, session_.exit_code);
    add_tools();
  }

  int run(Values arguments) {
    if (!arguments.empty() && arguments.front() == "__complete") return complete(std::move(arguments));
    given_ = arguments;
    try {
      std::ranges::reverse(arguments);
      app_.parse(std::move(arguments));
    } catch (const CLI::CallForHelp&) {
      session_.io.out << help_of(deepest());
      return exit_ok;
    } catch (const CLI::CallForVersion& version) {
      session_.io.out << version.what() << '\n';
      return exit_ok;
    } catch (const CLI::ParseError& error) {
      return usage(error);
    }
    return session_.exit_code;
  }

 private:
  // The command the arguments had named when parsing ended.
  CLI::App* deepest() {
    CLI::App* at = &app_;
    while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
    return at;
  }

  static CLI::App* subcommand(CLI::App* parent, const std::string& name) {
    for (auto* sub : parent->get_subcommands([](const CLI::App*) { return true; }))
      if (sub->get_name() == name) return sub;
    return nullptr;
  }

  static std::string full_name(const CLI::App* command) {
    return command->get_parent() == nullptr ? command->get_name()
                                            : full_name(command->get_parent()) + " " + command->get_name();
  }

  // With the whole name in its usage line.
  static std::string help_of(CLI::App* command) {
    const auto* parent = command->get_parent();
    return command->help(parent == nullptr ? "" : full_name(parent), CLI::AppFormatMode::Normal);
  }

  // The command that has no subcommand of the name it was given: CLI11 goes on past such a word and
  // may find a later one ("bpf nosuch list").
  CLI::App* blamed(const Values& unread, std::string& word) {
    CLI::App* at = &app_;
    for (const auto& argument : given_) {
      if (argument.starts_with('-')) continue;
      if (auto* next = subcommand(at, argument)) {
        at = next;
      } else if (std::ranges::find(unread, argument) != unread.end()) {
        word = argument;
        break;
      }
    }
    return word.empty() ? deepest() : at;
  }

  int usage(const CLI::ParseError& error) {
    const auto rest = app_.remaining(true);  // words fall through to the top
    std::string unknown;
    auto* command = blamed(rest, unknown);
    Values names;
    for (const auto* sub : command->get_subcommands([](const CLI::App*) { return true; }))
      if (!sub->get_group().empty()) names.push_back(sub->get_name());
    if (!names.empty() && rest.empty()) {
      session_.io.err << help_of(command);
      return exit_usage;
    }
    if (!names.empty()) {
      session_.io.err << fmt::format("weft: \"{}\" has no command \"{}\"\n", full_name(command),
                                     unknown.empty() ? rest.front() : unknown);
      std::string near;
      for (const auto& name : api::nearest(unknown.empty() ? rest.front() : unknown, names))
        near += (near.empty() ? "" : ", ") + name;
      if (!near.empty()) session_.io.err << "  did you mean " << near << "?\n";
    } else {
      session_.io.err << fmt::format("weft: {}: {}\n",
                                     full_name(command).substr(std::min<std::size_t>(5, full_name(command).size())),
                                     error.what());
    }
    session_.io.err << fmt::format("  see \"{} --help\"\n", full_name(command));
    return exit_usage;
  }

  CLI::App* command(CLI::App* parent, const std::string& name, const std::string& description,
                    const std::string& example = {}) {
    auto* added = parent->add_subcommand(name, description);
    if (!example.empty()) added->footer("Example:\n  " + example);
    return added;
  }

  void add_output(CLI::App* command, std::string& target, const Values& formats, const std::string& initial = "table") {
    target = initial;
    auto* option = command->add_option("-o,--output", target, fmt::format("Output format (default {})", initial))
                       ->check(CLI::IsMember(formats))
                       ->type_name("FORMAT");
    completions_[option] = formats;
  }

  template <class Run>
  void runs(CLI::App* command, Run&& run) {
    command->callback([this, run = std::forward<Run>(run)] { session_.exit_code = run(session_); });
  }

  void add_general() {
    auto* version = command(&app_, "version", "Print the versions of this program and of the agent", "weft version");
    add_output(version, version_output_, {"table", "json"});
    runs(version, [this](const Session& session) { return run_version(session, version_output_); });

    auto* status = command(&app_, "status", "Show the node's health, kernel, datapath, counts and drops",
                           "weft status\n  weft status -o wide      # with maps and counters\n"
                           "  weft status --kubernetes # of a cluster, as its API server tells it");
    add_output(status, status_output_, {"table", "wide", "json", "yaml"});
    status->add_flag(
        "--kubernetes", of_cluster_,
        "Of Weft on a Kubernetes cluster instead: nodes, operators, definitions; 1 when something is wrong");
    add_cluster_choice(status, cluster_choice_);
    runs(status, [this](const Session& session) {
      return of_cluster_ ? run_cluster_status(session, cluster_choice_, status_output_)
                         : run_status(session, status_output_);
    });
  }

  void add_doctor() {
    auto* doctor =
        command(&app_, "doctor", "Look for what is wrong with the node and its ways to others, and say what to do",
                "weft doctor\n  weft doctor -o json | jq '.[] | select(.state != \"good\")'");
    add_output(doctor, doctor_output_, {"table", "json", "yaml"});
    runs(doctor, [this](const Session& session) { return run_doctor(session, doctor_output_); });
  }

  void add_objects() {
    auto* apply = command(
        &app_, "apply", "Apply Kubernetes manifests: Namespace, Pod, Deployment, Service, EndpointSlice, NetworkPolicy",
        "weft apply -f shop.yaml\n  weft apply -f examples/shop -R\n  generate | weft apply -f -");
    apply
        ->add_option("-f,--filename", apply_.files,
                     "File, directory of *.yaml, *.yml and *.json, or - for standard input")
        ->required()
        ->type_name("FILE|DIR|-");
    apply->add_flag("-R,--recursive", apply_.recursive, "Look into directories below DIR too");
    apply->add_flag("--all-or-nothing,!--no-all-or-nothing", apply_.all_or_nothing,
                    "Apply nothing when a document is bad (default); with --no-all-or-nothing the good ones");
    apply->add_flag("--dry-run", apply_.dry_run, "Check and say what would happen, change nothing");
    add_output(apply, apply_.output, {"table", "name", "json"});
    runs(apply, [this](const Session& session) { return run_apply(session, apply_); });

    auto* get = command(&app_, "get", "Show objects as the agent holds them",
                        "weft get pods -n shop\n  weft get networkpolicy shop/db -o yaml\n  weft get all");
    get->add_option("KIND", get_.kind,
                    "pods, services, deployments, networkpolicies, namespaces, endpointslices, loadbalancerpools, "
                    "l2announcements, bgppeerings, egressgateways, podaddresspools or all; also KIND/NAME")
        ->required();
    get->add_option("NAME", get_.name, "NAME or NAMESPACE/NAME");
    add_namespace(get, get_.namespace_, "Only objects of this namespace (default: of all)");
    get->add_flag("-A,--all-namespaces", get_.all_namespaces, "Objects of all namespaces");
    add_output(get, get_.output, {"table", "wide", "json", "yaml", "name"});
    runs(get, [this](const Session& session) { return run_get(session, get_); });

    auto* remove = command(&app_, "delete", "Delete the objects of manifests, or one object by name",
                           "weft delete -f shop.yaml\n  weft delete networkpolicy deny-all -n shop");
    remove->add_option("KIND", delete_.kind, "Kind of the object, or KIND/NAME");
    remove->add_option("NAME", delete_.name, "NAME or NAMESPACE/NAME");
    remove->add_option("-f,--filename", delete_.files, "File, directory, or - for standard input")
        ->type_name("FILE|DIR|-");
    remove->add_flag("-R,--recursive", delete_.recursive, "Look into directories below DIR too");
    add_namespace(remove, delete_.namespace_, "Namespace of the object");
    add_output(remove, delete_.output, {"table", "name", "json"});
    runs(remove, [this](const Session& session) { return run_delete(session, delete_); });
  }

  void add_store() {
    auto* group = command(&app_, "store", "Where the objects of a cluster are kept", "weft store push");
    group->require_subcommand(1);
    auto* push = command(group, "push", "Make this node's objects those of a cluster that has none",
                         "weft store push\n  weft store push --none     # begin with nothing");
    push->add_flag("--none", push_.none, "The cluster begins with no objects; those of its nodes go");
    add_output(push, push_.output, {"table", "json"});
    runs(push, [this](const Session& session) { return run_store_push(session, push_); });
  }

  static void add_namespace(CLI::App* command, std::string& target, const std::string& description) {
    command->add_option("-n,--namespace", target, description)->type_name("NAMESPACE");
  }

  // `weft <noun> list`
  CLI::App* add_list(const std::string& noun, const std::string& description, const std::string& method) {
    auto* group = command(&app_, noun, description, fmt::format("weft {} list -o wide", noun));
    group->require_subcommand(1);
    auto* list = command(group, "list", description, fmt::format("weft {} list -o json", noun));
    auto& output = list_outputs_[noun];
    add_output(list, output, {"table", "wide", "json", "yaml", "name"});
    runs(list, [this, &output, method](const Session& session) {
      return run_list(session, method, output, list_namespace_);
    });
    return group;
  }

  void add_lists() {
    add_list("endpoint", "Attached pods: addresses, identity, policy and socket coverage", "endpoint.list");
    auto* node = add_list("node", "Nodes of the cluster: state, addresses, blocks of pods' addresses, the way there",
                          "node.list");
    auto* gone =
        command(node, "delete", "Say that a node that is away will not come back, so that others get what it had",
                "weft node delete node7");
    gone->add_option("NAME", node_name_, "The node's name")->required();
    add_output(gone, list_outputs_["node delete"], {"table", "json"});
    runs(gone,
         [this](const Session& session) { return run_node_delete(session, node_name_, list_outputs_["node delete"]); });
    auto* health =
        command(&app_, "health", "Whether the cluster's other nodes answer, and how fast", "weft health -o json");
    add_output(health, list_outputs_["health"], {"table", "wide", "json", "yaml", "name"});
    runs(health, [this](const Session& session) { return run_health(session, list_outputs_["health"]); });
    add_list("egress", "EgressGateways: by which nodes pods leave the cluster now, as whom, and why", "egress.list");
    auto* operators =
        command(&app_, "operator", "Who does the cluster's duties, and what was done", "weft operator status -o json");
    operators->require_subcommand(1);
    auto* operator_status =
        command(operators, "status", "The weft-operators: which one acts, what it collected and gave, its troubles",
                "weft operator status\n  weft operator status -o wide");
    add_output(operator_status, list_outputs_["operator"], {"table", "wide", "json", "yaml", "name"});
    runs(operator_status,
         [this](const Session& session) { return run_operator_status(session, list_outputs_["operator"]); });
    auto* encryption = command(&app_, "encryption", "Encryption of what pods say to pods of other nodes",
                               "weft encryption status\n  weft encryption rotate");
    encryption->require_subcommand(1);
    const auto add_action = [&](const std::string& action, const char* description, const char* example) {
      auto& output = list_outputs_["encryption " + action];
      auto* sub = command(encryption, action, description, example);
      add_output(sub, output, {"table", "json", "yaml"});
      runs(sub, [action, &output](const Session& session) { return run_encryption(session, action, output); });
    };
    add_action("status", "Keys, devices, and each node: whether packets to it are encrypted, by what, since when",
               "weft encryption status\n  weft encryption status -o json");
    add_action("rotate", "Begin to change the keys of all nodes; traffic goes on meanwhile",
               "weft encryption rotate && weft encryption status");
    add_list("identity", "Identities: the numbers that stand for sets of labels", "identity.list");
    service_ =
        add_list("service", "Services as the datapath balances them, and where clients are sent", "service.list");
    add_namespace(service_->get_subcommand("list"), list_namespace_, "Services of this namespace");
    policy_ = add_list("policy", "NetworkPolicies in force, and why a connection is allowed or denied", "policy.list");

    auto* group = command(&app_, "ipam", "Address pools, allocations and quarantine", "weft ipam list");
    group->require_subcommand(1);
    auto* list = command(group, "list", "Address pools, allocations and quarantine", "weft ipam list -o json");
    add_output(list, list_outputs_["ipam"], {"table", "json", "yaml"});
    runs(list, [this](const Session& session) { return run_ipam(session, list_outputs_["ipam"]); });
  }

  void add_services() {
    auto* get = command(service_, "get", "One Service: frontends, backends, their state and counters, what is wrong",
                        "weft service get shop/web\n  weft service get web -n shop -o json");
    get->add_option("NAME", service_get_.name, "NAME or NAMESPACE/NAME")->required();
    add_namespace(get, service_get_.namespace_, "Namespace of the Service");
    add_output(get, service_get_.output, {"table", "wide", "json", "yaml"});
    runs(get, [this](const Session& session) { return run_service_get(session, service_get_); });

    auto* trace = command(service_, "trace",
                          "Say which backend a client would get and why, and where the Service's flows are now",
                          "weft service trace --from shop/web-0 --to svc/shop/db\n"
                          "  weft service trace --from 192.0.2.7 --source-port 40000 --to 198.51.100.10 --port 80/TCP\n"
                          "  weft service trace --to svc/shop/web --port 80 --limit 20");
    trace->add_option("--to", trace_.to, "svc/NAMESPACE/NAME, or the address of a frontend")
        ->required()
        ->type_name("SERVICE");
    trace->add_option("--port", trace_.port, "Its port and protocol: 80/TCP, 53/UDP, 80")->type_name("PORT");
    trace
        ->add_option("--from", trace_.from,
                     "The client: NAMESPACE/POD, an address, host, or world (any address outside)")
        ->type_name("WHO");
    trace->add_option("--source-port", trace_.source_port, "The client's port, for Maglev")->type_name("PORT");
    trace->add_flag("--all-flows", trace_.all_flows, "Flows of every client, not only of this one");
    trace->add_option("--limit", trace_.limit, "At most so many flows (default 100)")->type_name("N");
    add_output(trace, trace_.output, {"table", "json", "yaml"});
    runs(trace, [this](const Session& session) { return run_service_trace(session, trace_); });
  }

  void add_policy() {
    auto* explain =
        command(policy_, "explain", "Say whether a connection is allowed, by which rule, and what would have to change",
                "weft policy explain --from shop/web --to svc/shop/db --port 6379/TCP\n"
                "  weft policy explain --from world --to shop/web-0 --port 80");
    const char* who = "NAMESPACE/POD, NAMESPACE/WORKLOAD, an address, world or host";
    explain->add_option("--from", explain_.from, who)->required()->type_name("WHO");
    explain->add_option("--to", explain_.to, fmt::format("{}, or svc/NAMESPACE/NAME", who))
        ->required()
        ->type_name("WHO");
    explain->add_option("--port", explain_.port, "Port and protocol: 80/TCP, 53/UDP, 80")
        ->required()
        ->type_name("PORT");
    add_output(explain, explain_.output, {"table", "json", "yaml"});
    runs(explain, [this](const Session& session) { return run_explain(session, explain_); });
    auto* status = command(policy_, "status",
                           "Which nodes enforce which version of each policy; 1 when one is not in force everywhere",
                           "weft policy status\n  weft policy status shop/web -o json");
    status->add_option("NAME", policy_status_.name, "NAME or NAMESPACE/NAME; all without it");
    add_namespace(status, policy_status_.namespace_, "Policies of this namespace");
    add_output(status, policy_status_.output, {"table", "wide", "json", "yaml", "name"});
    runs(status, [this](const Session& session) { return run_policy_status(session, policy_status_); });
  }

  void add_bgp() {
    auto* bgp = command(&app_, "bgp", "What this node says to routers by BGP, and hears from them",
                        "weft bgp status\n  weft bgp peers\n  weft bgp routes 192.0.2.1 -o json");
    bgp->require_subcommand(1);
    auto* status =
        command(bgp, "status", "The speaker, and what is wrong; 1 when something is", "weft bgp status -o json");
    add_output(status, list_outputs_["bgp status"], {"table", "json", "yaml"});
    runs(status, [this](const Session& session) { return run_bgp_status(session, list_outputs_["bgp status"]); });
    auto* peers =
        command(bgp, "peers", "The routers: sessions, counts of routes, last errors", "weft bgp peers -o json");
    add_output(peers, list_outputs_["bgp peers"], {"table", "wide", "json", "yaml", "name"});
    runs(peers, [this](const Session& session) { return run_bgp_peers(session, list_outputs_["bgp peers"]); });
    auto* routes = command(bgp, "routes", "The routes advertised to routers and received from them",
                           "weft bgp routes\n  weft bgp routes 192.0.2.1 -o wide");
    routes->add_option("ROUTER", bgp_router_, "Of this router only");
    add_output(routes, list_outputs_["bgp routes"], {"table", "wide", "json", "yaml", "name"});
    runs(routes,
         [this](const Session& session) { return run_bgp_routes(session, bgp_router_, list_outputs_["bgp routes"]); });
  }

  void add_bpf() {
    auto* bpf = command(&app_, "bpf", "Look into the kernel maps of the datapath",
                        "weft bpf list               # every map and how full it is\n"
                        "  weft bpf flows list --limit 20\n  weft bpf stats              # counters and drops");
    bpf->require_subcommand(1);
    auto* maps = command(bpf, "list", "Every map: type, entries, memory", "weft bpf list -o wide");
    add_output(maps, list_outputs_["bpf"], {"table", "wide", "json", "yaml", "name"});
    runs(maps, [this](const Session& session) { return run_list(session, "bpf.maps", list_outputs_["bpf"]); });
    add_bpf_action(bpf, "", "stats");
    for (const auto* map : {"policy", "endpoints", "flows", "services", "backends", "identities", "remotes", "nodes",
                            "path-mtus", "egress", "next-hops", "netns", "affinity", "devices", "config"}) {
      auto* group = command(bpf, map, fmt::format("The {} map", map));
      group->require_subcommand(1);
      add_bpf_action(group, map, "list");
      add_bpf_action(group, map, "stats");
    }
    add_bpf_lb(bpf);
  }

  // `weft bpf lb MAP list`: the maps of services, which may be large.
  void add_bpf_lb(CLI::App* bpf) {
    auto* group = command(bpf, "lb", "The maps of services",
                          "weft bpf lb frontends list\n  weft bpf lb backends list --limit 50 -o json");
    group->require_subcommand(1);
    for (const auto& [map, description] : {std::pair{"frontends", "Addresses and ports that are balanced"},
                                           std::pair{"slots", "Runs of backends that new flows choose from"},
                                           std::pair{"backends", "Backends with their state and counters"},
                                           std::pair{"affinity", "Backends that clients are to get again"},
                                           std::pair{"ranges", "Sources that may use restricted Services"},
                                           std::pair{"ports", "Ports at which a lookup is worth while"},
                                           std::pair{"l2", "Addresses answered for by ARP and neighbour discovery"}}) {
      auto* of = command(group, map, description);
      of->require_subcommand(1);
      auto* list = command(of, "list", "Its entries, decoded", fmt::format("weft bpf lb {} list --limit 20", map));
      auto& output = list_outputs_[std::string("bpf lb ") + map];
      add_output(list, output, {"table", "json", "yaml"});
      list->add_option("--limit", bpf_lb_limit_, "At most so many entries, 0 for all (default 1000)")->type_name("N");
      runs(list, [this, &output, name = std::string("lb-") + map](const Session& session) {
        return run_bpf(session, name, "list", bpf_lb_limit_, output);
      });
    }
  }

  void add_bpf_action(CLI::App* parent, const std::string& map, const std::string& action) {
    const bool list = action == "list";
    auto* added = command(
        parent, action,
        list          ? "Its entries, decoded"
        : map.empty() ? "Counters of the datapath"
                      : "Its counters",
        fmt::format("weft bpf {}{}{}{} -o json", map, map.empty() ? "" : " ", action, list ? " --limit 20" : ""));
    auto& output = list_outputs_["bpf " + map + " " + action];
    add_output(added, output, {"table", "json", "yaml"});
    if (list)
      added->add_option("--limit", bpf_limit_, "At most so many entries")->type_name("N")->check(CLI::PositiveNumber);
    runs(added, [this, &output, map, action](const Session& session) {
      return run_bpf(session, map, action, bpf_limit_, output);
    });
  }

  void add_observe() {
    auto* observe = command(&app_, "observe", "Show flows: who talked to whom, the verdict and the rule that decided",
                            "weft observe -f --verdict dropped\n  weft observe --pod shop/web-0 --since 5m\n"
                            "  weft observe --to-label app=db --port 6379 -o json");
    observe->add_flag("-f,--follow", observe_.follow, "Go on with flows as they happen");
    observe->add_option("--last", observe_.last, "The last N flows that match (default 20, with -f none)")
        ->type_name("N");
    observe->add_option("--since", observe_.since, "From this time or age on: 2026-01-02T03:04:05Z, 5m, 1h30m")
        ->type_name("TIME");
    observe->add_option("--until", observe_.until, "Up to this time or age")->type_name("TIME");
    add_output(observe, observe_.output, {"compact", "table", "json"}, "compact");
    const std::string filters = "Filters (one given several times: any of them; different ones: all of them)";
    auto filter = [&](const std::string& flags, const std::string& key, const std::string& description,
                      const std::string& type) {
      auto* option = observe->add_option(flags, observe_.filters[key], description);
      option->allow_extra_args(false)->type_name(type)->group(filters);
      return option;
    };
    for (const auto* end : {"", "from", "to"}) {
      const std::string word = end;
      const std::string flag = word.empty() ? "" : word + "-";
      const std::string key = word.empty() ? "" : word + "_";
      const std::string where = word.empty()     ? "at either end"
                                : word == "from" ? "at the source"
                                                 : "at the destination";
      filter("--" + flag + "pod", key + "pod", "Pod or workload " + where, "[NS/]NAME");
      filter((word.empty() ? "-n,--" : "--") + flag + "namespace", key + "namespace", "Namespace " + where, "NAME");
      filter((word.empty() ? "-l,--" : "--") + flag + "label", key + "label",
             "Label " + where + ", commas join several", "KEY=VALUE");
      filter("--" + flag + "identity", key + "identity", "Identity " + where, "ID");
    }
    filter("--ip", "ip", "Address or network at either end", "IP|CIDR");
    filter("--port", "port", "Port at either end", "PORT[/PROTO]");
    filter("--protocol", "protocol", "Protocol", "PROTO");
    filter("--service", "service", "Service it was sent to", "[NS/]NAME");
    completions_[filter("--verdict", "verdict", "Verdict", "VERDICT")] = {"forwarded", "dropped", "translated"};
    completions_[filter("--type", "type", "Kind of event", "TYPE")] = {"new", "denied", "closed", "translated"};
    filter("--drop-reason", "drop_reason", "Why it was dropped", "REASON");
    runs(observe, [this](const Session& session) { return run_observe(session, observe_); });
  }

  void add_tools() {
    auto* completion =
        command(&app_, "completion", "Print the shell's completion script",
                "source <(weft completion bash)\n  weft completion fish > ~/.config/fish/completions/weft.fish");
    auto* shell = completion->add_option("SHELL", shell_, "bash, zsh or fish")
                      ->required()
                      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    completions_[shell] = {"bash", "zsh", "fish"};
    runs(completion, [this](const Session& session) {
      session.io.out << completion_script(shell_);
      return exit_ok;
    });

    auto* help = command(&app_, "help", "Show the help of a command", "weft help policy explain");
    help->add_option("COMMAND", words_, "The command's words");
    runs(help, [this](const Session& session) { return show_help(session); });
  }

  // Before CLI11 sees them: these words are data.
  int complete(Values words) {
    words.erase(words.begin());
    if (const char* socket = std::getenv("WEFT_SOCKET")) session_.socket = socket;
    if (!words.empty() && words.front() == "--") words.erase(words.begin());
    return print_completions(session_, app_, completions_, words);
  }

  int show_help(const Session& session) {
    CLI::App* at = &app_;
    for (const auto& word : words_) {
      auto* next = subcommand(at, word);
      if (next == nullptr) return session.usage_error(fmt::format("\"{}\" has no command \"{}\"", full_name(at), word));
      at = next;
    }
    session_.io.out << help_of(at);
    return exit_ok;
  }

  Session session_;
  Values given_;  // the arguments as they came
  CLI::App app_{"Weft: container networking, security and observability on this node"};
  Completions completions_;
  ApplyOptions apply_;
  ObjectOptions get_;
  ObjectOptions delete_;
  PushOptions push_;
  ServiceOptions service_get_;
  TraceOptions trace_;
  ExplainOptions explain_;
  PolicyStatusOptions policy_status_;
  ObserveOptions observe_;
  std::map<std::string, std::string> list_outputs_;  // by the command's words
  std::string list_namespace_;
  std::string bgp_router_;
  std::string version_output_;
  std::string status_output_;
  bool of_cluster_ = false;
  ClusterChoice cluster_choice_;
  std::string doctor_output_;
  std::string node_name_;
  std::uint64_t bpf_limit_ = 0;
  std::uint64_t bpf_lb_limit_ = 1000;
  std::string shell_;
  Values words_;
  CLI::App* policy_ = nullptr;
  CLI::App* service_ = nullptr;
};

}  // namespace

int run(const std::vector<std::string>& arguments, const Streams& streams) {
  // Built afresh each time: CLI11's trees remember what they parsed.
  return CommandLine(streams).run(arguments);
}

}  // namespace weft::cli
