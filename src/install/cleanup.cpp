#include "install/cleanup.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "chart/chart.h"
#include "install/install.h"
#include "install/nodes.h"
#include "install/own.h"

namespace weft::install {

using nlohmann::json;
using std::chrono::steady_clock;

namespace {

const std::string pods_path = in_namespace("api/v1", "pods");

// Directories that the container has mounted go by another way to them.
constexpr std::array<std::array<const char*, 3>, 2> parents{
    {{"host-state", "/var/lib", "/host/var/lib"}, {"host-run", "/run", "/host/run"}}};
constexpr const char* purging =
    "weftd --cleanup --purge --config /etc/weft/weftd.yaml && "
    "{ busybox rmdir /host/var/lib/weft /host/run/weft 2>/dev/null; true; }";

struct Cleaning {
  std::map<std::string, std::string> waited;  // node by the pod's name
  Unclean unclean;
};

Result<void> begin(Cluster& cluster, const json& daemon_set, const CleanOptions& options, Cleaning& cleaning,
                   const Progress& progress) {
  const auto machines = look_at_machines(cluster);
  if (!machines) return fail(explain(machines.error(), "nodes could not be listed"));
  const auto asked = [&](const std::string& name) { return options.only.empty() || options.only == name; };
  for (const auto& name : machines->away)
    if (asked(name)) cleaning.unclean.emplace(name, "it is away: its kubelet says nothing");
  for (const auto& [name, why] : cleaning.unclean) progress(fmt::format("node {} is not cleaned: {}", name, why));
  for (const auto& name : machines->here) {
    if (!asked(name) || cleaning.unclean.contains(name)) continue;
    const auto pod = cleanup_pod(daemon_set, name, options.purge);
    const auto made = cluster.create(pods_path, pod);
    if (made || made.error().reason == kubernetes::Reason::exists) {
      cleaning.waited[text_at(pod, "/metadata/name")] = name;
      continue;
    }
    if (made.error().reason == kubernetes::Reason::unavailable || made.error().reason == kubernetes::Reason::deadline)
      return fail(explain(made.error(), fmt::format("the pod that cleans node {} could not be made", name)));
    // What keeps one from being made must not keep the others.
    cleaning.unclean[name] = "its pod could not be made: " + made.error().message;
    progress(fmt::format("node {} is not clean: {}", name, cleaning.unclean[name]));
  }
  return {};
}

// What has ended is waited for no more.
Result<void> look(Cluster& cluster, Cleaning& cleaning, bool last, const Progress& progress) {
  const auto pods = cluster.list(pods_path, of_component("cleanup"));
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
      auto& told = cleaning.unclean[found->second];
      told = !why.empty() ? why : fmt::format("its pod has not ended: {}", phase.empty() ? "Pending" : phase);
      progress(fmt::format("node {} is not clean: {}", found->second, told));
      cleaning.waited.erase(found);
    }
  }
  return {};
}

// As containerd knows it.
std::string full_name(const std::string& image) {
  const auto slash = image.find('/');
  if (slash == std::string::npos) return "docker.io/library/" + image;
  const auto first = image.substr(0, slash);
  const bool host = first == "localhost" || first.find_first_of(".:") != std::string::npos;
  return host ? image : "docker.io/" + image;
}

}  // namespace

json cleanup_pod(const json& daemon_set, const std::string& node, bool purge) {
  json spec = daemon_set.at(json::json_pointer("/spec/template/spec"));
  json container = spec["containers"][0];
  for (const auto* probe : {"startupProbe", "livenessProbe", "readinessProbe"}) container.erase(probe);
  container["name"] = "cleanup";
  container["command"] = {"weftd", "--cleanup", "--config", "/etc/weft/weftd.yaml"};
  if (purge) {
    container["command"] = {"sh", "-c", purging};
    for (const auto& [name, path, place] : parents) {
      spec["volumes"].push_back({{"name", name}, {"hostPath", {{"path", path}, {"type", "Directory"}}}});
      container["volumeMounts"].push_back({{"name", name}, {"mountPath", place}});
    }
  }
  container["terminationMessagePolicy"] = "FallbackToLogsOnError";
  spec["containers"] = json::array({container});
  spec["restartPolicy"] = "Never";
  spec["nodeName"] = node;
  // The node's kubelet holds a pod to them, too.
  for (const auto* chooses : {"nodeSelector", "affinity"}) spec.erase(chooses);
  spec.erase("serviceAccount");
  spec["automountServiceAccountToken"] = false;
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata",
           // Of another name: one that has run without it has left the rest.
           {{"name", (purge ? "weft-purge-" : "weft-cleanup-") + node},
            {"namespace", chart::weft_namespace},
            {"labels", {{"app.kubernetes.io/name", "weft"}, {"app.kubernetes.io/component", "cleanup"}}},
            {"annotations", {{"container.apparmor.security.beta.kubernetes.io/cleanup", "unconfined"}}}}},
          {"spec", spec}};
}

