#include "lab/inspect.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "api/answer.h"
#include "api/client.h"
#include "lab/inventory.h"
#include "lab/placement.h"
#include "lab/programs.h"
#include "supervise/process.h"
#include "sys/netns.h"

namespace weft::lab {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds patience{2};

NodeInfo* find(LabInfo& lab, const std::string& name) {
  const auto found = std::ranges::find(lab.nodes, name, &NodeInfo::name);
  return found == lab.nodes.end() ? nullptr : &*found;
}

void take_beside(const json& status, std::vector<BesideInfo>& all) {
  for (const auto& one : status) {
    const auto known = std::ranges::find(all, one.value("name", ""), &BesideInfo::name);
    if (known == all.end()) continue;
    known->state = one.value("down", false) ? "down" : one.value("pid", 0) != 0 ? "running" : "starting";
  }
}

json beside_to_json(const BesideInfo& one) {
  json told{{"name", one.name}, {"state", one.state}};
  if (!one.address.empty()) told["address"] = one.address;
  return told;
}

json beside_to_json(const std::vector<BesideInfo>& all) {
  json list = json::array();
  for (const auto& one : all) list.push_back(beside_to_json(one));
  return list;
}

std::string state_of(const json& status, LabInfo& lab) {
  bool failed = false;
  std::set<std::string> crashed;
  for (const auto& [name, condition] : status.at("conditions").items())
    if (condition.value("down", "no") == "node") crashed.insert(name);
  for (const auto& node : status.at("nodes")) {
    const bool serving = node.value("serving", false);
    failed = failed || !serving;
    if (NodeInfo* known = find(lab, node.value("name", "")))
      known->state = crashed.contains(known->name) ? "crashed"
                     : node.value("down", false)   ? "down"
                     : serving                     ? "serving"
                                                   : "starting";
  }
  take_beside(status.at("etcd"), lab.members);
  take_beside(status.at("operators"), lab.operators);
  std::size_t running = 0;
  for (const auto& member : status.at("etcd")) running += member.value("pid", 0) != 0 ? 1 : 0;
  if (const auto members = status.at("etcd").size(); members != 0) {
    lab.etcd = running == members ? "running" : 2 * running > members ? "degraded" : "starting";
    failed = failed || running != members;
  }
  for (const auto& pod : status.at("pods")) {
    const auto state = pod.value("state", "");
    const bool ready = state == "ready" && !crashed.contains(pod.value("node", ""));
    lab.pods_ready += ready ? 1 : 0;
    failed = failed || state == "failed";
    if (NodeInfo* node = find(lab, pod.value("node", ""))) {
      node->pods.push_back(pod.value("namespace", "") + "/" + pod.value("name", ""));
      node->pods_ready += ready ? 1 : 0;
    }
  }
  lab.pods_total = status.at("pods").size();
  if (failed) return "degraded";
  return lab.pods_ready < lab.pods_total || !status.value("synced", false) ? "starting" : "running";
}

LabInfo inspect(const Layout& layout) {
  LabInfo lab{.name = layout.name(), .state = "stopped", .settings = layout.settings()};
  for (const auto& node : layout.nodes())
    lab.nodes.push_back({.name = node.name,
                         .netns = node.netns,
                         .socket = node.socket(),
                         .address = node.address_v4,
                         .address_v6 = node.address_v6});
  for (const auto& member : layout.etcd()) lab.members.push_back({.name = member.name, .address = member.address});
  for (const auto& one : layout.operators()) lab.operators.push_back({.name = one.name, .address = {}});
  const auto supervisor = supervise::read_pid_file(layout.supervisor_pid_file());
  if (!supervisor) return lab;
  lab.supervisor_pid = supervisor->pid;
  lab.state = "degraded";
  auto client = api::Client::connect(layout.supervisor_socket());
  if (!client) return lab;
  if (const auto status = client->call("lab.status", json::object(), patience); status && status->is_object())
    lab.state = state_of(*status, lab);
  return lab;
}

bool is_netns(const std::string& name) { return ::access(sys::named_netns_path(name).c_str(), F_OK) == 0; }

}  // namespace

std::vector<LabInfo> list_labs(const Machine& machine) {
  std::vector<LabInfo> labs;
  for (const auto& name : find_labs(machine.roots)) labs.push_back(inspect(machine.layout(name)));
  return labs;
}

