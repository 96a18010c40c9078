// A node's part in the cluster: the pieces of this room wired together, for who wants them all.
#pragma once

#include <string>
#include <vector>

#include "sources/cluster/announcers.h"
#include "sources/cluster/block_allocator.h"
#include "sources/cluster/collector.h"
#include "sources/cluster/context.h"
#include "sources/cluster/endpoint_publisher.h"
#include "sources/cluster/endpoint_table.h"
#include "sources/cluster/enforcement_publisher.h"
#include "sources/cluster/identity_allocator.h"
#include "sources/cluster/node_registry.h"
#include "sources/cluster/operators.h"
#include "sources/cluster/role.h"

namespace weft::cluster {

struct MemberOptions {
  std::string cluster = "default";
  Self self;
  std::vector<Pool> pools;
  std::vector<Block> remembered;  // what the node had when it last ran
  IdentityRange identities;
  std::chrono::seconds lease{30};
  std::chrono::seconds delay{600};           // Context::delay
  std::chrono::milliseconds round{60000};    // of the collector
  std::chrono::milliseconds patience{5000};  // of Role
  // Whether this node does the cluster's duties while no operator is there.
  bool stands_in = true;
  etcd::BackoffOptions backoff{};
};

// Names, pools, and that the delay is at least twice as long as the lease; the error names the option.
Result<void> validate(const MemberOptions& options);

struct MemberHandlers {
  std::function<void(const NodeDifference& difference)> nodes;
  std::function<void(const Error& error)> refused;
  std::function<void()> joined;
  std::function<void(const etcd::Failure& why)> left;
  std::function<void()> blocks;
  std::function<void()> block_owners;
  std::function<void(const std::vector<Block>& blocks)> blocks_lost;
  std::function<void(const IdentityDifference& difference)> identities;
  std::function<void(const LabelMap& labels, IdentityNumber before, IdentityNumber now)> renumbered;
  std::function<void(const EndpointDifference& difference)> endpoints;
  std::function<void()> announcers;  // Announcers::may_announce() or holders() may be another
  Trouble trouble;
};

class Member {
 public:
  // The options have passed validate().
  Member(etcd::Client& client, etcd::Scheduler& scheduler, etcd::Random random, MemberOptions options,
         MemberHandlers handlers);

  NodeRegistry& registry() { return registry_; }
  BlockAllocator& blocks() { return blocks_; }
  IdentityAllocator& identities() { return identities_; }
  EndpointPublisher& endpoint_publisher() { return endpoint_publisher_; }
  EnforcementPublisher& enforcement_publisher() { return enforcement_publisher_; }
  EndpointTable& endpoints() { return endpoints_; }
  [[nodiscard]] const EndpointTable& endpoints() const { return endpoints_; }
  [[nodiscard]] const Role& role() const { return role_; }
  [[nodiscard]] const Collector& collector() const { return collector_; }
  [[nodiscard]] const OperatorTable& operators() const { return operators_; }
  Announcers& announcers() { return announcers_; }

 private:
  void membership_changed();
  void operators_changed();

  bool stands_in_;
  Context context_;
  NodeRegistry registry_;
  BlockAllocator blocks_;
  IdentityAllocator identities_;
  EndpointPublisher endpoint_publisher_;
  EnforcementPublisher enforcement_publisher_;
  EndpointTable endpoints_;
  Role role_;
  Collector collector_;
  OperatorTable operators_;
  Announcers announcers_;
};

}  // namespace weft::cluster
