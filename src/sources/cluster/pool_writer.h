// Changes of `pools`, the one key that all pools of a cluster are: compared with what it was, and, where blocks of
// before would be none any more, with the pool's having no block. So of a change and a claim one fails
// (block_allocator.h).
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sources/cluster/context.h"
#include "sources/cluster/pools.h"

namespace weft::cluster {

struct PoolChange {
  std::vector<Pool> pools;              // afterwards
  std::optional<etcd::Compare> unused;  // what has to be so, beside `pools` being unchanged
};
// `known` with the pool as it says; without ranges it is gone.
Result<PoolChange> change_pool(const Keyspace& keys, std::vector<Pool> known, const Pool& pool);

// Who has blocks of a pool that is to go: the keys and values of some of them.
Error pool_in_use(const Keyspace& keys, const std::string& pool, const etcd::RangeResult& blocks);

// Owner thread only. Callbacks do not run inside the call that is given them; destroying it drops them.
class PoolWriter {
 public:
  using Done = std::function<void(const Result<std::vector<Pool>>& pools)>;  // all of them, as they are now

  explicit PoolWriter(Context context);
  ~PoolWriter() = default;
  PoolWriter(const PoolWriter&) = delete;
  PoolWriter& operator=(const PoolWriter&) = delete;

  void read(Done done);
  // `exists`: it has blocks; `invalid`: it overlaps another, both are named. One at a time, the others wait.
  void change(Pool pool, Done done);

 private:
  struct Job {
    std::optional<Pool> pool;  // nothing: they are only read
    Done done;
    int tries = 0;
  };
  void submit(Job job);
  void look();
  void looked(const etcd::Outcome<etcd::RangeResult>& outcome);
  void write(etcd::Revision revision, PoolChange change);
  void written(const etcd::Outcome<etcd::TxnResult>& outcome, const std::vector<Pool>& pools, bool compared_blocks);
  void finish(const Result<std::vector<Pool>>& result);

  template <class Answer>
  auto guarded(Answer answer) {
    return [alive = std::weak_ptr(alive_), answer = std::move(answer)](const auto&... given) {
      if (!alive.expired()) answer(given...);
    };
  }

  Context context_;
  std::string key_;
  std::deque<Job> jobs_;  // the first one is at work
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weft::cluster