namespace {

json lab_to_json(const LabInfo& lab) {
  json nodes = json::array();
  for (const auto& node : lab.nodes)
    nodes.push_back({{"name", node.name},
                     {"netns", node.netns},
                     {"api", node.socket},
                     {"socket", node.socket},
                     {"state", node.state},
                     {"address", node.address.empty() ? json() : json(node.address)},
                     {"address_v6", node.address_v6.empty() ? json() : json(node.address_v6)},
                     {"pods", node.pods},
                     {"pods_ready", node.pods_ready}});
  return {{"name", lab.name},
          {"state", lab.state},
          {"supervisor_pid", lab.supervisor_pid == 0 ? json() : json(lab.supervisor_pid)},
          {"nodes", std::move(nodes)},
          {"store", lab.settings.store},
          {"etcd", lab.etcd.empty() ? json() : json(lab.etcd)},
          {"etcd_members", beside_to_json(lab.members)},
          {"operators", beside_to_json(lab.operators)},
          {"tunnel", lab.settings.tunnel},
          {"tunnel_scope", lab.settings.tunnel_scope},
          {"encryption", lab.settings.encryption},
          {"underlay", to_string(lab.settings.underlay)},
          {"underlay_family", lab.settings.underlay_family},
          {"pods", lab.pods_total},
          {"pods_ready", lab.pods_ready}};
}

}  // namespace

std::string labs_to_json(const std::vector<LabInfo>& labs) {
  json list = json::array();
  for (const auto& lab : labs) list.push_back(lab_to_json(lab));
  return list.dump(2);
}

std::string lab_to_json(const Layout& layout) { return lab_to_json(inspect(layout)).dump(2); }

Result<Place> find_place(const Layout& layout, const std::string& target) {
  WEFT_CHECK(check_lab_exists(layout));
  if (target == "world") return Place{layout.world_netns(), nullptr};
  if (target == neighbour_name) return Place{layout.neighbour_netns(), nullptr};
  if (const auto* node = target == "host" ? &layout.node() : layout.find_node(target)) return Place{node->netns, node};
  const auto slash = target.find('/');
  const auto namespace_ = slash == std::string::npos ? std::string("default") : target.substr(0, slash);
  const auto pod = slash == std::string::npos ? target : target.substr(slash + 1);
  // Without asking the agents: the way into a pod is also needed when they are away.
  if (auto name = layout.pod_netns(namespace_, pod); is_netns(name)) {
    const auto placement = read_placement(layout.placement_file());
    const auto found = placement.find(namespace_ + "/" + pod);
    const auto* node = found == placement.end() ? nullptr : layout.find_node(found->second);
    return Place{std::move(name), node == nullptr ? &layout.node() : node};
  }
  WEFT_TRY(const auto pods, load_pods(layout));
  const Inventory inventory{pods, {}};
  WEFT_TRY(const auto found, inventory.find_pods(target));
  const PodPlan& first = *found.front();
  WEFT_TRY(const auto* node, layout.need_node(first.node));
  if (first.host_network) return Place{node->netns, node};
  auto name = layout.pod_netns(first.namespace_, first.name);
  if (is_netns(name)) return Place{std::move(name), node};
  return fail(ErrorCode::unavailable, fmt::format("pod {} is not attached yet", first.key()),
              "see `weft lab list` and the log " + layout.supervisor_log());
}

Error execute(const Layout& layout, const std::string& target, const std::vector<std::string>& command) {
  const auto place = find_place(layout, target);
  if (!place) return place.error();
  const auto netns = sys::open_netns(sys::named_netns_path(place->netns));
  if (!netns) return netns.error();
  if (place->node != nullptr)
    if (const auto cgroup = cgroup_directory(*place->node); !cgroup.empty()) {
      const Fd file(::open((cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
      if (!file.valid() || ::write(file.get(), "0", 1) != 1) return errno_error("enter the cgroup " + cgroup, errno);
    }
  if (::setns(netns->get(), CLONE_NEWNET) != 0) return errno_error("enter the namespace " + place->netns, errno);
  std::vector<std::string> arguments = command;
  std::vector<char*> list;
  for (auto& argument : arguments) list.push_back(argument.data());
  list.push_back(nullptr);
  ::execvp(list.front(), list.data());
  return errno_error("run " + command.front(), errno);
}

}  // namespace weft::lab
