// What this node is to runtimes and to Kubernetes beside carrying packets: the plugin's installation, its Node object,
// Events, pods that another network attached, and what other networks left here. On the agent's thread.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "agent/attachment.h"
#include "agent/cni_install.h"
#include "agent/faults.h"
#include "agent/kubernetes_node.h"
#include "agent/kubernetes_objects.h"
#include "agent/kubernetes_source.h"
#include "agent/other_networks.h"
#include "config/agent/config.h"
#include "sources/kubernetes/event_sender.h"

namespace weft::agent {

class NodeLife {
 public:
  struct Parts {
    const Config& config;
    Faults& faults;
    sys::Netlink& netlink;
    std::function<void(const std::string& what)> repaired;
  };
  explicit NodeLife(Parts parts);

  // Of objects: kubernetes. `source` outlives this.
  void follow(KubernetesSource& source, std::function<void(const NodeFacts& facts)> changed);
  // Once a second. `why_not`: why no pod can be attached; empty: they can.
  void check(const std::string& why_not, const Node& node);
  // Names those of this node that run without Weft having attached them; their addresses, which are not to be given.
  std::vector<IpAddress> check_pods(const std::map<model::ObjectKey, PodStatus>& pods,
                                    const std::map<store::EndpointKey, store::EndpointRecord>& records,
                                    std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now());
  [[nodiscard]] const OtherNetworks& others() const { return others_; }

  // Events; nothing where objects are not Kubernetes'.
  void tell(kubernetes::EventText event);
  // The runtime asked for a network for this pod, and got none.
  void tell_refused(const model::ObjectKey& pod, const std::string& uid, const Error& error);
  // Each of `why` that was not told yet, by the object. `reason` names the kind of it. Only what lives in one of these
  // namespaces, where this node has pods: a thousand nodes need not tell the same.
  void tell_new(const std::string& reason, const std::map<store::StoredKey, std::string>& why,
                const std::set<std::string>& namespaces);

  // Into the answer's "kubernetes".
  void add_status(nlohmann::json& kubernetes) const;

 private:
  void tell_unmanaged(const std::map<model::ObjectKey, PodStatus>& pods, std::chrono::steady_clock::time_point now);

  struct Unmanaged {
    std::chrono::steady_clock::time_point since;
    bool told = false;
  };

  Parts parts_;
  KubernetesSource* source_ = nullptr;
  CniInstall install_;
  std::unique_ptr<KubernetesNode> node_;
  std::unique_ptr<kubernetes::EventSender> events_;
  OtherNetworks others_;
  std::uint64_t checks_ = 0;
  std::map<model::ObjectKey, Unmanaged> unmanaged_;
  std::map<std::string, std::map<store::StoredKey, std::string>> told_;  // by reason
};

// Of a pod whose attachment failed so: by what is to be done about it.
std::string_view refusal_reason(ErrorCode code);

}  // namespace weft::agent
