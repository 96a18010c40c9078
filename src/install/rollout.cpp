#include "install/rollout.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "chart/chart.h"
#include "install/nodes.h"
#include "install/own.h"

namespace weft::install {

using nlohmann::json;
using std::chrono::steady_clock;

namespace {

constexpr std::size_t most_reasons = 10;
constexpr std::chrono::milliseconds look_again{500};

std::string one_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (const auto end = text.rfind('\n'); end != std::string::npos)
    text.erase(0, end + 1);  // of a log the last line says it
  constexpr std::size_t longest = 300;
  return text.size() > longest ? text.substr(0, longest) + "..." : text;
}

// Of the state of a container: {"waiting": {...}} and its like.
std::string why_container(const json& status) {
  const auto ended = [&](const char* where) {
    const std::string at(where);
    const auto message = one_line(text_at(status, (at + "/message").c_str()));
    return fmt::format("{} ended with {}{}{}", text_at(status, "/name"), number_at(status, (at + "/exitCode").c_str()),
                       message.empty() ? "" : ": ", message);
  };
  const auto waiting = text_at(status, "/state/waiting/reason");
  if (waiting == "CrashLoopBackOff" && status.contains(json::json_pointer("/lastState/terminated")))
    return ended("/lastState/terminated");
  if (!waiting.empty() && waiting != "ContainerCreating" && waiting != "PodInitializing") {
    const auto message = one_line(text_at(status, "/state/waiting/message"));
    return fmt::format("{}{}{}", waiting, message.empty() ? "" : ": ", message);
  }
  if (status.contains(json::json_pointer("/state/terminated"))) return ended("/state/terminated");
  if (status.contains(json::json_pointer("/lastState/terminated")) && !status.value("ready", false))
    return ended("/lastState/terminated");
  return {};
}

// The newest warning about an object of this name.
std::string warning_of(const std::vector<json>& events, const std::string& name) {
  std::string newest;
  std::string when;
  for (const auto& event : events) {
    if (text_at(event, "/involvedObject/name") != name || text_at(event, "/type") != "Warning") continue;
    const auto time = std::max(text_at(event, "/lastTimestamp"), text_at(event, "/eventTime"));
    if (!newest.empty() && time < when) continue;
    when = time;
    newest = fmt::format("{}: {}", text_at(event, "/reason"), one_line(text_at(event, "/message")));
  }
  return newest;
}

Outcome<void> explain(Cluster& cluster, std::string_view component, const std::string& owner, Rollout& rollout) {
  const auto pods = cluster.list(in_namespace("api/v1", "pods"), of_component(component));
  if (!pods) return std::unexpected(pods.error());
  const auto events = cluster.list(in_namespace("api/v1", "events")).value_or(std::vector<json>());
  for (const auto& pod : *pods) {
    if (is_true(pod, "Ready") || pod["metadata"].contains("deletionTimestamp")) continue;
    if (rollout.reasons.size() == most_reasons) {
      rollout.reasons.emplace_back("and others");
      break;
    }
    const auto name = text_at(pod, "/metadata/name");
    auto why = why_not_ready(pod);
    if (const auto warning = warning_of(events, name); why.empty()) why = warning;
    if (why.empty()) why = "it has not become ready yet";
    const auto node = text_at(pod, "/spec/nodeName");
    rollout.reasons.push_back(fmt::format("{}{}{}: {}", name, node.empty() ? "" : " on node ", node, why));
  }
  if (static_cast<std::int64_t>(pods->size()) < rollout.wanted) {
    const auto warning = warning_of(events, owner);
    rollout.reasons.push_back(
        fmt::format("{} of {} pods exist{}{}", pods->size(), rollout.wanted, warning.empty() ? "" : ": ", warning));
  }
  return {};
}

// What the status says is of this spec, and not of nothing yet.
bool observed(const json& object) {
  return number_at(object, "/status/observedGeneration") >=
         std::max<std::int64_t>(1, number_at(object, "/metadata/generation"));
}

// Those of the newest revision that are ready. What a status calls ready may be of any: while there are two, it is
// looked who it is.
Outcome<std::int64_t> ready_agents(Cluster& cluster, const json& set) {
  const auto updated = number_at(set, "/status/updatedNumberScheduled");
  const auto ready = number_at(set, "/status/numberReady");
  if (number_at(set, "/status/currentNumberScheduled") <= updated) return std::min(updated, ready);
  const auto revision = text_at(set, "/metadata/annotations/deprecated.daemonset.template.generation");
  const auto pods = cluster.list(in_namespace("api/v1", "pods"), of_component("agent"));
  if (!pods) return std::unexpected(pods.error());
  return std::ranges::count_if(*pods, [&](const json& pod) {
    return is_true(pod, "Ready") && text_at(pod, "/metadata/labels/pod-template-generation") == revision;
  });
}

Outcome<std::int64_t> ready_operators(Cluster& cluster, const json& deployment) {
  constexpr const char* revision = "/metadata/annotations/deployment.kubernetes.io~1revision";
  const auto updated = number_at(deployment, "/status/updatedReplicas");
  const auto ready = number_at(deployment, "/status/readyReplicas");
  if (number_at(deployment, "/status/replicas") <= updated) return std::min(updated, ready);
  const auto sets = cluster.list(in_namespace("apis/apps/v1", "replicasets"), of_component("operator"));
  if (!sets) return std::unexpected(sets.error());
  std::int64_t count = 0;
  for (const auto& set : *sets)
    if (text_at(set, revision) == text_at(deployment, revision)) count += number_at(set, "/status/readyReplicas");
  return count;
}

// Before the controllers have seen what is wanted now there may be more than that.
void count(Rollout& rollout, const json& object, std::int64_t there) {
  rollout.observed = observed(object);
  rollout.there = std::min(there, rollout.wanted);
  rollout.ready = rollout.observed && rollout.there == rollout.wanted;
}

// What is missing on nodes that are away is not waited for: it comes when they do.
Outcome<void> look_at_away(Cluster& cluster, Rollout& agents, Rollout& operators) {
  if (agents.ready && operators.ready) return {};
  const auto machines = look_at_machines(cluster);
  if (!machines) return std::unexpected(machines.error());
  if (machines->away.empty()) return {};
  const auto here = static_cast<std::int64_t>(machines->here.size());
  const auto settle = [&](Rollout& rollout, std::int64_t enough) {
    if (rollout.ready) return;
    rollout.away.assign(machines->away.begin(), machines->away.end());
    rollout.ready = rollout.observed && rollout.there >= enough && enough > 0;
  };
  settle(agents, agents.wanted - static_cast<std::int64_t>(machines->away.size()));
  settle(operators, std::min(operators.wanted, here));
  return {};
}

}  // namespace

