#include "cli/doctor.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>
#include <thread>
#include <utility>

#include "api/answer.h"
#include "cli/commands.h"
#include "cli/json_access.h"
#include "cli/output.h"
#include "sys/system.h"

namespace weft::cli {
namespace {

using nlohmann::json;
using State = Finding::State;

// docs/kernels.md: older ones lack what the datapath loads with.
constexpr std::pair<int, int> oldest_kernel{6, 1};

// Drops that say that something is set up wrongly, not that somebody sends what he may not.
struct Telling {
  std::string_view reason;
  std::string_view remedy;
};
constexpr std::array<Telling, 13> telling_drops = {{
    {"node-unknown", "see which node has the address: weft node list; its way is missing where it is away for long"},
    {"tunnel-sender",
     "a node that was removed because it was without the store for longer than reclaim_seconds, and still runs: give "
     "it its "
     "way to it, or stop it; or a machine that is no node of the cluster, or a node by an address it does not tell: "
     "weft node list"},
    {"tunnel-source",
     "a node sends with the address of a pod or gateway of another one: see whether both tell the same block or "
     "address, "
     "weft node list; if not, find out what runs on the node that sends"},
    {"path-mtu",
     "somebody forges ICMP errors about the ways between nodes, or a router takes less than 1350 bytes of IPv6: "
     "weft node list -o wide; drop ICMP from outside at the edge of the nodes' network"},
    {"outside-tunnel",
     "where weft health says that a node is configured otherwise, give every node the same tunnel:, tunnel_scope: and "
     "encryption:; where all agree, somebody on the nodes' network forges the addresses of pods: weft observe "
     "--drop-reason outside-tunnel shows which"},
    {"unencrypted", "set encryption: wireguard on every node; weft encryption status shows who has no key"},
    {"bgp",
     "a pod, or a client through a Service, speaks BGP from this node's address: weft observe --drop-reason bgp names "
     "it; "
     "if it may, give it an address of its own by an EgressGateway"},
    {"nat-exhausted", "widen nat_port_min to nat_port_max, or find the pod that opens so many flows: weft observe"},
    {"nat-no-address", "give the uplink an address of that family"},
    {"flow-table", "raise flow_table_entries"},
    {"flow-rate", "see who starts so many flows: weft observe --verdict dropped"},
    {"no-route", "give the node a route to where its pods send, or a default route"},
    {"fragment-unknown", "fragments are lost or reordered before this node: see the MTU of what lies between"},
}};

class Diagnosis {
 public:
  void good(std::string area, std::string what) { add(std::move(area), State::good, std::move(what), {}); }
  void warn(std::string area, std::string what, std::string remedy) {
    add(std::move(area), State::warning, std::move(what), std::move(remedy));
  }
  void wrong(std::string area, std::string what, std::string remedy) {
    add(std::move(area), State::problem, std::move(what), std::move(remedy));
  }
  [[nodiscard]] bool clean(std::size_t since) const {
    return std::all_of(findings_.begin() + static_cast<std::ptrdiff_t>(since), findings_.end(),
                       [](const auto& finding) { return finding.state == State::good; });
  }
  [[nodiscard]] std::size_t size() const { return findings_.size(); }
  std::vector<Finding> take() { return std::move(findings_); }

