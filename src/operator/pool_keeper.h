// PodAddressPools of a Kubernetes cluster. What nodes claim blocks of is the key `pools` of the store, which is changed
// by comparing (pool_writer.h); this brings it to what the objects say, and tells in their status what is agreed on:
// nodes go by that. An object is held by a finalizer until its pool has no block and is out of the key. A change that
// would take blocks in use is not made; a condition says so. Without a store a node has all of a pool, and only what
// is wrong with one is told.
//
// Owner thread only; a handler must not destroy this.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "operator/events.h"
#include "operator/object_writer.h"
#include "operator/pod_pool_view.h"
#include "sources/cluster/pool_writer.h"
#include "sources/etcd/mirror.h"
#include "sources/kubernetes/reflector.h"

namespace weft::op {

class PoolKeeper {
 public:
  struct Parts {
    kubernetes::Http& http;
    etcd::Scheduler& scheduler;
    etcd::Random random;
    std::string server;                     // for messages
    std::optional<cluster::Context> store;  // nothing: nodes share nothing
    etcd::BackoffOptions backoff{std::chrono::milliseconds(500), std::chrono::milliseconds(30000)};
    std::chrono::milliseconds retry{5000};  // of what the store refuses
    std::function<std::chrono::system_clock::time_point()> wall_clock = std::chrono::system_clock::now;
  };
  struct Handlers {
    std::function<bool()> acts;  // this program's duty is it now
    // Why no pods can have these addresses: somebody else's they are; empty: they can.
    std::function<std::string(const cluster::Pool& pool)> clash;
    // All that pods have, or may have.
    std::function<void(std::vector<Cidr> cidrs)> cidrs;
    TellEvent event;
    std::function<void(const kubernetes::Failure& why)> trouble;
    std::function<void(const Error& why)> store_trouble;
  };
  PoolKeeper(Parts parts, Handlers handlers);
  ~PoolKeeper() = default;
  PoolKeeper(const PoolKeeper&) = delete;
  PoolKeeper& operator=(const PoolKeeper&) = delete;

  void duty_changed();
  // What clash() says may be another.
  void clashes_changed() { soon(); }
  // Once a second.
  void check();
  [[nodiscard]] bool live() const { return pools_.live(); }
  // As they were last read from the store.
  [[nodiscard]] const std::optional<std::vector<cluster::Pool>>& known() const { return known_; }

 private:
  // What became of the last try to bring a pool into the store; it is tried again from then on.
  struct Outcome {
    std::string wish;    // what it was to be
    std::string reason;  // why not; empty: it is, or nobody knows
    std::string message;
    etcd::Scheduler::Time again{};
  };
  void soon();
  void look();
  void read_known();
  void took(std::vector<cluster::Pool> pools);
  // Something is under way: the rest is looked at when it has ended.
  bool step(const std::string& name, const kubernetes::Entry& entry);
  bool change_store(const std::string& name, const std::string& wish, cluster::Pool pool);
  bool drop_stale();
  bool restore_configured();
  void set_finalizer(const PodPoolView& view, const std::string& version, bool on);
  void tell(const PodPoolView& view, const std::string& version, const Outcome& outcome);
  void count_blocks();
  [[nodiscard]] const cluster::Pool* agreed(const std::string& name) const;

  Parts parts_;
  Handlers handlers_;
  std::optional<std::vector<cluster::Pool>> known_;
  bool stale_ = false;                       // somebody has written the key since it was read
  std::optional<cluster::Pool> configured_;  // that of pod_cidrs, which no object says, as it was read last
  std::map<std::string, Outcome> outcomes_;
  std::map<std::string, std::int64_t> blocks_;  // taken, by pool
  std::string stale_told_;
  bool busy_ = false;
  etcd::Scheduler::Time read_at_{};
  etcd::Timer look_;
  ObjectWriter writer_;
  std::unique_ptr<cluster::PoolWriter> store_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  kubernetes::Reflector pools_;
  std::unique_ptr<etcd::Mirror> key_;
};

}  // namespace weft::op
