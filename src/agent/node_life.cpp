#include "agent/node_life.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "agent/object_names.h"
#include "sources/etcd/grpc_client.h"

namespace weft::agent {
namespace {

constexpr std::uint64_t look_every = 60;  // checks
// A container runtime that makes a pod's sandbox anew detaches and attaches it.
constexpr auto unmanaged_after = std::chrono::seconds(20);

std::string api_version(model::Kind kind) {
  switch (kind) {
    case model::Kind::network_policy:
      return "networking.k8s.io/v1";
    case model::Kind::endpoint_slice:
      return "discovery.k8s.io/v1";
    case model::Kind::load_balancer_pool:
    case model::Kind::l2_announcement:
    case model::Kind::bgp_peering:
    case model::Kind::egress_gateway:
    case model::Kind::pod_address_pool:
      return "weft.io/v1alpha1";
    default:
      return "v1";
  }
}

}  // namespace

std::string_view refusal_reason(ErrorCode code) {
  switch (code) {
    case ErrorCode::unavailable:
      return "NetworkNotReady";
    case ErrorCode::exhausted:
      return "NetworkExhausted";
    case ErrorCode::invalid:
    case ErrorCode::exists:
    case ErrorCode::not_found:
    case ErrorCode::denied:
      return "NetworkRefused";
    default:
      return "NetworkFailed";
  }
}

NodeLife::NodeLife(Parts parts) : parts_(std::move(parts)), install_(CniInstall::options(parts_.config)) {}

void NodeLife::follow(KubernetesSource& source, std::function<void(const NodeFacts& facts)> changed) {
  source_ = &source;
  kubernetes::EventSenderOptions options;
  options.instance = parts_.config.node;
  events_ = std::make_unique<kubernetes::EventSender>(source.http(), source.scheduler(), etcd::system_random(),
                                                      std::move(options));
  node_ = std::make_unique<KubernetesNode>(
      KubernetesNode::Parts{.http = source.http(),
                            .scheduler = source.scheduler(),
                            .random = etcd::system_random(),
                            .node = parts_.config.node},
      KubernetesNode::Handlers{.changed = std::move(changed),
                               .event = [this](const std::string& reason, const std::string& note, bool warning) {
                                 tell({.about = {"v1", "Node", "", parts_.config.node, node_->facts().uid},
                                       .reason = reason,
                                       .action = "Attach",
                                       .note = note,
                                       .warning = warning});
                               }});
}

void NodeLife::check(const std::string& why_not, const Node& node) {
  for (const auto& text : install_.check(why_not.empty())) parts_.repaired(text);
  parts_.faults.replace("cni ", install_.faults());
  if (node_) {
    node_->check(why_not);
    const auto fault = node_->fault();
    fault ? parts_.faults.set("node object", fault->text, fault->remedy) : parts_.faults.clear("node object");
  }
  // Beside the lists of another network nothing here costs much; a node by itself has none to look for.
  if ((node_ || !parts_.config.cni_conf_dir.empty()) && checks_++ % look_every == 0)
    others_ = find_other_networks(parts_.netlink, parts_.config, node);
}

std::vector<IpAddress> NodeLife::check_pods(const std::map<model::ObjectKey, PodStatus>& pods,
                                            const std::map<store::EndpointKey, store::EndpointRecord>& records,
                                            std::chrono::steady_clock::time_point now) {
  std::set<model::ObjectKey> attached;
  for (const auto& [key, record] : records) attached.insert({record.namespace_, record.pod});
  const auto is_other = [&](const model::ObjectKey& pod, const PodStatus& status) {
    return status.has_network() && !attached.contains(pod);
  };
  std::vector<IpAddress> addresses;
  for (const auto& [pod, status] : pods)
    if (is_other(pod, status)) {
      unmanaged_.try_emplace(pod, now);
      addresses.insert(addresses.end(), status.addresses.begin(), status.addresses.end());
    }
  std::erase_if(unmanaged_, [&](const auto& entry) {
    const auto pod = pods.find(entry.first);
    return pod == pods.end() || !is_other(pod->first, pod->second);
  });
  tell_unmanaged(pods, now);
  return addresses;
}

void NodeLife::tell_unmanaged(const std::map<model::ObjectKey, PodStatus>& pods,
                              std::chrono::steady_clock::time_point now) {
  constexpr std::size_t named = 5;
  std::vector<std::string> names;
  std::size_t count = 0;
  for (auto& [pod, state] : unmanaged_) {
    if (now - state.since < unmanaged_after) continue;
    if (++count <= named) names.push_back(pod.to_string());
    if (!std::exchange(state.told, true))
      tell({.about = {"v1", "Pod", pod.namespace_, pod.name, pods.at(pod).uid},
            .reason = "NotManaged",
            .action = "Attach",
            .note =
                "another network attached this pod, not Weft: no NetworkPolicy holds for it, and it is reached only as "
                "far as the node's routes lead there; delete it to have it made again"});
  }
  if (count == 0) return parts_.faults.clear("unmanaged pods");
  if (count > names.size()) names.push_back(fmt::format("and {} more", count - names.size()));
  parts_.faults.set("unmanaged pods",
                    fmt::format("pods of this node that another network attached, not Weft ({}): {}; no NetworkPolicy "
                                "holds for them, and they are reached as far as the node's routes lead",
                                count, fmt::join(names, ", ")),
                    "have them made again: kubectl delete pod --namespace NAMESPACE NAME");
}

void NodeLife::tell(kubernetes::EventText event) {
  if (events_) events_->tell(std::move(event));
}

void NodeLife::tell_refused(const model::ObjectKey& pod, const std::string& uid, const Error& error) {
  tell({.about = {"v1", "Pod", pod.namespace_, pod.name, uid},
        .reason = std::string(refusal_reason(error.code)),
        .action = "Attach",
        .note = error.text()});
}

void NodeLife::tell_new(const std::string& reason, const std::map<store::StoredKey, std::string>& why,
                        const std::set<std::string>& namespaces) {
  auto& told = told_[reason];
  std::erase_if(told, [&](const auto& entry) { return !why.contains(entry.first); });
  for (const auto& [key, text] : why) {
    const auto before = told.find(key);
    if (!namespaces.contains(key.key.namespace_) || (before != told.end() && before->second == text)) continue;
    told.insert_or_assign(key, text);
    tell({.about = {api_version(key.kind), std::string(model::to_string(key.kind)), key.key.namespace_, key.key.name,
                    source_ == nullptr ? std::string() : source_->objects().uid_of(key)},
          .reason = reason,
          .action = "Enforce",
          .note = fmt::format("node {}: {}", parts_.config.node, text)});
  }
}

void NodeLife::add_status(nlohmann::json& kubernetes) const {
  if (node_) kubernetes["node"] = node_->status_json();
  auto unmanaged = nlohmann::json::array();
  for (const auto& [pod, state] : unmanaged_) unmanaged.push_back(pod.to_string());
  kubernetes["unmanaged"] = std::move(unmanaged);
  if (!events_) return;
  const auto& counts = events_->counts();
  kubernetes["events"] = {{"told", counts.told},       {"sent", counts.sent},         {"dropped", counts.dropped},
                          {"refused", counts.refused}, {"queued", events_->queued()}, {"problem", events_->problem()}};
}

}  // namespace weft::agent
