#include "install/uninstall.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <set>

#include "chart/chart.h"
#include "install/cleanup.h"
#include "install/install.h"

namespace weft::install {

using kubernetes::Reason;
using nlohmann::json;
using std::chrono::steady_clock;

namespace {

constexpr std::chrono::milliseconds look_again{500};

std::string pods_path() { return fmt::format("/api/v1/namespaces/{}/pods", chart::weft_namespace); }

Result<void> take_away(Cluster& cluster, const json& object, const Progress& progress) {
  const auto gone = cluster.erase(path_of(object));
  // A kind that the server does not have any more has no objects either.
  if (!gone) return fail(explain(gone.error(), chart::name_of(object) + " could not be deleted"));
  if (*gone) progress(chart::name_of(object) + " deleted");
  return {};
}

Result<void> wait_for_no_pods(Cluster& cluster, const std::string& component, std::chrono::seconds limit) {
  const auto until = steady_clock::now() + limit;
  while (true) {
    const auto pods = cluster.list(
        pods_path(),
        fmt::format("labelSelector=app.kubernetes.io%2Fname%3Dweft,app.kubernetes.io%2Fcomponent%3D{}", component));
    if (!pods) return fail(explain(pods.error(), "pods could not be listed"));
    if (pods->empty()) return {};
    if (steady_clock::now() >= until) {
      const auto& first = pods->front();
      return fail(
          ErrorCode::exhausted,
          fmt::format("{} pods are still there after {} s, {} on node {} among them", pods->size(), limit.count(),
                      text_at(first, "/metadata/name"), text_at(first, "/spec/nodeName")),
          "where the node is gone for good: kubectl -n weft-system delete pod NAME --force; then repeat this command");
    }
    if (!cluster.pause(look_again)) return fail(ErrorCode::exhausted, "interrupted", "repeat this command to go on");
  }
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

// With the values that it was installed with; of the DaemonSet, where it is there still, what it is now.
Result<std::vector<json>> what_is_installed(Cluster& cluster) {
  auto values = chart::default_values();
  const auto kept = kept_values(cluster);
  if (!kept) return fail(explain(kept.error(), "what is installed could not be read"));
  for (const auto& [key, value] : *kept) WEFT_CHECK(chart::set_value(values, fmt::format("{}={}", key, value)));
  WEFT_TRY(auto manifests, chart::render(values));
  for (auto& object : manifests.objects)
    if (object["kind"] == "DaemonSet")
      if (auto now = cluster.get(path_of(object))) object = std::move(*now);
  return std::move(manifests.objects);
}

const json* find(const std::vector<json>& objects, std::string_view kind) {
  const auto found = std::ranges::find_if(objects, [&](const json& one) { return one.value("kind", "") == kind; });
  return found == objects.end() ? nullptr : &*found;
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
  WEFT_TRY(const auto objects, what_is_installed(cluster));
  for (const auto* kind : {"PodDisruptionBudget", "Deployment"})
    if (const auto* object = find(objects, kind)) WEFT_CHECK(take_away(cluster, *object, progress));
  WEFT_CHECK(wait_for_no_pods(cluster, "operator", options.timeout));
  const auto* agents = find(objects, "DaemonSet");
  const auto* space = find(objects, "Namespace");
  // After an earlier try there may be nothing left that a cleanup could run in.
  const bool installed = static_cast<bool>(cluster.get(path_of(*find(objects, "ConfigMap"))));
  WEFT_CHECK(take_away(cluster, *agents, progress));
  WEFT_CHECK(wait_for_no_pods(cluster, "agent", options.timeout));
  std::vector<std::string> unclean;
  if (options.clean && installed) {
    WEFT_TRY(unclean, clean_nodes(cluster, *agents, options.timeout, progress));
  }
  for (const auto& object : std::views::reverse(objects)) {
    const auto kind = object.value("kind", "");
    static const std::set<std::string> elsewhere{"CustomResourceDefinition", "Namespace", "DaemonSet", "Deployment",
                                                 "PodDisruptionBudget"};
    if (!elsewhere.contains(kind)) WEFT_CHECK(take_away(cluster, object, progress));
  }
  if (options.purge) WEFT_CHECK(purge(cluster, options, progress));
  WEFT_CHECK(take_away(cluster, *space, progress));
  WEFT_CHECK(wait_until_gone(cluster, *space, options.timeout));
  if (unclean.empty()) return {};
  return fail(ErrorCode::exhausted,
              fmt::format("Weft is gone from the cluster, but {} of its nodes could not be cleaned: {}", unclean.size(),
                          fmt::join(unclean, ", ")),
              "on each of them: weftd --cleanup, or a restart of the node; docs/kubernetes-install.md, \"Uninstall\"");
}

}  // namespace weft::install
