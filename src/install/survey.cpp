#include "install/survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <regex>

#include "chart/chart.h"

namespace weft::install {

using nlohmann::json;

namespace {

constexpr int oldest_minor = 28;
constexpr std::pair oldest_kernel{6, 1};  // docs/kernels.md

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    auto part = text.substr(0, comma);
    part.remove_prefix(std::min(part.find_first_not_of(' '), part.size()));
    if (!part.empty()) parts.emplace_back(part);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return parts;
}

// networking.podSubnet or .serviceSubnet of a cluster that kubeadm has made.
std::vector<std::string> of_kubeadm(Cluster& cluster, const std::string& key) {
  const auto map = cluster.get("/api/v1/namespaces/kube-system/configmaps/kubeadm-config");
  if (!map) return {};
  const auto configuration = chart::documents("kubeadm-config", text_at(*map, "/data/ClusterConfiguration"));
  if (!configuration || configuration->empty()) return {};
  return split(text_at(configuration->front(), ("/networking/" + key).c_str()));
}

// The first number of "28+", "6.1.0-13-amd64".
int number_of(std::string_view text) {
  int number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

struct OtherNetwork {
  std::string_view prefix;  // of its DaemonSet's name
  std::string_view name;
};
constexpr std::array<OtherNetwork, 12> other_networks{{
    {"calico-node", "Calico"},
    {"canal", "Canal"},
    {"cilium", "Cilium"},
    {"kube-flannel", "Flannel"},
    {"weave-net", "Weave Net"},
    {"antrea-agent", "Antrea"},
    {"kube-router", "kube-router"},
    {"kindnet", "kindnet"},
    {"aws-node", "the Amazon VPC CNI"},
    {"azure-cni", "Azure CNI"},
    {"ovnkube-node", "OVN-Kubernetes"},
    {"ovs-cni", "OVS CNI"},
}};

void look_at_version(const json& version, std::vector<Finding>& findings) {
  if (is_at_least(version, oldest_minor)) return;
  findings.push_back({true, fmt::format("the API server is Kubernetes {}", text_at(version, "/gitVersion")),
                      fmt::format("Weft needs 1.{} or newer", oldest_minor)});
}

void look_at_node(const json& node, std::vector<Finding>& findings) {
  const auto name = text_at(node, "/metadata/name");
  const auto system = text_at(node, "/status/nodeInfo/operatingSystem");
  if (!system.empty() && system != "linux") return;  // the DaemonSet passes it over
  const auto kernel = text_at(node, "/status/nodeInfo/kernelVersion");
  const auto dot = kernel.find('.');
  if (dot != std::string::npos &&
      std::pair(number_of(kernel), number_of(std::string_view(kernel).substr(dot + 1))) < oldest_kernel)
    findings.push_back({true, fmt::format("node {} has Linux {}", name, kernel),
                        fmt::format("Weft needs {}.{} or newer", oldest_kernel.first, oldest_kernel.second)});
  if (const auto architecture = text_at(node, "/status/nodeInfo/architecture");
      !architecture.empty() && architecture != "amd64")
    findings.push_back({false, fmt::format("node {} is of architecture {}", name, architecture),
                        "the image of tools/image is for the architecture it was built on"});
}

void look_at_daemon_set(const json& set, std::vector<Finding>& findings) {
  const auto name = text_at(set, "/metadata/name");
  const auto space = text_at(set, "/metadata/namespace");
  if (space == chart::weft_namespace) return;
  if (name == "kube-proxy")
    findings.push_back(
        {false, fmt::format("kube-proxy is running ({}/{}): Weft serves Services, too, and goes first", space, name),
         fmt::format("once Weft is ready take it away: kubectl -n {} delete daemonset {}; and on each node its "
                     "rules: kube-proxy --cleanup, or a restart of the node",
                     space, name)});
  const auto other =
      std::ranges::find_if(other_networks, [&](const OtherNetwork& one) { return name.starts_with(one.prefix); });
  if (other != other_networks.end() && name != "kube-proxy")
    findings.push_back(
        {true, fmt::format("{} is this cluster's network ({}/{})", other->name, space, name),
         "a node can have one: remove it first, with what it left on the nodes (docs/kubernetes-install.md, "
         "\"Another network\"), or say "
         "--force where it is gone but for this DaemonSet"});
}

struct Right {
  const char* group;
  const char* resource;
  bool in_namespace;
  int since = 0;  // minor version of the server
};
constexpr std::array rights{
    Right{"", "namespaces", false},
    Right{"apiextensions.k8s.io", "customresourcedefinitions", false},
    Right{"rbac.authorization.k8s.io", "clusterroles", false},
    Right{"rbac.authorization.k8s.io", "clusterrolebindings", false},
    Right{"rbac.authorization.k8s.io", "roles", true},
    Right{"rbac.authorization.k8s.io", "rolebindings", true},
    Right{"admissionregistration.k8s.io", "validatingadmissionpolicies", false, restricting_minor},
    Right{"admissionregistration.k8s.io", "validatingadmissionpolicybindings", false, restricting_minor},
    Right{"", "serviceaccounts", true},
    Right{"", "configmaps", true},
    Right{"apps", "daemonsets", true},
    Right{"apps", "deployments", true},
    Right{"policy", "poddisruptionbudgets", true},
};

// Nothing: the server cannot be asked.
std::optional<bool> may(Cluster& cluster, const char* verb, const Right& right) {
  json attributes{{"verb", verb}, {"group", right.group}, {"resource", right.resource}};
  if (right.in_namespace) attributes["namespace"] = chart::weft_namespace;
  const auto review = cluster.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                                     {{"apiVersion", "authorization.k8s.io/v1"},
                                      {"kind", "SelfSubjectAccessReview"},
                                      {"spec", {{"resourceAttributes", attributes}}}});
  if (!review) return std::nullopt;
  return review->contains("status") && (*review)["status"].value("allowed", false);
}

void look_at_rights(Cluster& cluster, const json& version, std::vector<Finding>& findings) {
  const auto all = may(cluster, "*", {"*", "*", false});
  if (!all || *all) return;
  std::string missing;
  for (const auto& right : rights)
    for (const auto* verb : {"create", "patch"})
      if (is_at_least(version, right.since) && !may(cluster, verb, right).value_or(true))
        missing += fmt::format("{}{} {}", missing.empty() ? "" : ", ", verb, right.resource);
  if (!missing.empty())
    findings.push_back({true, "the user of this kubeconfig lacks rights: " + missing,
                        "use one of a cluster's administrator: --kubeconfig, --context"});
}

}  // namespace

