// From tables to rows: identities, policy, services and addresses compiled into what the kernel's
// maps should hold. Pure but for the numbers it keeps stable, which `numbers()` gives to the store.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/config.h"
#include "agent/node.h"
#include "agent/objects.h"
#include "control/identity/identity.h"
#include "control/policy/policy.h"
#include "control/services/services.h"
#include "datapath/rows.h"
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
  [[nodiscard]] model::ObjectKey pod() const { return {record.namespace_, record.pod}; }
};

struct Compiled {
  std::vector<LiveEndpoint> endpoints;  // sorted by pod
  control::PolicyInput policy_input;
  control::CompiledPolicy policy;
  control::CompiledServices services;
  std::map<Cidr, control::IdentityId> cidr_identities;
  datapath::DesiredRows rows;
};

class Compiler {
 public:
  Compiler(const Config& config, const store::NumberSet& restored, std::map<std::string, std::uint32_t> classes,
           std::uint32_t highest_class);

  // Before the first compile: the services and slots the maps hold from the last run, which readers
  // may be using until they are replaced.
  void adopt(const datapath::DesiredRows& present);

  // Errors name what does not fit; nothing has changed then but numbers handed out.
  Result<Compiled> compile(const Objects& objects, const std::map<store::EndpointKey, store::EndpointRecord>& records,
                           const Node& node);

  // What became of the rows compiled last. Class numbers and slots are free again only once their
  // rows have left the maps: `owed` rows are on their way, `refused` ones never come, and the classes are again
  // those of the last compile that was not refused.
  void written(control::RuleTable::Time now = std::chrono::steady_clock::now());
  void owed();
  void refused();

  // Forgets what rules meant that no written compile used since `since`; how many.
  std::size_t forget_rules(control::RuleTable::Time since) { return rules_.forget_unused(since); }

  // Cluster addresses for a Service about to be applied.
  Result<std::vector<IpAddress>> assign_service(const model::Service& service) { return services_.assign(service); }
  void forget_service(const model::ObjectKey& service) { services_.forget(service); }
  // Undoes both: the Service holds again what `before`, an earlier service_state().cluster_ips, says.
  void restore_service(const model::ObjectKey& service,
                       const std::map<model::ObjectKey, std::vector<IpAddress>>& before);

  [[nodiscard]] store::NumberSet numbers() const;
  [[nodiscard]] const std::map<std::string, std::uint32_t>& classes() const { return policy_.classes(); }
  [[nodiscard]] std::uint64_t class_revision() const { return policy_.class_revision(); }
  [[nodiscard]] const control::IdentityAllocator& identities() const { return identities_; }
  [[nodiscard]] const control::CidrIdentities& cidrs() const { return cidrs_; }
  [[nodiscard]] const control::RuleTable& rules() const { return rules_; }
  [[nodiscard]] const control::ServiceState& service_state() const { return services_.state(); }

 private:
  Result<std::vector<LiveEndpoint>> live_endpoints(const Objects& objects,
                                                   const std::map<store::EndpointKey, store::EndpointRecord>& records);
  Result<void> compile_services(const Objects& objects, const Node& node, Compiled& compiled);
  void fill_endpoints(Compiled& compiled, const Node& node) const;
  void fill_identities(Compiled& compiled, const Node& node) const;

  Config config_;
  control::IdentityAllocator identities_;
  control::CidrIdentities cidrs_;
  control::RuleTable rules_;
  control::PolicyCompiler policy_;
  control::ServiceCompiler services_;
  std::map<std::string, std::uint32_t> kept_classes_;
  std::uint32_t highest_class_ = 0;                         // ever given
  std::map<store::EndpointKey, control::IdentityId> held_;  // references taken on identities
};

}  // namespace weft::agent
