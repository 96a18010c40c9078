// The blocks of addresses that are this node's: asked of the cluster by need, given back when nothing in them is used,
// and asked for again where they got lost. The store remembers them for the next run.
//
// On the agent's thread; handlers run there.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/faults.h"
#include "base/ip.h"
#include "config/agent/config.h"
#include "control/ipam/ipam.h"
#include "sources/cluster/member.h"
#include "sources/etcd/scheduler.h"
#include "sources/store/store.h"

namespace weft::agent {

class OwnBlocks {
 public:
  using Done = std::function<void(Result<void>)>;

  // What the node had when it last ran is in the store. `changed`: usable() or gateways() may be others.
  OwnBlocks(const Config& config, store::Store& store, Faults& faults, etcd::Scheduler& scheduler,
            std::function<void()> changed);
  // Of the store; for the member that is to be made.
  [[nodiscard]] const std::vector<cluster::Block>& remembered() const { return remembered_; }
  // Before the member's first handler runs; it outlives this.
  void follow(cluster::Member& member) { member_ = &member; }

  // The member's handlers.
  void changed();
  void lost(const std::vector<cluster::Block>& blocks);
  // Once a second: what is lost is asked for again.
  void check();

  // As ClusterLink has them.
  [[nodiscard]] std::map<std::string, std::vector<Cidr>> usable() const;
  [[nodiscard]] std::vector<Cidr> all() const;
  [[nodiscard]] const std::map<Family, IpAddress>& gateways() const { return gateways_; }
  void claim(const std::string& pool, Family family, Done done);
  void claim(const cluster::Block& block, Done done);
  [[nodiscard]] bool claims(const std::string& pool, Family family) const;
  void hold(const std::string& pool) { ++held_[pool]; }
  void let_go(const std::string& pool);
  bool release_unused(const control::Ipam& ipam);
  [[nodiscard]] std::string owner_of(const cluster::Block& block) const;

 private:
  // One more block is asked for only once it is known what this node has: it may do.
  struct Claim {
    bool asked = false;
    std::vector<Done> waiting;
  };
  // Not this node's any more, while pods have addresses of it.
  struct Lost {
    bool asked = false;
    bool taken = false;  // by another node
    std::string why;     // it is not had again
  };
  using Need = std::pair<std::string, Family>;

  [[nodiscard]] bool is_of_default(const IpAddress& address) const;
  void tell_out_of_bounds();
  void remember();
  void choose_gateways();
  void settle();
  [[nodiscard]] bool is_known(const Need& need) const;
  void ask(const Need& need);
  void answer(const Need& need, const Result<void>& outcome);
  void reclaim(const cluster::Block& block);
  void reclaimed(const cluster::Block& block, const Result<void>& outcome);
  void tell_lost();
  bool forget_unused(const control::Ipam& ipam);
  [[nodiscard]] bool has_usable(const Need& need) const;
  [[nodiscard]] bool is_needed(const cluster::Block& block, const control::Ipam& ipam,
                               std::map<Family, std::size_t>& left) const;
  void later(std::function<void()> task);

  const Config& config_;
  store::Store& store_;
  Faults& faults_;
  etcd::Scheduler& scheduler_;
  std::function<void()> changed_;
  cluster::Member* member_ = nullptr;

  std::vector<cluster::Block> remembered_;  // as in the store
  std::string stored_;
  std::map<Family, IpAddress> gateways_;
  std::map<Need, Claim> claims_;
  std::map<std::string, int> held_;
  std::map<cluster::Block, Lost> lost_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // tasks that were posted do not run once this is gone
};

}  // namespace weft::agent
