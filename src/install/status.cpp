#include "install/status.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <map>
#include <optional>

#include "chart/chart.h"
#include "install/nodes.h"
#include "install/own.h"
#include "install/rollout.h"

namespace weft::install {

using kubernetes::Reason;
using nlohmann::json;

namespace {

// "0.1.0" of "registry.test/weft:0.1.0"; a digest says nothing to people.
std::string tag_of(const std::string& image) {
  const auto colon = image.rfind(':');
  const bool tag =
      colon != std::string::npos && image.find('/', colon) == std::string::npos && image.find('@') == std::string::npos;
  return tag ? image.substr(colon + 1) : image;
}

// What is wrong with a node as far as its objects tell.
std::string why_node(const json& node, const json* pod) {
  if (is_away(node)) return "the node is away: its kubelet says nothing";
  if (const auto* network = condition(node, "NetworkUnavailable");
      network != nullptr && text_at(*network, "/status") == "True")
    return text_at(*network, "/message");
  if (pod == nullptr) return "there is no agent";
  if (is_true(*pod, "Ready")) return {};
  const auto why = why_not_ready(*pod);
  return why.empty() ? "the agent is not ready yet" : why;
}

Outcome<json> look_at_nodes(Cluster& cluster) {
  const auto nodes = cluster.list("/api/v1/nodes");
  if (!nodes) return std::unexpected(nodes.error());
  const auto pods = cluster.list(in_namespace("api/v1", "pods"), of_component("agent"));
  if (!pods) return std::unexpected(pods.error());
  std::map<std::string, const json*> agents;
  for (const auto& pod : *pods)
    if (auto& agent = agents[text_at(pod, "/spec/nodeName")]; agent == nullptr || is_true(pod, "Ready")) agent = &pod;
  json list = json::array();
  for (const auto& node : *nodes) {
    if (!has_agent(node)) continue;
    const auto name = text_at(node, "/metadata/name");
    const auto found = agents.find(name);
    const json* pod = found == agents.end() ? nullptr : found->second;
    const auto why = why_node(node, pod);
    list.push_back({{"node", name},
                    {"well", why.empty()},
                    {"agent", pod == nullptr ? "" : text_at(*pod, "/metadata/name")},
                    {"version", pod == nullptr ? "" : tag_of(text_at(*pod, "/spec/containers/0/image"))},
                    {"why", why}});
  }
  return list;
}

Outcome<json> look_at_definitions(Cluster& cluster) {
  json list = json::array();
  for (const auto& definition : chart::resource_definitions()) {
    const auto name = text_at(definition, "/metadata/name");
    const auto now = cluster.get(path_of(definition));
    if (!now && now.error().reason != Reason::not_found) return std::unexpected(now.error());
    const bool served = now && is_true(*now, "Established");
    const auto version = now ? text_at(*now, "/metadata/annotations/weft.io~1version") : std::string();
    list.push_back({{"name", name},
                    {"well", served},
                    {"version", version},
                    {"why", served ? ""
                            : now  ? "the server does not serve it yet"
                                   : "it is missing: weft install makes it"}});
  }
  return list;
}

// "2026-01-02T03:04:05.678901Z", to the second; nothing where it is none.
std::optional<std::chrono::sys_seconds> time_of(std::string_view text) {
  constexpr std::string_view form = "dddd-dd-ddTdd:dd:dd";
  if (text.size() <= form.size() || !text.ends_with('Z')) return std::nullopt;
  for (std::size_t i = 0; i < form.size(); ++i)
    if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i]) return std::nullopt;
  const auto number = [&](std::size_t at, std::size_t size) {
    int value = 0;
    std::from_chars(text.data() + at, text.data() + at + size, value);
    return value;
  };
  const std::chrono::year_month_day day{std::chrono::year(number(0, 4)),
                                        std::chrono::month(static_cast<unsigned>(number(5, 2))),
                                        std::chrono::day(static_cast<unsigned>(number(8, 2)))};
  if (!day.ok()) return std::nullopt;
  return std::chrono::sys_days(day) + std::chrono::hours(number(11, 2)) + std::chrono::minutes(number(14, 2)) +
         std::chrono::seconds(number(17, 2));
}

// The name that operators are given by their configuration, all the same one; empty: each has its pod's.
std::string given_name(Cluster& cluster) {
  const auto config = cluster.get(in_namespace("api/v1", "configmaps/weft-config"));
  if (!config) return {};
  const auto parsed = chart::documents("weft-operator.yaml", text_at(*config, "/data/weft-operator.yaml"));
  return parsed && !parsed->empty() ? text_at(parsed->front(), "/name") : std::string();
}

