#include "model/kinds.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace weft::model {
namespace {

constexpr std::array entries{
    KindEntry{"Namespace", "v1", Kind::namespace_},
    KindEntry{"Pod", "v1", Kind::pod},
    KindEntry{"Service", "v1", Kind::service},
    KindEntry{"Deployment", "apps/v1", Kind::deployment},
    KindEntry{"ReplicaSet", "apps/v1", Kind::deployment, Workload::replica_set},
    KindEntry{"StatefulSet", "apps/v1", Kind::deployment, Workload::stateful_set},
    KindEntry{"EndpointSlice", "discovery.k8s.io/v1", Kind::endpoint_slice},
    KindEntry{"NetworkPolicy", "networking.k8s.io/v1", Kind::network_policy},
    KindEntry{"LoadBalancerPool", "weft.io/v1alpha1", Kind::load_balancer_pool},
    KindEntry{"L2Announcement", "weft.io/v1alpha1", Kind::l2_announcement},
    KindEntry{"BGPPeering", "weft.io/v1alpha1", Kind::bgp_peering},
    KindEntry{"EgressGateway", "weft.io/v1alpha1", Kind::egress_gateway},
    KindEntry{"PodAddressPool", "weft.io/v1alpha1", Kind::pod_address_pool},
};

// Kinds of Kubernetes itself that Weft passes over; only to tell a misspelt kind from a real one.
constexpr std::array<std::string_view, 48> other_kinds{"ConfigMap",
                                                       "Secret",
                                                       "ServiceAccount",
                                                       "Role",
                                                       "RoleBinding",
                                                       "ClusterRole",
                                                       "ClusterRoleBinding",
                                                       "Ingress",
                                                       "IngressClass",
                                                       "HorizontalPodAutoscaler",
                                                       "PodDisruptionBudget",
                                                       "DaemonSet",
                                                       "Job",
                                                       "CronJob",
                                                       "PersistentVolume",
                                                       "PersistentVolumeClaim",
                                                       "StorageClass",
                                                       "VolumeAttachment",
                                                       "Endpoints",
                                                       "Event",
                                                       "Node",
                                                       "LimitRange",
                                                       "ResourceQuota",
                                                       "PodTemplate",
                                                       "ReplicationController",
                                                       "ControllerRevision",
                                                       "CustomResourceDefinition",
                                                       "APIService",
                                                       "MutatingWebhookConfiguration",
                                                       "ValidatingWebhookConfiguration",
                                                       "ValidatingAdmissionPolicy",
                                                       "ValidatingAdmissionPolicyBinding",
                                                       "PriorityClass",
                                                       "RuntimeClass",
                                                       "Lease",
                                                       "CSIDriver",
                                                       "CSINode",
                                                       "CSIStorageCapacity",
                                                       "FlowSchema",
                                                       "PriorityLevelConfiguration",
                                                       "TokenReview",
                                                       "SubjectAccessReview",
                                                       "CertificateSigningRequest",
                                                       "IPAddress",
                                                       "ServiceCIDR",
                                                       "ResourceClaim",
                                                       "ResourceClaimTemplate",
                                                       "DeviceClass"};

// A group Kubernetes itself serves: "v1", "apps/v1", "networking.k8s.io/v1" and their like.
bool is_builtin(std::string_view api_version) {
  const auto slash = api_version.find('/');
  if (slash == std::string_view::npos) return true;
  const auto group = api_version.substr(0, slash);
  if (group.find('.') == std::string_view::npos) return true;
  // Projects beside Kubernetes use subdomains of x-k8s.io and some of k8s.io.
  return group == "networking.k8s.io" || group == "discovery.k8s.io";
}

bool is_ours(std::string_view api_version) { return api_version.starts_with("weft.io/"); }

// Written as ours is not: "weft.dev/v1"; for a kind of ours also "wefd.io/v1alpha1".
bool is_nearly_ours(std::string_view api_version, std::string_view kind) {
  const auto group = api_version.substr(0, api_version.find('/'));
  if (group.starts_with("weft.")) return true;
  const auto found = std::ranges::find(entries, kind, &KindEntry::written);
  return found != entries.end() && is_ours(found->api_version) && !nearest(group, {"weft.io"}).empty();
}

std::string unknown_message(std::string_view kind, const std::vector<std::string_view>& known, bool list) {
  std::string message = fmt::format("unknown kind {}", in_quotes(kind));
  if (const auto near = nearest(kind, known); !near.empty())
    message += fmt::format("; did you mean \"{}\"?", near);
  else if (list)
    message += fmt::format("; expected {}", fmt::join(known, " or "));
  return message;
}

std::string skip_message(std::string_view api_version, std::string_view kind) {
  return fmt::format("Weft does not act on {} of {}; the document is passed over", in_quotes(kind),
                     in_quotes(api_version));
}

}  // namespace

const KindEntry& entry_of(Kind kind) { return *std::ranges::find(entries, kind, &KindEntry::kind); }

KindVerdict judge_kind(std::string_view api_version, std::string_view kind) {
  using Action = KindVerdict::Action;
  if (kind == "List") {
    if (api_version == "v1") return {Action::list, nullptr, {}, false};
    return {Action::refuse, nullptr, fmt::format("expected apiVersion v1 for a List, found {}", in_quotes(api_version)),
            true};
  }
  const bool ours = is_ours(api_version) || is_nearly_ours(api_version, kind);
  if (!ours && !is_builtin(api_version)) return {Action::skip, nullptr, skip_message(api_version, kind), false};
  const auto* const found = std::ranges::find(entries, kind, &KindEntry::written);
  if (found != entries.end()) {
    if (found->api_version != api_version)
      return {Action::refuse, nullptr,
              fmt::format("expected apiVersion {} for {}, found {}", found->api_version, with_article(kind),
                          in_quotes(api_version)),
              true};
    if (found->workload != Workload::deployment)
      return {Action::decode, found, fmt::format("a {} is treated as a Deployment of as many replicas", kind), false};
    return {Action::decode, found, {}, false};
  }
  if (ours || std::ranges::find(other_kinds, kind) == other_kinds.end()) {
    std::vector<std::string_view> known;
    for (const auto& entry : entries)
      if (ours ? is_ours(entry.api_version) : entry.api_version == api_version) known.push_back(entry.written);
    if (ours || !nearest(kind, known).empty())
      return {Action::refuse, nullptr, unknown_message(kind, known, ours), false};
  }
  return {Action::skip, nullptr, skip_message(api_version, kind), false};
}

}  // namespace weft::model
