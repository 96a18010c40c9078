#include "install/install.h"

#include <fmt/format.h>

#include "chart/chart.h"
#include "install/cleanup.h"
#include "install/nodes.h"
#include "install/ranges.h"
#include "install/settings.h"
#include "install/survey.h"

namespace weft::install {

using kubernetes::Reason;
using nlohmann::json;

namespace {

constexpr const char* annotation = "weft.io/values";
constexpr std::chrono::seconds for_definitions{60};

std::string config_path() { return fmt::format("/api/v1/namespaces/{}/configmaps/weft-config", chart::weft_namespace); }

std::string joined(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, ",")); }

Result<std::pair<std::string, std::string>> split_assignment(const std::string& text) {
  const auto equal = text.find('=');
  if (equal == std::string::npos || equal == 0)
    return fail(ErrorCode::invalid, fmt::format("--set {}: expected KEY=VALUE", text));
  return std::pair{text.substr(0, equal), text.substr(equal + 1)};
}

// The agents of nodes that are away count as exchanged at the moment, and would keep all others from it in a small
// cluster. A tenth, as by values.yaml.
void leave_room_for_nodes_away(Cluster& cluster, Plan& plan) {
  const auto machines = look_at_machines(cluster);
  if (!machines || machines->away.empty()) return;
  const auto all = machines->here.size() + machines->away.size();
  plan.values["agent"]["maxUnavailable"] = (all + 9) / 10 + machines->away.size();
  plan.notes.push_back(fmt::format("agent.maxUnavailable={}, for {} nodes are away: {}",
                                   plan.values["agent"]["maxUnavailable"].dump(), machines->away.size(),
                                   fmt::join(machines->away, ", ")));
}

// Ranges do not change by themselves, so they are kept; servers may.
Result<void> ask_cluster(Cluster& cluster, Plan& plan) {
  struct Range {
    const char* key;
    std::vector<std::string> (*find)(Cluster&);
  };
  for (const auto& [key, find] : {Range{"podCIDRs", find_pod_ranges}, Range{"serviceCIDRs", find_service_ranges}}) {
    if (plan.given.contains(key)) continue;
    const auto found = find(cluster);
    if (found.empty())
      return fail(ErrorCode::not_found, fmt::format("the cluster does not say what {} are", key),
                  fmt::format("give them: --set {}={}", key,
                              std::string_view(key) == "podCIDRs" ? "10.244.0.0/16" : "10.96.0.0/12"));
    plan.given[key] = joined(found);
    plan.notes.push_back(fmt::format("{}={}, as the cluster has it", key, plan.given[key]));
  }
  if (!plan.given.contains("operator.replicas"))
    if (const auto nodes = cluster.list("/api/v1/nodes"); nodes && nodes->size() == 1) {
      plan.values["operator"]["replicas"] = 1;
      plan.notes.emplace_back("operator.replicas=1, for there is one node");
    }
  if (!plan.given.contains("agent.maxUnavailable")) leave_room_for_nodes_away(cluster, plan);
  if (plan.given.contains("kubernetesServers")) return {};
  const auto servers = find_servers(cluster);
  if (servers.empty()) return {};
  plan.values["kubernetesServers"] = servers;
  plan.notes.push_back(fmt::format("kubernetesServers={}, the endpoints of the Service kubernetes", joined(servers)));
  return {};
}

Result<void> stop_or_tell(const std::vector<Finding>& findings, bool force, const Progress& progress) {
  std::string stopping;
  for (const auto& finding : findings) {
    if (finding.stops && !force)
      stopping += fmt::format("{}{}\n    {}", stopping.empty() ? "" : "\n  ", finding.what, finding.remedy);
    else
      progress(fmt::format("warning: {}\n  {}", finding.what, finding.remedy));
  }
  if (stopping.empty()) return {};
  return fail(ErrorCode::invalid, "nothing has been changed: " + stopping, "--force goes on all the same");
}

Result<void> apply_one(Cluster& cluster, const json& object, bool force, const Progress& progress) {
  const auto before = cluster.get(path_of(object));
  if (!before && before.error().reason != Reason::not_found && before.error().reason != Reason::denied)
    return fail(explain(before.error(), chart::name_of(object) + " could not be read"));
  const auto after = cluster.apply(object, force);
  if (!after) return fail(explain(after.error(), chart::name_of(object) + " could not be applied"));
  const bool same =
      before && text_at(*before, "/metadata/resourceVersion") == text_at(*after, "/metadata/resourceVersion");
  progress(fmt::format("{} {}", chart::name_of(object), same ? "unchanged" : before ? "configured" : "created"));
  return {};
}

Result<void> leave_out_what_is_newer(Cluster& cluster, Plan& plan) {
  const auto version = cluster.get("/version");
  if (!version) return fail(explain(version.error(), "the server's version could not be read"));
  if (is_at_least(*version, restricting_minor) || plan.values["nodeRestriction"] == false) return {};
  plan.values["nodeRestriction"] = false;
  plan.notes.push_back(
      fmt::format("nodeRestriction=false, for the API server is older than Kubernetes 1.{}: agents "
                  "may change the Nodes of others",
                  restricting_minor));
  return {};
}