// Operators hold it as NAME_RUN.
Outcome<bool> is_operator(Cluster& cluster, const std::string& holder) {
  const auto name = holder.substr(0, holder.rfind('_'));
  const auto pods = cluster.list(in_namespace("api/v1", "pods"), of_component("operator"));
  if (!pods) return std::unexpected(pods.error());
  const auto has_it = [&](const json& pod) { return text_at(pod, "/metadata/name") == name; };
  return name != holder && (std::ranges::any_of(*pods, has_it) || given_name(cluster) == name);
}

// What no operator of Weft writes. Who leads renews it each two seconds, for fifteen; the rest is for clocks that
// differ.
std::string why_not_an_operators(const json& lease) {
  constexpr std::int64_t longest = 60;
  constexpr auto most_apart = std::chrono::minutes(5);
  const auto seconds = number_at(lease, "/spec/leaseDurationSeconds");
  if (seconds <= 0 || seconds > longest)
    return fmt::format("it is for {} seconds, and operators take it for 15", seconds);
  const auto text = text_at(lease, "/spec/renewTime");
  const auto renewed = time_of(text);
  if (!renewed) return "it does not say when it was renewed";
  const auto now = std::chrono::system_clock::now();
  if (*renewed > now + most_apart) return fmt::format("it was renewed at {}, which is in the future", text);
  if (*renewed < now - most_apart) return fmt::format("it was renewed at {}, and not since: no operator acts", text);
  return {};
}

struct Lead {
  std::string holder;
  std::string problem;
};

// Whoever has the Lease keeps operators from acting, whether it is one or not.
Outcome<Lead> look_at_lead(Cluster& cluster) {
  const auto lease = cluster.get(in_namespace("apis/coordination.k8s.io/v1", "leases/weft-operator"));
  if (!lease && lease.error().reason == Reason::not_found) return Lead{};
  if (!lease) return std::unexpected(lease.error());
  Lead lead{.holder = text_at(*lease, "/spec/holderIdentity"), .problem = why_not_an_operators(*lease)};
  if (!lead.holder.empty()) {
    const auto known = is_operator(cluster, lead.holder);
    if (!known) return std::unexpected(known.error());
    if (!*known) lead.problem = fmt::format("{} has it, and is none of the operators' pods", lead.holder);
  }
  if (!lead.problem.empty())
    lead.problem = fmt::format(
        "Lease weft-operator: {}. See who wrote it (kubectl -n {} get lease weft-operator -o yaml "
        "--show-managed-fields), "
        "then delete it: operators make it anew",
        lead.problem, chart::weft_namespace);
  return lead;
}

}  // namespace

Outcome<json> cluster_status(Cluster& cluster) {
  const auto server = cluster.get("/version");
  if (!server) return std::unexpected(server.error());
  json status{{"server", text_at(*server, "/gitVersion")}, {"installed", false}, {"well", false}};
  const auto set = cluster.get(in_namespace("apis/apps/v1", "daemonsets/weft"));
  if (!set && set.error().reason == Reason::not_found) return status;
  if (!set) return std::unexpected(set.error());
  status["installed"] = true;
  status["version"] = tag_of(text_at(*set, "/spec/template/spec/containers/0/image"));
  const auto rollouts = look_at_rollouts(cluster, true);
  if (!rollouts) return std::unexpected(rollouts.error());
  bool well = true;
  status["reasons"] = json::array();
  for (const auto& rollout : *rollouts) {
    status[rollout.name] = {{"ready", rollout.there}, {"wanted", rollout.wanted}};
    well = well && rollout.ready;
    for (const auto& reason : rollout.reasons) status["reasons"].push_back(reason);
  }
  const auto lead = look_at_lead(cluster);
  if (!lead) return std::unexpected(lead.error());
  status["operators"]["leader"] = lead->holder;
  if (!lead->problem.empty()) {
    well = false;
    status["reasons"].push_back(lead->problem);
  }
  const auto nodes = look_at_nodes(cluster);
  if (!nodes) return std::unexpected(nodes.error());
  const auto definitions = look_at_definitions(cluster);
  if (!definitions) return std::unexpected(definitions.error());
  const auto all_well = [](const json& list) {
    return std::ranges::all_of(list, [](const json& one) { return one["well"].get<bool>(); });
  };
  status["nodes"] = *nodes;
  status["definitions"] = *definitions;
  status["well"] = well && all_well(*nodes) && all_well(*definitions);
  return status;
}

}  // namespace weft::install