bool is_at_least(const json& version, int minor) {
  const int major = number_of(text_at(version, "/major"));
  return major > 1 || (major == 1 && number_of(text_at(version, "/minor")) >= minor);
}

std::vector<std::string> find_pod_ranges(Cluster& cluster) { return of_kubeadm(cluster, "podSubnet"); }

std::vector<std::string> find_service_ranges(Cluster& cluster) {
  for (const auto* version : {"v1", "v1beta1"})
    if (const auto range = cluster.get(fmt::format("/apis/networking.k8s.io/{}/servicecidrs/kubernetes", version))) {
      const auto& cidrs = list_at(*range, "/spec/cidrs");
      if (!cidrs.empty()) return cidrs.get<std::vector<std::string>>();
    }
  if (auto ranges = of_kubeadm(cluster, "serviceSubnet"); !ranges.empty()) return ranges;
  // Nobody's address: the server refuses it, and says which it would have taken.
  const auto refused = cluster.create("/api/v1/namespaces/default/services?dryRun=All",
                                      {{"apiVersion", "v1"},
                                       {"kind", "Service"},
                                       {"metadata", {{"name", "weft-install-asks"}}},
                                       {"spec", {{"clusterIP", "192.0.2.1"}, {"ports", {{{"port", 1}}}}}}});
  static const std::regex says(R"(range of valid IPs is ([0-9a-fA-F.:/]+))");
  std::smatch found;
  if (!refused && std::regex_search(refused.error().message, found, says)) return {found[1].str()};
  return {};
}

std::vector<std::string> find_servers(Cluster& cluster) {
  std::vector<std::string> servers;
  const auto slices = cluster.list("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
                                   "labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes");
  if (!slices) return servers;
  for (const auto& slice : *slices)
    for (const auto& port : list_at(slice, "/ports"))
      for (const auto& endpoint : list_at(slice, "/endpoints"))
        for (const auto& address : list_at(endpoint, "/addresses")) {
          const auto text = address.get<std::string>();
          const bool v6 = text.find(':') != std::string::npos;
          servers.push_back(
              fmt::format("https://{}{}{}:{}", v6 ? "[" : "", text, v6 ? "]" : "", number_at(port, "/port")));
        }
  std::ranges::sort(servers);
  return servers;
}

Outcome<std::vector<Finding>> survey(Cluster& cluster) {
  std::vector<Finding> findings;
  const auto version = cluster.get("/version");
  if (!version) return std::unexpected(version.error());
  look_at_version(*version, findings);
  look_at_rights(cluster, *version, findings);
  const auto nodes = cluster.list("/api/v1/nodes");
  if (!nodes) return std::unexpected(nodes.error());
  for (const auto& node : *nodes) look_at_node(node, findings);
  if (const auto sets = cluster.list("/apis/apps/v1/daemonsets"))
    for (const auto& set : *sets) look_at_daemon_set(set, findings);
  return findings;
}

}  // namespace weft::install
