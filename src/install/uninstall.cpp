#include "install/uninstall.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <set>
#include <utility>

#include "chart/chart.h"
#include "install/cleanup.h"
#include "install/install.h"
#include "install/nodes.h"
#include "install/own.h"

namespace weft::install {

using kubernetes::Reason;
using nlohmann::json;
using std::chrono::steady_clock;

namespace {

constexpr std::chrono::milliseconds look_again{500};
constexpr const char* agents_annotation = "weft.io/agents";
constexpr const char* agents_pointer = "/metadata/annotations/weft.io~1agents";

const std::string pods_path = in_namespace("api/v1", "pods");

Result<void> take_away(Cluster& cluster, const json& object, const Progress& progress) {
  const auto gone = cluster.erase(path_of(object));
  // A kind that the server does not have any more has no objects either.
  if (!gone) return fail(explain(gone.error(), chart::name_of(object) + " could not be deleted"));
  if (*gone) progress(chart::name_of(object) + " deleted");
  return {};
}

// A pod ends when its kubelet has said so. Those of nodes that are away, and at the end those that are still there, are
// taken out of the API all the same, for the namespace could not go otherwise; their nodes are told, with why. Of a
// machine that comes back the kubelet ends what the API does not have.
struct Ending {
  std::vector<json> waited;
  Unclean stuck;
};

Result<void> give_up(Cluster& cluster, const json& pod, const std::string& why, Ending& ending) {
  const auto name = text_at(pod, "/metadata/name");
  if (const auto gone = cluster.erase(pods_path + "/" + name, true); !gone)
    return fail(explain(gone.error(), "pod " + name + " could not be deleted"));
  if (const auto node = text_at(pod, "/spec/nodeName"); !node.empty()) ending.stuck[node] = why;
  return {};
}

Result<void> look_at_ending(Cluster& cluster, const std::string& query, Ending& ending) {
  auto pods = cluster.list(pods_path, query);
  if (!pods) return fail(explain(pods.error(), "pods could not be listed"));
  ending.waited.clear();
  if (pods->empty()) return {};
  const auto machines = look_at_machines(cluster);
  if (!machines) return fail(explain(machines.error(), "nodes could not be listed"));
  for (auto& pod : *pods) {
    const auto node = text_at(pod, "/spec/nodeName");
    const bool ends = !text_at(pod, "/metadata/deletionTimestamp").empty();
    if (ends && machines->away.contains(node))
      WEFT_CHECK(give_up(cluster, pod, "it is away: its kubelet says nothing", ending));
    else
      ending.waited.push_back(std::move(pod));
  }
  return {};
}

Result<Unclean> end_pods(Cluster& cluster, const std::string& query, std::chrono::seconds limit,
                         const Progress& progress) {
  constexpr std::chrono::seconds a_while{5};
  const auto begun = steady_clock::now();
  bool told = false;
  Ending ending;
  while (true) {
    WEFT_CHECK(look_at_ending(cluster, query, ending));
    if (ending.waited.empty()) return std::move(ending.stuck);
    const auto& first = ending.waited.front();
    const auto name = text_at(first, "/metadata/name");
    const auto waited = steady_clock::now() - begun;
    if (waited >= limit) break;
    if (waited >= a_while && !std::exchange(told, true))
      progress(fmt::format("waiting for {} pods to end, {} on node {} among them, for {} s at most",
                           ending.waited.size(), name, text_at(first, "/spec/nodeName"), limit.count()));
    if (!cluster.pause(look_again)) return fail(ErrorCode::exhausted, "interrupted", "repeat this command to go on");
  }
  for (const auto& pod : ending.waited)
    WEFT_CHECK(give_up(
        cluster, pod,
        fmt::format("its pod {} has not ended within {} s", text_at(pod, "/metadata/name"), limit.count()), ending));
  return std::move(ending.stuck);
}

Result<void> wait_until_gone(Cluster& cluster, const json& object, std::chrono::seconds limit) {
  const auto until = steady_clock::now() + limit;
  while (true) {
    const auto there = cluster.get(path_of(object));
    if (!there && there.error().reason == Reason::not_found) return {};
    if (!there) return fail(explain(there.error(), chart::name_of(object) + " could not be read"));
    if (steady_clock::now() >= until) {
      std::string why;
      for (const auto& condition : list_at(*there, "/status/conditions"))
        if (text_at(condition, "/status") == "True") why += ": " + text_at(condition, "/message");
      return fail(ErrorCode::exhausted,
                  fmt::format("{} is still there after {} s{}", chart::name_of(object), limit.count(), why));
    }
    if (!cluster.pause(look_again)) return fail(ErrorCode::exhausted, "interrupted", "repeat this command to go on");
  }
}

std::string objects_of(const json& definition) {
  return fmt::format("/apis/weft.io/v1alpha1/{}", text_at(definition, "/spec/names/plural"));
}

// Nobody is left who would do what a finalizer waits for.
Result<void> erase_objects(Cluster& cluster, const json& definition, std::size_t& count) {
  const auto objects = cluster.list(objects_of(definition));
  if (!objects && objects.error().reason == Reason::not_found) return {};
  if (!objects) return fail(explain(objects.error(), objects_of(definition) + " could not be listed"));
  for (const auto& object : *objects) {
    const auto space = text_at(object, "/metadata/namespace");
    const auto path = fmt::format("/apis/weft.io/v1alpha1/{}{}{}{}/{}", space.empty() ? "" : "namespaces/", space,
                                  space.empty() ? "" : "/", text_at(definition, "/spec/names/plural"),
                                  text_at(object, "/metadata/name"));
    if (!list_at(object, "/metadata/finalizers").empty()) {
      const auto freed = cluster.merge_patch(path, {{"metadata", {{"finalizers", nullptr}}}});
      if (!freed && freed.error().reason != Reason::not_found)
        return fail(explain(freed.error(), path + " could not be changed"));
    }
    if (const auto gone = cluster.erase(path); !gone)
      return fail(explain(gone.error(), path + " could not be deleted"));
    ++count;
  }
  return {};
}

Result<void> purge(Cluster& cluster, const UninstallOptions& options, const Progress& progress) {
  for (const auto& definition : chart::resource_definitions()) {
    std::size_t count = 0;
    WEFT_CHECK(erase_objects(cluster, definition, count));
    if (count != 0) progress(fmt::format("{} objects of {} deleted", count, text_at(definition, "/spec/names/plural")));
    WEFT_CHECK(take_away(cluster, definition, progress));
  }
  for (const auto& definition : chart::resource_definitions())
    WEFT_CHECK(wait_until_gone(cluster, definition, options.timeout));
  return {};
}

const json* find(const std::vector<json>& objects, std::string_view kind) {
  const auto found = std::ranges::find_if(objects, [&](const json& one) { return one.value("kind", "") == kind; });
  return found == objects.end() ? nullptr : &*found;
}

struct Installed {
  std::vector<json> objects;
  json agents;            // the DaemonSet, as it is or was last
  std::string weftd;      // the agents' configuration
  bool runs = false;      // the DaemonSet is there
  bool can_clean = true;  // after an earlier try there may be nothing left that a cleanup could run in
};

// With the values that it was installed with; of the DaemonSet what it is now, or was when an earlier try took it away:
// the image has to be one that the nodes have.
Result<Installed> what_is_installed(Cluster& cluster) {
  auto values = chart::default_values();
  const auto kept = kept_values(cluster);
  if (!kept) return fail(explain(kept.error(), "what is installed could not be read"));
  for (const auto& [key, value] : *kept) WEFT_CHECK(chart::set_value(values, fmt::format("{}={}", key, value)));
  WEFT_TRY(auto manifests, chart::render(values));
  Installed installed{.objects = std::move(manifests.objects), .agents = {}, .weftd = {}};
  const auto& config = *find(installed.objects, "ConfigMap");
  const auto now = cluster.get(path_of(config));
  if (!now && now.error().reason != Reason::not_found)
    return fail(explain(now.error(), "what is installed could not be read"));
  installed.can_clean = now.has_value();
  installed.weftd = text_at(now ? *now : config, "/data/weftd.yaml");
  installed.agents = *find(installed.objects, "DaemonSet");
  if (auto there = cluster.get(path_of(installed.agents))) {
    installed.agents = std::move(*there);
    installed.runs = true;
  } else if (there.error().reason != Reason::not_found) {
    return fail(explain(there.error(), "what is installed could not be read"));
  } else if (now) {
    const auto last = json::parse(text_at(*now, agents_pointer), nullptr, false);
    if (last.contains("/spec/template/spec/containers/0"_json_pointer)) installed.agents["spec"] = last["spec"];
  }
  return installed;
}

// For a cleanup after the DaemonSet has gone.
Result<void> remember_agents(Cluster& cluster, const Installed& installed) {
  if (!installed.runs || !installed.can_clean) return {};
  const json last{{"spec", {{"template", {{"spec", installed.agents["/spec/template/spec"_json_pointer]}}}}}};
  const auto path = path_of(*find(installed.objects, "ConfigMap"));
  const auto done = cluster.merge_patch(path, {{"metadata", {{"annotations", {{agents_annotation, last.dump()}}}}}});
  if (!done) return fail(explain(done.error(), path + " could not be changed"));
  return {};
}

// What a cleanup needs stays where one is to come.
Result<void> take_objects_away(Cluster& cluster, const Installed& installed, bool keep, const Progress& progress) {
  static const std::set<std::string> elsewhere{"CustomResourceDefinition", "Namespace", "DaemonSet", "Deployment",
                                               "PodDisruptionBudget"};
  for (const auto& object : std::views::reverse(installed.objects)) {
    const auto kind = object.value("kind", "");
    const bool needed =
        kind == "ConfigMap" || (kind == "ServiceAccount" && text_at(object, "/metadata/name") == "weft");
    if (!elsewhere.contains(kind) && !(keep && needed)) WEFT_CHECK(take_away(cluster, object, progress));
  }
  return {};
}

Result<void> erase_all_cleanups(Cluster& cluster) {
  if (const auto erased = erase_cleanups(cluster, false, {}); !erased)
    return fail(explain(erased.error(), "pods of the cleanup could not be deleted"));
  return {};
}

Error what_is_left(const Installed& installed, const Unclean& unclean, const std::set<std::string>& machines,
                   const UninstallOptions& options) {
  const auto* purges = options.purge ? " --purge" : "";
  std::string message =
      unclean.empty() ? "Weft is gone from the cluster, but machines may have it still:"
                      : "Weft is gone from the cluster but for the namespace weft-system with what cleans these nodes:";
  for (const auto& [node, why] : unclean)
    message += fmt::format("\n  {}: {}\n    once it answers: weft uninstall --node {}{}", node, why, node, purges);
  for (const auto& machine : machines)
    message += fmt::format(
        "\n  {}: it has no Node any more, but a WeftNode; as root on it, if there is such a machine: "
        "the command below",
        machine);
  std::string hint;
  if (!unclean.empty())
    hint = fmt::format(
        "once all of them answer: weft uninstall{}, which takes away the rest; for those that never "
        "will: weft uninstall --no-clean{}\n  ",
        purges, purges);
  return {ErrorCode::exhausted, message,
          hint + "on a machine itself, as root: " + cleanup_by_hand(installed.agents, installed.weftd, options.purge)};
}

}  // namespace

Outcome<std::vector<std::string>> what_gets_lost(Cluster& cluster) {
  std::vector<std::string> lost;
  for (const auto& definition : chart::resource_definitions()) {
    const auto kind = text_at(definition, "/spec/names/kind");
    if (kind.starts_with("Weft")) continue;  // what nodes say to each other
    const auto objects = cluster.list(objects_of(definition));
    if (!objects && objects.error().reason == Reason::not_found) continue;
    if (!objects) return std::unexpected(objects.error());
    if (objects->empty()) continue;
    std::string names;
    for (const auto& object : *objects) names += (names.empty() ? "" : ", ") + text_at(object, "/metadata/name");
    lost.push_back(fmt::format("{}: {}", kind, names));
  }
  return lost;
}

Result<void> uninstall(Cluster& cluster, const UninstallOptions& options, const Progress& progress) {
  WEFT_TRY(const auto installed, what_is_installed(cluster));
  const auto machines = without_node(cluster);
  if (!machines) return fail(explain(machines.error(), "WeftNodes could not be listed"));
  WEFT_CHECK(remember_agents(cluster, installed));
  for (const auto* kind : {"PodDisruptionBudget", "Deployment"})
    if (const auto* object = find(installed.objects, kind)) WEFT_CHECK(take_away(cluster, *object, progress));
  WEFT_CHECK(end_pods(cluster, of_component("operator"), options.timeout, progress));
  WEFT_CHECK(take_away(cluster, installed.agents, progress));
  WEFT_TRY(auto unclean, end_pods(cluster, of_component("agent"), options.timeout, progress));
  const bool cleans = options.clean && installed.can_clean;
  if (cleans) {
    const CleanOptions how{.limit = options.timeout, .purge = options.purge, .anew = installed.runs, .only = {}};
    WEFT_TRY(unclean, clean_nodes(cluster, installed.agents, how, std::move(unclean), progress));
  } else {
    unclean.clear();
  }
  WEFT_CHECK(take_objects_away(cluster, installed, !unclean.empty(), progress));
  if (options.purge) WEFT_CHECK(purge(cluster, options, progress));
  if (unclean.empty()) {
    const auto* space = find(installed.objects, "Namespace");
    // Pods of cleanups, as of those that are given up by --no-clean.
    WEFT_CHECK(erase_all_cleanups(cluster));
    WEFT_CHECK(take_away(cluster, *space, progress));
    WEFT_CHECK(wait_until_gone(cluster, *space, options.timeout));
  }
  if (unclean.empty() && (machines->empty() || !cleans)) return {};
  return fail(what_is_left(installed, unclean, *machines, options));
}

Result<void> uninstall_node(Cluster& cluster, const std::string& node, const UninstallOptions& options,
                            const Progress& progress) {
  const auto path = "/api/v1/nodes/" + node;
  if (const auto there = cluster.get(path); !there) return fail(explain(there.error(), "node " + node));
  WEFT_TRY(const auto installed, what_is_installed(cluster));
  if (!installed.can_clean)
    return fail(ErrorCode::not_found, "Weft is not installed: there is no ConfigMap weft-system/weft-config",
                "as root on " + node + ": " + cleanup_by_hand(installed.agents, installed.weftd, options.purge));
  if (installed.runs) {
    const auto labelled = cluster.merge_patch(path, {{"metadata", {{"labels", {{agent_label, no_agent}}}}}});
    if (!labelled) return fail(explain(labelled.error(), "node " + node + " could not be labelled"));
    progress(fmt::format("node {} has the label {}={}: no agent comes there", node, agent_label, no_agent));
  }
  WEFT_TRY(auto unclean,
           end_pods(cluster, fmt::format("{}&fieldSelector=spec.nodeName%3D{}", of_component("agent"), node),
                    options.timeout, progress));
  WEFT_TRY(unclean, clean_nodes(cluster, installed.agents,
                                {.limit = options.timeout, .purge = options.purge, .anew = true, .only = node},
                                std::move(unclean), progress));
  if (unclean.empty()) return {};
  return fail(ErrorCode::exhausted, fmt::format("node {} is not clean: {}", node, unclean.begin()->second),
              fmt::format("once it answers: this command again; or as root on it: {}",
                          cleanup_by_hand(installed.agents, installed.weftd, options.purge)));
}

}  // namespace weft::install
