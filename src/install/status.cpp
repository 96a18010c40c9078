#include "install/status.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "chart/chart.h"
#include "install/rollout.h"

namespace weft::install {

using kubernetes::Reason;
using nlohmann::json;

namespace {

std::string in_namespace(std::string_view group, std::string_view rest) {
  return fmt::format("/{}/namespaces/{}/{}", group, chart::weft_namespace, rest);
}

const json* condition(const json& object, std::string_view type) {
  const auto& all = list_at(object, "/status/conditions");
  const auto found = std::ranges::find_if(all, [&](const json& one) { return text_at(one, "/type") == type; });
  return found == all.end() ? nullptr : &*found;
}

bool is_true(const json& object, std::string_view type) {
  const auto* one = condition(object, type);
  return one != nullptr && text_at(*one, "/status") == "True";
}

// "0.1.0" of "registry.test/weft:0.1.0"; a digest says nothing to people.
std::string tag_of(const std::string& image) {
  const auto colon = image.rfind(':');
  const bool tag =
      colon != std::string::npos && image.find('/', colon) == std::string::npos && image.find('@') == std::string::npos;
  return tag ? image.substr(colon + 1) : image;
}

// What is wrong with a node as far as its objects tell.
std::string why_node(const json& node, const json* pod) {
  if (const auto* ready = condition(node, "Ready"); ready != nullptr && text_at(*ready, "/status") == "Unknown")
    return "the node is away: its kubelet says nothing";
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
  const auto pods = cluster.list(in_namespace("api/v1", "pods"),
                                 "labelSelector=app.kubernetes.io%2Fname%3Dweft,app.kubernetes.io%2Fcomponent%3Dagent");
  if (!pods) return std::unexpected(pods.error());
  std::map<std::string, const json*> agents;
  for (const auto& pod : *pods)
    if (auto& agent = agents[text_at(pod, "/spec/nodeName")]; agent == nullptr || is_true(pod, "Ready")) agent = &pod;
  json list = json::array();
  for (const auto& node : *nodes) {
    const auto system = text_at(node, "/metadata/labels/kubernetes.io~1os");
    if (!system.empty() && system != "linux") continue;
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

std::string leader(Cluster& cluster) {
  const auto lease = cluster.get(in_namespace("apis/coordination.k8s.io/v1", "leases/weft-operator"));
  return lease ? text_at(*lease, "/spec/holderIdentity") : std::string();
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
  status["operators"]["leader"] = leader(cluster);
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