// What an earlier install may have held agents to.
Result<void> take_restrictions_away(Cluster& cluster, json values, const Progress& progress) {
  values["nodeRestriction"] = true;
  WEFT_TRY(const auto manifests, chart::render(values));
  for (const auto& object : manifests.objects) {
    if (object["apiVersion"] != "admissionregistration.k8s.io/v1") continue;
    const auto gone = cluster.erase(path_of(object));
    if (!gone) return fail(explain(gone.error(), chart::name_of(object) + " could not be deleted"));
    if (*gone) progress(chart::name_of(object) + " deleted");
  }
  return {};
}

// What the next install is to know of this one.
void remember(std::vector<json>& objects, const std::map<std::string, std::string>& given) {
  for (auto& object : objects)
    if (chart::name_of(object) == fmt::format("ConfigMap {}/weft-config", chart::weft_namespace))
      object["metadata"]["annotations"][annotation] = json(given).dump();
}

}  // namespace

Error explain(const kubernetes::Failure& failure, const std::string& doing) {
  Error error{failure.to_error().code, fmt::format("{}: {}", doing, failure.message), {}};
  switch (failure.reason) {
    case Reason::denied:
      error.hint =
          "the user of this kubeconfig lacks that right: use one of a cluster's administrator (--kubeconfig, "
          "--context)";
      break;
    case Reason::unauthenticated:
      error.hint = "the server does not know this user: check the token or the certificate in the kubeconfig";
      break;
    case Reason::conflict:
      error.code = ErrorCode::invalid;
      error.hint = "somebody else has changed what Weft sets there: give it up there, or say --force-conflicts";
      break;
    case Reason::unavailable:
    case Reason::deadline:
      error.hint = failure.message == "interrupted"
                       ? ""
                       : "is the cluster's API server reachable from here? --kubeconfig, --context";
      break;
    default:
      break;
  }
  return error;
}

Outcome<std::map<std::string, std::string>> kept_values(Cluster& cluster) {
  std::map<std::string, std::string> kept;
  const auto config = cluster.get(config_path());
  if (!config && config.error().reason == Reason::not_found) return kept;
  if (!config) return std::unexpected(config.error());
  const auto parsed = json::parse(text_at(*config, "/metadata/annotations/weft.io~1values"), nullptr, false);
  if (parsed.is_object())
    for (const auto& [key, value] : parsed.items())
      if (value.is_string()) kept[key] = value.get<std::string>();
  return kept;
}

Result<Plan> make_plan(Cluster& cluster, const InstallOptions& options) {
  Plan plan{.values = chart::default_values(), .given = {}, .notes = {}};
  std::map<std::string, std::string> now;
  for (const auto& assignment : options.set) {
    WEFT_TRY(const auto parts, split_assignment(assignment));
    now[parts.first] = parts.second;
  }
  const auto kept = kept_values(cluster);
  if (!kept) return fail(explain(kept.error(), "what an earlier install was given could not be read"));
  if (!options.reset_values) plan.given = *kept;
  for (const auto& [key, value] : plan.given)
    if (!now.contains(key)) plan.notes.push_back(fmt::format("{}={}, as before", key, value));
  for (const auto& [key, value] : now) plan.given[key] = value;
  WEFT_CHECK(ask_cluster(cluster, plan));
  for (const auto& [key, value] : plan.given)
    WEFT_CHECK(chart::set_value(plan.values, fmt::format("{}={}", key, value)));
  WEFT_CHECK(chart::check_values(plan.values));
  WEFT_CHECK(check_ranges(cluster, plan.values));
  WEFT_CHECK(leave_out_what_is_newer(cluster, plan));
  return plan;
}

Result<void> install(Cluster& cluster, const InstallOptions& options, const Progress& progress) {
  const auto findings = survey(cluster);
  if (!findings) return fail(explain(findings.error(), "the cluster could not be looked at"));
  WEFT_CHECK(stop_or_tell(*findings, options.force, progress));
  WEFT_TRY(const auto plan, make_plan(cluster, options));
  for (const auto& note : plan.notes) progress(note);
  WEFT_TRY(auto manifests, chart::render(plan.values));
  WEFT_CHECK(check_settings(manifests.objects));
  remember(manifests.objects, plan.given);
  if (plan.given.contains("nodeRestriction") && plan.values["nodeRestriction"] == false)
    WEFT_CHECK(take_restrictions_away(cluster, plan.values, progress));
  if (const auto erased = erase_cleanups(cluster, false, {}); !erased)
    return fail(explain(erased.error(), "pods of an earlier weft uninstall could not be deleted"));
  bool definitions = false;
  for (const auto& object : manifests.objects) {
    const bool is_definition = object["kind"] == "CustomResourceDefinition";
    // What needs a kind comes after the server has it.
    if (definitions && !is_definition) WEFT_CHECK(wait_for_definitions(cluster, for_definitions));
    definitions = is_definition;
    // Operators write definitions, too, and these are of the version that is installed now.
    WEFT_CHECK(apply_one(cluster, object, options.force_conflicts || is_definition, progress));
  }
  if (!options.wait) return {};
  return wait_for_rollouts(cluster, options.timeout, progress);
}

}  // namespace weft::install
