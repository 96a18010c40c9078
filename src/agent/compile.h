// From tables to rows: identities, policy, services and addresses compiled into what the kernel's
// maps should hold. Pure but for the numbers it keeps stable, which `numbers()` gives to the store.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/cluster_view.h"
#include "agent/node.h"
#include "agent/objects.h"
#include "config/agent/config.h"
#include "control/egress/egress.h"
#include "control/identity/identity.h"
#include "control/policy/policy.h"
#include "datapath/rows.h"
#include "sources/cluster/pod_table.h"
#include "sources/store/rows.h"

namespace weft::agent {

// An attached endpoint with what its pod object adds.
struct LiveEndpoint {
  store::EndpointRecord record;
  control::IdentityId identity = 0;
  LabelMap pod_labels;  // plain
  std::vector<model::ContainerPort> ports;
  std::string workload;
  bool ready = true;
  bool terminating = false;
  std::uint32_t weight = 1;  // among the backends of its Services
  [[nodiscard]] model::ObjectKey pod() const { return {record.namespace_, record.pod}; }
};

// Of all its containers.
std::vector<model::ContainerPort> ports_of(const model::Pod& pod);

struct Compiled {
  std::vector<LiveEndpoint> endpoints;  // sorted by pod
  control::PolicyInput policy_input;
  control::CompiledPolicy policy;
  std::map<Cidr, control::IdentityId> cidr_identities;
  datapath::DesiredRows rows;
  std::set<LabelMap> labels;      // that the endpoints have identities for, or wait for one
  bool peers_by_address = false;  // some rule knows pods of other nodes by their addresses too
  control::EgressPlan egress;
};

// Whether a pod that nobody attaches, as it has the node's network, is this node's: of a cluster only where it is
// placed here.
bool runs_here(const model::Pod& pod, const Config& config);
// The labels that give an attached container its identity.
LabelMap identity_labels_of(const Objects& objects, const model::ObjectKey& pod, const LabelMap& container_labels);

class Compiler {
 public:
  Compiler(const Config& config, const store::NumberSet& restored, std::map<std::string, std::uint32_t> classes,
           std::uint32_t highest_class);

  // What is not of its file has changed in it: labels.
  void set_config(const Config& config) { config_ = config; }
  // Errors name what does not fit; nothing has changed then but numbers handed out.
  // In a cluster numbers are learnt, not given: an endpoint whose labels have none yet keeps the one it had, or is
  // WEFT_IDENTITY_INIT. `others`, the pods of other nodes, are peers of policies; their rows are made one by one.
  Result<Compiled> compile(const Objects& objects, const std::map<store::EndpointKey, store::EndpointRecord>& records,
                           const Node& node, const ClusterView& cluster = {},
                           const cluster::PodTable* others = nullptr);
  // The row of an address that this node has not itself; nothing: no other node has it either.
  [[nodiscard]] std::optional<weft_remote> remote_row(const IpAddress& address, const ClusterView& cluster,
                                                      const cluster::PodTable& others) const;
  [[nodiscard]] std::optional<weft_remote> remote_row(const IpAddress& address, const control::NodePlan& plan,
                                                      const cluster::ToldPod& pod) const;
  // Numbers of the cluster; `whole`: all others are forgotten.
  void learn(const std::map<control::IdentityId, LabelMap>& set, const std::vector<control::IdentityId>& gone,
             bool whole);

  // What became of the rows compiled last. Class numbers are free again only once their rows
  // have left the maps: `owed` rows are on their way, `refused` ones never come, and the classes are again
  // those of the last compile that was not refused.
  void written(control::RuleTable::Time now = std::chrono::steady_clock::now());
  void owed();
  void refused();

  // Forgets what rules meant that no written compile used since `since`; how many.
  std::size_t forget_rules(control::RuleTable::Time since) { return rules_.forget_unused(since); }

  [[nodiscard]] store::NumberSet numbers() const;
  [[nodiscard]] const std::map<std::string, std::uint32_t>& classes() const { return policy_.classes(); }
  [[nodiscard]] std::uint64_t class_revision() const { return policy_.class_revision(); }
  [[nodiscard]] const control::IdentityAllocator& identities() const { return identities_; }
  [[nodiscard]] const control::CidrIdentities& cidrs() const { return cidrs_; }
  [[nodiscard]] const control::RuleTable& rules() const { return rules_; }

 private:
  Result<void> live_endpoints(Compiled& compiled, const Objects& objects,
                              const std::map<store::EndpointKey, store::EndpointRecord>& records, bool clustered);
  void add_peers(Compiled& compiled, const cluster::PodTable& others) const;
  void fill_endpoints(Compiled& compiled, const Node& node) const;
  void fill_identities(Compiled& compiled, const std::vector<Cidr>& pools, const Node& node,
                       const ClusterView& cluster) const;
  void fill_egress(Compiled& compiled, const Objects& objects, const Node& node, const ClusterView& cluster) const;

  Config config_;
  control::IdentityAllocator identities_;
  control::CidrIdentities cidrs_;
  control::RuleTable rules_;
  control::PolicyCompiler policy_;
  std::map<std::string, std::uint32_t> kept_classes_;
  std::uint32_t highest_class_ = 0;                         // ever given
  std::map<store::EndpointKey, control::IdentityId> held_;  // references taken on identities
};

}  // namespace weft::agent
