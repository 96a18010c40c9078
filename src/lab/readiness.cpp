#include "lab/readiness.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "api/answer.h"
#include "api/client.h"
#include "lab/condition.h"
#include "lab/inventory.h"
#include "supervise/process.h"
#include "sys/system.h"

namespace weft::lab {
namespace {

using nlohmann::json;

// A weftd that ends this often without ever serving will not serve the next time either.
constexpr int hopeless_failures = 4;

// Calls `done` with the supervisor's status until it says true; false when the deadline came first.
Result<bool> follow(const Layout& layout, Deadline deadline, const std::function<bool(const json&)>& done) {
  WEFT_TRY(auto client, api::Client::connect(layout.supervisor_socket()));
  bool reached = false;
  const auto ended = client.stream("lab.watch", json::object(), [&](const json& status) {
    reached = done(status);
    return !reached && std::chrono::steady_clock::now() < deadline;  // the supervisor speaks twice a second
  });
  if (!ended) return fail(ended.error().error.in("the lab's supervisor"));
  return reached;
}

std::string last_lines(const std::string& path) {
  const auto text = sys::read_file(path);
  if (!text || text->empty()) return "its log " + path + " is empty";
  std::size_t start = text->size() - 1;
  for (int lines = 0; lines < 5 && start != std::string::npos && start > 0; ++lines)
    start = text->rfind('\n', start - 1);
  return "the end of " + path + ":\n" + text->substr(start == std::string::npos ? 0 : start + (start > 0 ? 1 : 0));
}

struct Progressed {
  std::size_t ready = 0;
  std::size_t down = 0;                                      // on nodes that are down by wish: not waited for
  std::vector<std::string> missing;                          // a line each
  std::map<std::string, std::vector<std::string>> warnings;  // what is wrong -> with which pods
};

bool listens_on(const json& pod, const std::vector<ResponderPort>& wanted, Progressed& result, const std::string& key) {
  std::set<std::string> listening;
  std::vector<std::string> warnings;
  for (const auto& port : pod.value("ports", json::array())) {
    const auto name = fmt::format("{}/{}", port.value("port", 0), port.value("protocol", ""));
    listening.insert(name);
    if (const auto error = port.value("error", ""); !error.empty())
      warnings.push_back(fmt::format("nobody answers on port {}: {}", name, error));
  }
  const bool complete = std::ranges::all_of(wanted, [&](const ResponderPort& port) {
    return listening.contains(fmt::format("{}/{}", port.port, to_string(port.protocol)));
  });
  if (complete)
    for (const auto& warning : warnings) result.warnings[warning].push_back(key);
  return complete;
}

// `status` is the supervisor's, `wanted` what the agent has.
Progressed compare(const json& status, const std::vector<PodPlan>& wanted) {
  Progressed result;
  std::map<std::string, const json*> present;
  std::set<std::string> down;
  for (const auto& node : status.at("nodes"))
    if (node.value("down", false)) down.insert(node.value("name", ""));
  for (const auto& pod : status.at("pods")) present[pod.value("namespace", "") + "/" + pod.value("name", "")] = &pod;
  for (const auto& plan : wanted) {
    const auto found = present.find(plan.key());
    if (found == present.end()) {
      result.missing.push_back(plan.key() + ": not begun");
      continue;
    }
    const json& pod = *found->second;
    const auto state = pod.value("state", "");
    const auto error = pod.value("error", "");
    const bool this_one = plan.uid.empty() || pod.value("uid", "") == plan.uid;
    if (down.contains(pod.value("node", ""))) {
      ++result.down;
    } else if (state == "ready" && this_one && listens_on(pod, plan.responders, result, plan.key())) {
      ++result.ready;
      for (const auto& problem : pod.value("problems", json::array()))
        if (problem.is_string()) result.warnings[problem.get<std::string>()].push_back(plan.key());
    } else {
      result.missing.push_back(fmt::format("{}: {}{}{}", plan.key(), state, error.empty() ? "" : ": ", error));
    }
    present.erase(found);
  }
  for (const auto& [key, pod] : present)
    if (!down.contains(pod->value("node", "")))
      result.missing.push_back(key + ": still there, " + pod->value("state", ""));
  return result;
}

void await_changes(const std::vector<PodPlan>& wanted, const Changed& changed, Progressed& now) {
  std::set<std::string> known;
  for (const auto& pod : wanted) known.insert(pod.key());
  for (const auto& pod : changed.added)
    if (!known.contains(pod)) now.missing.push_back(pod + ": not known yet");
  for (const auto& pod : changed.removed)
    if (known.contains(pod)) now.missing.push_back(pod + ": known still");
}

}  // namespace

bool supervisor_answers(const Layout& layout) {
  auto client = api::Client::connect(layout.supervisor_socket());
  return client && client->call("lab.status", json::object());
}

Result<void> wait_for_agents(const Layout& layout, Deadline deadline) {
  std::string missing;
  std::string problem;
  WEFT_TRY(const bool decided, follow(layout, deadline, [&](const json& status) {
             missing.clear();
             bool hopeless = false;
             for (const auto& node : status.at("nodes")) {
               if (node.value("serving", false) || node.value("down", false)) continue;
               const bool lost = node.value("failures", 0) >= hopeless_failures;
               if (missing.empty() || (lost && !hopeless)) {
                 missing = node.value("name", "");
                 problem = node.value("problem", "");
               }
               hopeless = hopeless || lost;
             }
             return missing.empty() || hopeless;
           }));
  if (decided && missing.empty()) return {};
  const auto* node = layout.find_node(missing);
  if (node == nullptr) node = &layout.node();
  const auto of_node = layout.nodes().size() == 1 ? std::string() : " of " + node->name;
  return fail(ErrorCode::unavailable,
              fmt::format("weftd{} does not serve{}{}", of_node, problem.empty() ? "" : ": ", problem),
              last_lines(node->log_file()));
}

Result<void> wait_for_pods(const Layout& layout, Deadline deadline, const Progress& progress, const Changed& changed) {
  auto loaded = load_pods(layout);
  // Without a supervisor nobody starts the agent again.
  while (!loaded && loaded.error().code == ErrorCode::unavailable && std::chrono::steady_clock::now() < deadline &&
         supervise::read_pid_file(layout.supervisor_pid_file())) {
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
    loaded = load_pods(layout);
  }
  WEFT_TRY(auto wanted, std::move(loaded));
  const bool shared = layout.settings().shares_objects();
  Progressed now;
  std::size_t told = 0;
  WEFT_TRY(const bool ready, follow(layout, deadline, [&](const json& status) {
             if (shared)
               if (auto again = load_pods(layout)) wanted = std::move(*again);
             now = compare(status, wanted);
             if (shared) await_changes(wanted, changed, now);
             if (shared && now.missing.empty())
               for (const auto& pod : pods_without_addresses(layout, wanted))
                 now.missing.push_back(pod + ": its node's agent does not know it yet");
             // At most ten lines, however many pods.
             if (now.ready > told && (now.ready - told) * 10 >= wanted.size() && now.ready < wanted.size()) {
               told = now.ready;
               progress(fmt::format("{}/{} pods attached and answering", now.ready, wanted.size()));
             }
             return status.value("synced", false) && now.missing.empty();
           }));
  for (const auto& [warning, pods] : now.warnings)
    progress(fmt::format("warning: {} ({})", warning, fmt::join(pods, ", ")));
  if (ready) {
    progress(fmt::format("{}/{} pods attached and answering", now.ready, wanted.size()));
    if (now.down != 0) progress(fmt::format("{} pods are on nodes that are down: {}", now.down, way_back(layout)));
    return {};
  }
  // The time, of a lab that answers: not `unavailable`.
  return fail(ErrorCode::exhausted,
              fmt::format("{} of {} pods are not ready:\n  {}", now.missing.size(), wanted.size(),
                          fmt::join(now.missing, "\n  ")),
              fmt::format("logs: {} and {}", layout.supervisor_log(),
                          layout.nodes().size() == 1 ? layout.node().log_file() : "weftd.log of each node beside it"));
}

}  // namespace weft::lab
