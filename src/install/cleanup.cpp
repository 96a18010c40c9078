#include "install/cleanup.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "chart/chart.h"
#include "install/install.h"

namespace weft::install {

using nlohmann::json;
using std::chrono::steady_clock;

namespace {

std::string pods_path() { return fmt::format("/api/v1/namespaces/{}/pods", chart::weft_namespace); }

bool is_up(const json& node) {
  for (const auto& condition : list_at(node, "/status/conditions"))
    if (text_at(condition, "/type") == "Ready") return text_at(condition, "/status") != "Unknown";
  return true;
}

// Weft runs nowhere else.
bool is_linux(const json& node) {
  const auto system = text_at(node, "/metadata/labels/kubernetes.io~1os");
  return system.empty() || system == "linux";
}

struct Cleaning {
  std::map<std::string, std::string> waited;  // node by the pod's name
  std::vector<std::string> unclean;
};

Result<void> begin(Cluster& cluster, const json& daemon_set, const std::vector<json>& nodes, Cleaning& cleaning,
                   const Progress& progress) {
  for (const auto& node : nodes) {
    const auto name = text_at(node, "/metadata/name");
    if (!is_linux(node)) continue;
    if (!is_up(node)) {
      progress(fmt::format("node {} is away and is not cleaned", name));
      cleaning.unclean.push_back(name);
      continue;
    }
    const auto pod = cleanup_pod(daemon_set, name);
    const auto made = cluster.create(pods_path(), pod);
    if (!made && made.error().reason != kubernetes::Reason::exists)
      return fail(explain(made.error(), fmt::format("the pod that cleans node {} could not be made", name)));
    cleaning.waited[text_at(pod, "/metadata/name")] = name;
  }
  return {};
}

// What has ended is waited for no more.
Result<void> look(Cluster& cluster, Cleaning& cleaning, bool last, const Progress& progress) {
  const auto pods = cluster.list(pods_path(), "labelSelector=app.kubernetes.io%2Fcomponent%3Dcleanup");
  if (!pods) return fail(explain(pods.error(), "pods could not be listed"));
  for (const auto& pod : *pods) {
    const auto found = cleaning.waited.find(text_at(pod, "/metadata/name"));
    if (found == cleaning.waited.end()) continue;
    const auto phase = text_at(pod, "/status/phase");
    if (phase == "Succeeded") {
      progress(fmt::format("node {} is clean", found->second));
      cleaning.waited.erase(found);
    } else if (phase == "Failed" || last) {
      const auto why = why_not_ready(pod);
      progress(
          fmt::format("node {} is not clean: {}", found->second, why.empty() ? "its pod has not run: " + phase : why));
      cleaning.unclean.push_back(found->second);
      cleaning.waited.erase(found);
    }
  }
  return {};
}

}  // namespace

json cleanup_pod(const json& daemon_set, const std::string& node) {
  json spec = daemon_set.at(json::json_pointer("/spec/template/spec"));
  json container = spec["containers"][0];
  for (const auto* probe : {"startupProbe", "livenessProbe", "readinessProbe"}) container.erase(probe);
  container["name"] = "cleanup";
  container["command"] = {"weftd", "--cleanup", "--config", "/etc/weft/weftd.yaml"};
  container["terminationMessagePolicy"] = "FallbackToLogsOnError";
  spec["containers"] = json::array({container});
  spec["restartPolicy"] = "Never";
  spec["nodeName"] = node;
  spec.erase("nodeSelector");
  spec.erase("serviceAccount");
  spec["automountServiceAccountToken"] = false;
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata",
           {{"name", "weft-cleanup-" + node},
            {"namespace", chart::weft_namespace},
            {"labels", {{"app.kubernetes.io/name", "weft"}, {"app.kubernetes.io/component", "cleanup"}}},
            {"annotations", {{"container.apparmor.security.beta.kubernetes.io/cleanup", "unconfined"}}}}},
          {"spec", spec}};
}

Result<std::vector<std::string>> clean_nodes(Cluster& cluster, const json& daemon_set, std::chrono::seconds limit,
                                             const Progress& progress) {
  const auto nodes = cluster.list("/api/v1/nodes");
  if (!nodes) return fail(explain(nodes.error(), "nodes could not be listed"));
  // Of an earlier try.
  const auto old = cluster.list(pods_path(), "labelSelector=app.kubernetes.io%2Fcomponent%3Dcleanup");
  if (!old) return fail(explain(old.error(), "pods could not be listed"));
  for (const auto& pod : *old)
    if (text_at(pod, "/status/phase") == "Failed")
      if (const auto gone = cluster.erase(pods_path() + "/" + text_at(pod, "/metadata/name")); !gone)
        return fail(explain(gone.error(), "a pod of an earlier try could not be deleted"));
  Cleaning cleaning;
  WEFT_CHECK(begin(cluster, daemon_set, *nodes, cleaning, progress));
  const auto until = steady_clock::now() + limit;
  while (!cleaning.waited.empty()) {
    const bool last = steady_clock::now() >= until;
    WEFT_CHECK(look(cluster, cleaning, last, progress));
    if (last) break;
    if (!cleaning.waited.empty() && !cluster.pause(std::chrono::milliseconds(500)))
      return fail(ErrorCode::exhausted, "interrupted", "repeat this command to go on");
  }
  for (const auto& [pod, node] : cleaning.waited) cleaning.unclean.push_back(node);
  std::ranges::sort(cleaning.unclean);
  return std::move(cleaning.unclean);
}

}  // namespace weft::install