 private:
  void add(std::string area, State state, std::string what, std::string remedy) {
    findings_.push_back({std::move(area), state, std::move(what), std::move(remedy)});
  }
  std::vector<Finding> findings_;
};

std::optional<std::pair<int, int>> version_of(const std::string& release) {
  int major = 0;
  int minor = 0;
  char dot = 0;
  std::istringstream in(release);
  if (!(in >> major >> dot >> minor) || dot != '.') return std::nullopt;
  return std::pair{major, minor};
}

void judge_kernel(Diagnosis& diagnosis, const HostFacts& host) {
  const auto before = diagnosis.size();
  if (const auto version = version_of(host.release); version && *version < oldest_kernel)
    diagnosis.wrong(
        "kernel", fmt::format("Linux {} is older than {}.{}", host.release, oldest_kernel.first, oldest_kernel.second),
        "boot a newer one; docs/kernels.md says what was tried");
  if (!host.btf)
    diagnosis.wrong("kernel", "there is no /sys/kernel/btf/vmlinux", "boot a kernel built with CONFIG_DEBUG_INFO_BTF");
  if (!host.bpffs) diagnosis.wrong("kernel", "no BPF file system is mounted", "mount -t bpf bpf /sys/fs/bpf");
  if (!host.cgroup2)
    diagnosis.wrong("kernel", "the unified cgroup hierarchy is not mounted",
                    "mount -t cgroup2 none /sys/fs/cgroup; sockets' Services need it");
  if (diagnosis.clean(before))
    diagnosis.good("kernel", fmt::format("Linux {}, BTF, BPF file system, cgroup v2", host.release));
}

void judge_host(Diagnosis& diagnosis, const HostFacts& host, bool agent_serves) {
  if (agent_serves && (!host.forwards_v4 || !host.forwards_v6))
    diagnosis.warn(
        "forwarding",
        fmt::format("the kernel does not forward {}", host.forwards_v6   ? "IPv4"
                                                      : host.forwards_v4 ? "IPv6"
                                                                         : "packets"),
        "something else turned it off (sysctl.d, a firewall's start): packets by the kernel's stack are lost");
  const auto before = diagnosis.size();
  if (!host.plugin)
    diagnosis.warn("plugin", "weft-cni is in none of /opt/cni/bin, /usr/lib/cni, /usr/libexec/cni",
                   "runtimes look there: install it, or link it (docs/cni.md)");
  if (!host.network_list)
    diagnosis.warn("plugin", "no network in /etc/cni/net.d or /etc/containers/networks uses weft-cni",
                   "runtimes attach no container to Weft: write one (docs/cni.md, docs/podman.md)");
  if (diagnosis.clean(before)) diagnosis.good("plugin", "weft-cni is installed, and a network uses it");
}

// Its lease may outlast the connection.
bool without_etcd(const json& cluster) {
  return cluster.is_object() && (!flag(cluster, "joined") || !text(cluster, "unreachable_since").empty());
}

// What keeps what nodes share.
std::string store_of(const json& cluster) {
  const auto store = text(cluster, "kept_in");
  return store.empty() ? "etcd" : store;
}

void judge_cluster(Diagnosis& diagnosis, const AgentFacts& agent) {
  const auto& cluster = member(agent.status, "cluster");
  if (!cluster.is_object()) return;
  if (const auto refused = text(cluster, "refused"); !refused.empty())
    diagnosis.wrong("cluster", refused, "give one of the two another name (node: in weftd.yaml), or stop it");
  else if (without_etcd(cluster))
    diagnosis.wrong(
        "cluster",
        fmt::format("away from {} ({}) since {}: {}", store_of(cluster), cell(cluster, "endpoints"),
                    text(cluster, flag(cluster, "joined") ? "unreachable_since" : "since"),
                    text(cluster, "problem").empty() ? "no answer yet" : text(cluster, "problem")),
        flag(cluster, "forgotten")
            ? fmt::format("nodes that have it have forgotten this one, and send nothing to its pods; see whether {} "
                          "runs and is reached from here: it comes back by itself",
                          store_of(cluster))
            : fmt::format("traffic goes on, changes wait; see whether {} runs and is reached from here",
                          store_of(cluster)));
  else
    diagnosis.good("cluster", fmt::format("{}: joined since {}, {} of {} nodes alive", text(cluster, "name"),
                                          text(cluster, "since"), number(cluster, "alive"), number(cluster, "nodes")));
  for (const auto& block : member(cluster, "blocks"))
    if (!flag(block, "usable"))
      diagnosis.warn("addresses", fmt::format("block {} cannot be given out of now", text(block, "cidr")),
                     "it is usable again once this node has joined");
}

// Whether it answers, and what the probes mean.
void judge_answers(Diagnosis& diagnosis, const AgentFacts& agent, const std::string& area, const std::string& name) {
  for (const auto& health : agent.health) {
    if (text(health, "node") != name) continue;
    // How it is configured is told above, setting by setting.
    if (const auto problem = text(health, "problem"); !problem.empty() && !flag(health, "of_settings"))
      diagnosis.wrong(area, problem, text(health, "remedy"));
    if (const auto note = text(health, "note"); !note.empty()) diagnosis.warn(area, note, "its pods are still sent to");
  }
}

// Nodes that are configured otherwise than this one lose each other's packets.
void judge_settings(Diagnosis& diagnosis, const std::string& area, const json& node) {
  for (const auto& one : member(node, "differences"))
    diagnosis.wrong(area,
                    fmt::format("is configured with {}: {}, this node with {}", text(one, "setting"),
                                text(one, "there"), text(one, "here")),
                    fmt::format("give every node the same {}:, one after the other", text(one, "setting")));
}

void judge_clock(Diagnosis& diagnosis, const std::string& area, const json& node) {
  const auto& seconds = member(node, "clock_difference_seconds");
  if (!seconds.is_number_integer() || seconds == 0) return;
  const auto by = seconds.get<std::int64_t>();
  diagnosis.warn(
      area,
      fmt::format("has a clock that is {} s or more {} this node's", std::abs(by), by > 0 ? "ahead of" : "behind"),
      "set both by NTP; times in logs, certificates and handshakes are compared across nodes");
}

void judge_nodes(Diagnosis& diagnosis, const AgentFacts& agent) {
  if (!agent.nodes.is_array()) return;
  for (const auto& node : agent.nodes) {
    if (flag(node, "self")) continue;
    const auto name = text(node, "name");
    const auto area = "node " + name;
    const auto before = diagnosis.size();
    judge_settings(diagnosis, area, node);
    judge_answers(diagnosis, agent, area, name);
    if (text(node, "state") != "alive" && diagnosis.clean(before))
      diagnosis.warn(area, "is away: its agent, its machine or its way to what nodes share is down",
                     "see there: weft doctor, weftd's log; its pods are still sent to");
    if (const auto problem = text(node, "problem"); !problem.empty())
      diagnosis.wrong(area, problem,
                      "weft node list shows the addresses and blocks that nodes tell; weft doctor there says more");
    if (const auto inside = number(node, "path_mtu/inside"); inside != 0)
      diagnosis.warn(area,
                     fmt::format("a router on the way takes packets of {} bytes: pods that send {} are told {}, each "
                                 "first one is lost",
                                 number(node, "path_mtu/packet"), number(node, "mtu"), inside),
                     fmt::format("give the routers a larger MTU, or every node mtu: {}", inside));
    judge_clock(diagnosis, area, node);
    if (diagnosis.clean(before)) diagnosis.good(area, fmt::format("alive, reached by way {}", text(node, "way")));
  }
}

// Of nodes that were removed, whose packets are dropped as those of strangers.
std::string removed_nodes(const json& status) {
  std::string names;
  for (const auto& node : member(status, "cluster/removed"))
    names += fmt::format("{}{} at {}, removed {}{}", names.empty() ? "" : "; ", text(node, "name"),
                         cell(node, "addresses"), text(node, "removed"),
                         text(node, "silent_since").empty() ? "" : ", silent since " + text(node, "silent_since"));
  return names;
}

// Those of late only: what was wrong days ago is not what is wrong now.
void judge_drops(Diagnosis& diagnosis, const json& status) {
  const auto within = number(status, "datapath/drops_recent_seconds");
  for (const auto& drop : member(status, "datapath/drops")) {
    const auto known = std::ranges::find(telling_drops, text(drop, "reason"), &Telling::reason);
    const auto packets = number(drop, "recent");
    if (known == telling_drops.end() || packets == 0) continue;
    std::string remedy(known->remedy);
    if (const auto names = removed_nodes(status); known->reason == "tunnel-sender" && !names.empty())
      remedy = fmt::format(
          "a node that was removed may still run and send ({}): give it its way to the store, or stop it; "
          "else {}",
          names, remedy);
    diagnosis.warn("drops",
                   fmt::format("{} packets dropped as {} in the last {}: {}", packets, known->reason,
                               duration_text(within), text(drop, "meaning")),
                   remedy);
  }
}

// Of the agent's problems those that are told with the node or the cluster that they are about.
std::set<std::string> what_is_told_below(const AgentFacts& agent) {
  std::set<std::string> texts;
  for (const auto& health : agent.health) texts.insert(text(health, "problem"));
  const auto& cluster = member(agent.status, "cluster");
  texts.insert(text(cluster, "refused"));
  if (without_etcd(cluster))
    for (const auto& problem : member(agent.status, "problems"))
      if (const auto words = cell(problem);
          words.starts_with(store_of(cluster) + " (") && words.find(") is away since ") != words.npos)
        texts.insert(words);
  return texts;
}

void judge_agent(Diagnosis& diagnosis, const AgentFacts& agent) {
  const auto before = diagnosis.size();
  const auto told_below = what_is_told_below(agent);
  const auto& remedies = member(agent.status, "remedies");
  for (const auto& problem : member(agent.status, "problems")) {
    if (told_below.contains(cell(problem)) ||
        cell(problem).find(" configured otherwise than this one: ") != std::string::npos)
      continue;
    const auto remedy = remedies.find(cell(problem));
    diagnosis.wrong("agent", cell(problem), remedy == remedies.end() ? "" : cell(*remedy));
  }
  for (const auto& pod : member(agent.status, "unattached"))
    diagnosis.wrong("pods",
                    fmt::format("pod {}/{} has no network, tried {} times since {}: {}", text(pod, "namespace"),
                                text(pod, "pod"), number(pod, "tries"), text(pod, "since"), text(pod, "reason")),
                    text(pod, "remedy"));
  if (const auto failed = number(agent.status, "reconcile/failed"); failed != 0)
    diagnosis.wrong(
        "agent", fmt::format("{} changes of the kernel failed: {}", failed, cell(agent.status, "reconcile/last_error")),
        "they are tried again; weftd's log has more");
  for (const auto& uplink : member(agent.status, "uplinks"))
    if (!flag(uplink, "attached"))
      diagnosis.wrong("agent", fmt::format("the uplink {} has no program", text(uplink, "name")),
                      "weftd's log says why");
  if (member(agent.status, "uplinks").empty())
    diagnosis.warn("agent", "the node has no uplink",
                   "give it a default route, or name its devices: devices: in weftd.yaml");
  if (diagnosis.clean(before))
    diagnosis.good("agent", fmt::format("weftd {} on {}, {} pods attached", text(agent.status, "version"),
                                        text(agent.status, "node"), number(agent.status, "pods/attached")));
  judge_cluster(diagnosis, agent);
  judge_nodes(diagnosis, agent);
  judge_drops(diagnosis, agent.status);
}

bool mounted(std::string_view type) {
  const auto mounts = sys::read_file("/proc/self/mounts");
  return !mounts || mounts->find(fmt::format(" {} ", type)) != std::string::npos;
}

bool forwards(const char* sysctl) {
  const auto value = sys::read_sysctl(sysctl);
  return !value || *value != "0";
}

bool some_file_names(const char* directory, std::string_view word) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error))
    if (const auto all = sys::read_file(entry->path()); all && all->find(word) != std::string::npos) return true;
  return false;
}