Outcome<void> erase_cleanups(Cluster& cluster, bool failed_only, const std::string& node) {
  const auto pods = cluster.list(pods_path, of_component("cleanup"));
  if (!pods) return std::unexpected(pods.error());
  for (const auto& pod : *pods)
    if ((node.empty() || text_at(pod, "/spec/nodeName") == node) &&
        (!failed_only || text_at(pod, "/status/phase") == "Failed"))
      if (const auto gone = cluster.erase(pods_path + "/" + text_at(pod, "/metadata/name"), true); !gone)
        return std::unexpected(gone.error());
  return {};
}

Result<Unclean> clean_nodes(Cluster& cluster, const json& daemon_set, const CleanOptions& options, Unclean unclean,
                            const Progress& progress) {
  if (const auto erased = erase_cleanups(cluster, !options.anew, options.only); !erased)
    return fail(explain(erased.error(), "pods of an earlier try could not be deleted"));
  Cleaning cleaning{.waited = {}, .unclean = std::move(unclean)};
  WEFT_CHECK(begin(cluster, daemon_set, options, cleaning, progress));
  const auto until = steady_clock::now() + options.limit;
  while (!cleaning.waited.empty()) {
    const bool last = steady_clock::now() >= until;
    WEFT_CHECK(look(cluster, cleaning, last, progress));
    if (last) break;
    if (!cleaning.waited.empty() && !cluster.pause(std::chrono::milliseconds(500)))
      return fail(ErrorCode::exhausted, "interrupted", "repeat this command to go on");
  }
  for (const auto& [pod, node] : cleaning.waited) cleaning.unclean[node] = "its pod is gone: " + pod;
  return std::move(cleaning.unclean);
}

std::string cleanup_by_hand(const json& daemon_set, std::string_view weftd, bool purge) {
  const json spec = daemon_set.at(json::json_pointer("/spec/template/spec"));
  // What weftd --cleanup goes by.
  json config = json::object();
  if (const auto parsed = chart::documents("weftd.yaml", weftd); parsed && !parsed->empty())
    for (const auto* key : {"instance", "node", "state_dir", "run_dir", "bpffs", "devices", "cni_bin_dir",
                            "cni_conf_dir", "cni_conf_name"})
      if (parsed->front().contains(key)) config[key] = parsed->front()[key];
  std::string mounts;
  for (const auto& volume : list_at(spec, "/volumes")) {
    const auto path = text_at(volume, "/hostPath/path");
    for (const auto& mount : list_at(spec, "/containers/0/volumeMounts"))
      if (!path.empty() && text_at(mount, "/name") == text_at(volume, "/name"))
        mounts += fmt::format(" --mount type=bind,src={},dst={},options=rbind:rw", path, text_at(mount, "/mountPath"));
  }
  return fmt::format(
      "ctr -n k8s.io run --rm --privileged --net-host --with-ns pid:/proc/1/ns/pid{} {} weft-cleanup sh -c 'echo "
      "\"$1\" >/tmp/weftd.yaml && weftd --cleanup{} --config /tmp/weftd.yaml' sh '{}'{}",
      mounts, full_name(text_at(spec, "/containers/0/image")), purge ? " --purge" : "", config.dump(),
      purge ? " && (rmdir /var/lib/weft /run/weft 2>/dev/null; true)" : "");
}

}  // namespace weft::install