std::string why_not_ready(const json& pod) {
  for (const auto* list : {"/status/initContainerStatuses", "/status/containerStatuses"})
    for (const auto& status : list_at(pod, list))
      if (auto why = why_container(status); !why.empty()) return why;
  if (const auto* scheduled = condition(pod, "PodScheduled");
      scheduled != nullptr && text_at(*scheduled, "/status") == "False")
    return "no node takes it: " + one_line(text_at(*scheduled, "/message"));
  return one_line(text_at(pod, "/status/message"));
}

std::string Rollout::summary() const {
  return fmt::format("{}: {} of {} ready{}{}", name, there, wanted,
                     away.empty() ? "" : ", away: ", fmt::join(away, ", "));
}

Outcome<std::vector<Rollout>> look_at_rollouts(Cluster& cluster, bool reasons) {
  Rollout agents{.name = "agents"};
  const auto set = cluster.get(in_namespace("apis/apps/v1", "daemonsets") + "/weft");
  if (!set) return std::unexpected(set.error());
  agents.wanted = number_at(*set, "/status/desiredNumberScheduled");
  const auto ready_there = ready_agents(cluster, *set);
  if (!ready_there) return std::unexpected(ready_there.error());
  count(agents, *set, *ready_there);
  Rollout operators{.name = "operators"};
  const auto deployment = cluster.get(in_namespace("apis/apps/v1", "deployments") + "/weft-operator");
  if (!deployment) return std::unexpected(deployment.error());
  operators.wanted = number_at(*deployment, "/spec/replicas");
  const auto acting = ready_operators(cluster, *deployment);
  if (!acting) return std::unexpected(acting.error());
  count(operators, *deployment, *acting);
  if (const auto looked = look_at_away(cluster, agents, operators); !looked) return std::unexpected(looked.error());
  if (reasons && !agents.ready)
    if (const auto explained = explain(cluster, "agent", "weft", agents); !explained)
      return std::unexpected(explained.error());
  if (reasons && !operators.ready)
    if (const auto explained = explain(cluster, "operator", "weft-operator", operators); !explained)
      return std::unexpected(explained.error());
  return std::vector{std::move(agents), std::move(operators)};
}

Result<void> wait_for_rollouts(Cluster& cluster, std::chrono::seconds limit, const Progress& progress) {
  const auto until = steady_clock::now() + limit;
  std::vector<std::string> told(2);
  while (true) {
    const bool last = steady_clock::now() >= until;
    const auto rollouts = look_at_rollouts(cluster, last);
    if (!rollouts) return fail(rollouts.error().to_error());
    std::string missing;
    for (std::size_t i = 0; i < rollouts->size(); ++i) {
      const auto& rollout = (*rollouts)[i];
      if (const auto now = rollout.summary(); rollout.observed && now != told[i]) progress(told[i] = now);
      if (rollout.ready) continue;
      missing += fmt::format("\n  {}", rollout.summary());
      for (const auto& reason : rollout.reasons) missing += "\n    " + reason;
    }
    if (missing.empty()) return {};
    if (last)
      return fail(ErrorCode::exhausted, fmt::format("not ready after {} s:{}", limit.count(), missing),
                  "nothing has been taken back; `weft status --kubernetes` shows how it goes on");
    if (!cluster.pause(look_again))
      return fail(ErrorCode::exhausted, "interrupted while it was waited for the agents and operators");
  }
}

Result<void> wait_for_definitions(Cluster& cluster, std::chrono::seconds limit) {
  const auto until = steady_clock::now() + limit;
  for (const auto& definition : chart::resource_definitions()) {
    while (true) {
      const auto now = cluster.get(path_of(definition));
      if (!now) return fail(now.error().to_error());
      const auto* established = condition(*now, "Established");
      if (established != nullptr && text_at(*established, "/status") == "True") break;
      if (steady_clock::now() >= until) {
        const auto* names = condition(*now, "NamesAccepted");
        return fail(ErrorCode::exhausted,
                    fmt::format("{} is not served after {} s{}{}", text_at(definition, "/metadata/name"), limit.count(),
                                names == nullptr ? "" : ": ", names == nullptr ? "" : text_at(*names, "/message")));
      }
      if (!cluster.pause(std::chrono::milliseconds(100))) return fail(ErrorCode::exhausted, "interrupted");
    }
  }
  return {};
}

}  // namespace weft::install