AgentFacts ask_agent(const Session& session) {
  AgentFacts facts;
  auto status = session.call("status", json::object());
  if (!status) {
    facts.unreachable = status.error().error;
    return facts;
  }
  facts.status = std::move(*status);
  // A node by itself refuses these.
  if (const auto nodes = session.call("node.list", json::object())) facts.nodes = member(*nodes, "items");
  if (const auto health = session.call("node.health", json::object())) facts.health = member(*health, "items");
  return facts;
}

}  // namespace

std::string_view to_string(Finding::State state) {
  return state == State::good ? "good" : state == State::warning ? "warning" : "problem";
}

HostFacts read_host_facts() {
  HostFacts facts;
  utsname names{};
  if (::uname(&names) == 0) facts.release = names.release;
  const auto there = [](const char* path) { return ::access(path, F_OK) == 0; };
  facts.btf = there("/sys/kernel/btf/vmlinux");
  facts.bpffs = mounted("bpf");
  facts.cgroup2 = mounted("cgroup2");
  facts.forwards_v4 = forwards("net/ipv4/ip_forward");
  facts.forwards_v6 = forwards("net/ipv6/conf/all/forwarding");
  facts.plugin = there("/opt/cni/bin/weft-cni") || there("/usr/lib/cni/weft-cni") || there("/usr/libexec/cni/weft-cni");
  facts.network_list =
      some_file_names("/etc/cni/net.d", "weft-cni") || some_file_names("/etc/containers/networks", "weft-cni");
  return facts;
}

