#include "lab/inspect.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/answer.h"
#include "api/client.h"
#include "lab/inventory.h"
#include "lab/process.h"
#include "sys/netns.h"

namespace weft::lab {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds patience{2};

std::string state_of(const json& status, LabInfo& lab) {
  bool failed = !status.at("agent").value("serving", false);
  for (const auto& pod : status.at("pods")) {
    const auto state = pod.value("state", "");
    lab.pods_ready += state == "ready" ? 1 : 0;
    failed = failed || state == "failed";
    lab.nodes.front().pods.push_back(pod.value("namespace", "") + "/" + pod.value("name", ""));
  }
  lab.pods_total = status.at("pods").size();
  if (failed) return "degraded";
  return lab.pods_ready < lab.pods_total || !status.value("synced", false) ? "starting" : "running";
}

LabInfo inspect(const Layout& layout) {
  LabInfo lab{.name = layout.name(), .state = "stopped"};
  for (const auto& node : layout.nodes()) lab.nodes.push_back({node.name, node.netns, node.socket(), {}});
  const auto supervisor = read_pid_file(layout.supervisor_pid_file());
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

std::string labs_to_json(const std::vector<LabInfo>& labs) {
  json list = json::array();
  for (const auto& lab : labs) {
    json nodes = json::array();
    for (const auto& node : lab.nodes)
      nodes.push_back({{"name", node.name},
                       {"netns", node.netns},
                       {"api", node.socket},
                       {"socket", node.socket},
                       {"pods", node.pods}});
    list.push_back({{"name", lab.name},
                    {"state", lab.state},
                    {"supervisor_pid", lab.supervisor_pid == 0 ? json() : json(lab.supervisor_pid)},
                    {"nodes", std::move(nodes)},
                    {"pods", lab.pods_total},
                    {"pods_ready", lab.pods_ready}});
  }
  return list.dump(2);
}

Result<std::string> find_netns(const Layout& layout, const std::string& target) {
  WEFT_CHECK(check_lab_exists(layout));
  if (target == "world") return layout.world_netns();
  if (target == neighbour_name) return layout.neighbour_netns();
  if (target == "host" || target == layout.node().name) return layout.node().netns;
  const auto slash = target.find('/');
  const auto namespace_ = slash == std::string::npos ? std::string("default") : target.substr(0, slash);
  const auto pod = slash == std::string::npos ? target : target.substr(slash + 1);
  // Without asking the agent: the way into a pod is also needed when the agent is away.
  if (auto name = layout.pod_netns(namespace_, pod); is_netns(name)) return name;
  WEFT_TRY(const auto pods, load_pods(layout.node().socket()));
  const Inventory inventory{pods, {}};
  WEFT_TRY(const auto found, inventory.find_pods(target));
  const PodPlan& first = *found.front();
  if (first.host_network) return layout.node().netns;
  auto name = layout.pod_netns(first.namespace_, first.name);
  if (is_netns(name)) return name;
  return fail(ErrorCode::unavailable, fmt::format("pod {} is not attached yet", first.key()),
              "see `weft lab list` and the log " + layout.supervisor_log());
}

Error execute(const Layout& layout, const std::string& target, const std::vector<std::string>& command) {
  const auto name = find_netns(layout, target);
  if (!name) return name.error();
  const auto netns = sys::open_netns(sys::named_netns_path(*name));
  if (!netns) return netns.error();
  if (::setns(netns->get(), CLONE_NEWNET) != 0) return errno_error("enter the namespace " + *name, errno);
  std::vector<std::string> arguments = command;
  std::vector<char*> list;
  for (auto& argument : arguments) list.push_back(argument.data());
  list.push_back(nullptr);
  ::execvp(list.front(), list.data());
  return errno_error("run " + command.front(), errno);
}

}  // namespace weft::lab