std::vector<Finding> diagnose(const HostFacts& host, const AgentFacts& agent, bool of_host) {
  Diagnosis diagnosis;
  judge_kernel(diagnosis, host);
  if (agent.unreachable)
    diagnosis.wrong("agent", agent.unreachable->message, agent.unreachable->hint);
  else
    judge_agent(diagnosis, agent);
  if (of_host) judge_host(diagnosis, host, !agent.unreachable);
  return diagnosis.take();
}

namespace {

bool has_problem(const std::vector<Finding>& findings) {
  return std::ranges::any_of(findings, [](const auto& one) { return one.state == State::problem; });
}

// An agent that has just started has not joined, has attached nothing and was answered by nobody: what is wrong then
// may be over within moments. It is asked again until nothing is wrong, or it has had its time.
std::vector<Finding> examine(const Session& session) {
  constexpr auto settling = std::chrono::seconds(15);
  constexpr auto pause = std::chrono::milliseconds(500);
  const auto host = read_host_facts();
  std::optional<std::chrono::steady_clock::time_point> until;
  while (true) {
    const auto agent = ask_agent(session);
    auto findings = diagnose(host, agent, session.lab.empty());
    const auto now = std::chrono::steady_clock::now();
    const bool young = member(agent.status, "uptime_seconds").is_number() &&
                       std::chrono::seconds(number(agent.status, "uptime_seconds")) < settling;
    if (!young || !has_problem(findings)) return findings;
    if (!until) {
      until = now + settling - std::chrono::seconds(number(agent.status, "uptime_seconds"));
      if (session.io.err_tty) session.io.err << "weft: the agent has just started; waiting for what is under way\n";
    }
    if (now >= *until) return findings;
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace

int run_doctor(const Session& session, const std::string& output) {
  const auto findings = examine(session);
  const int code = has_problem(findings) ? exit_failed : exit_ok;
  if (output != "table") {
    auto items = json::array();
    for (const auto& one : findings)
      items.push_back(
          {{"area", one.area}, {"state", to_string(one.state)}, {"what", one.what}, {"remedy", one.remedy}});
    output == "json" ? print_json(session, items) : print_yaml(session, items);
    return code;
  }
  std::size_t width = 0;
  for (const auto& one : findings) width = std::max(width, one.area.size());
  for (const auto& one : findings) {
    const auto* mark = one.state == State::good ? "✓" : one.state == State::warning ? "!" : "✗";
    const int colour = one.state == State::good ? 32 : one.state == State::warning ? 33 : 31;
    const auto shown = session.io.colour ? fmt::format("\x1b[{}m{}\x1b[0m", colour, mark) : std::string(mark);
    session.io.out << fmt::format("{} {:<{}}  {}\n", shown, one.area, width, one.what);
    if (!one.remedy.empty()) session.io.out << fmt::format("  {:<{}}    {}\n", "", width, one.remedy);
  }
  return code;
}

}  // namespace weft::cli
