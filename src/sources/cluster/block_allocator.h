// Blocks of the cluster's pools for this node. No two nodes ever may give out addresses of the same block:
//
// - A block is claimed by writing its key only if that is absent. All nodes cut pools into the same blocks, for the
//   pools themselves are one key that is changed by comparing, and every claim compares that it is unchanged. Whoever
//   takes a pool away, or cuts it otherwise, compares that it has no block (shared_objects.h).
// - A node that comes back touches each of its blocks before it relies on it: writes its key again, in a transaction
// that
//   holds only if the key is still its own and it is alive itself. A collector (collector.h) takes a block only from a
//   node that is not alive, and only if nobody has touched it for the whole delay. So one of the two fails.
// - A node that is cut off stops giving out addresses of its blocks before that delay can be over anywhere.
//
// Owner thread only; a handler must not destroy the allocator.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sources/cluster/context.h"
#include "sources/cluster/node_registry.h"
#include "sources/cluster/pools.h"
#include "sources/cluster/turns.h"

namespace weft::cluster {

// Who has which block, of all nodes.
using BlockOwners = std::map<Block, std::string>;

struct BlockHandlers {
  std::function<void()> owners;   // owners(), or synced()
  std::function<void()> changed;  // blocks(), settled(), or what may be allocated from
  // Others may have them by now: no address of them may be in use here any more.
  std::function<void(const std::vector<Block>& blocks)> lost;
  Trouble trouble;
};

class BlockAllocator {
 public:
  using Claimed = std::function<void(Result<Block>)>;

  // `remembered`: what this node had when it last ran; told as `lost` where that is no longer so. The pools are those
  // every node has, added to the cluster's where they are missing; they have passed check_pools.
  BlockAllocator(Context context, NodeRegistry& registry, std::vector<Pool> pools, const std::vector<Block>& remembered,
                 BlockHandlers handlers);
  ~BlockAllocator() = default;
  BlockAllocator(const BlockAllocator&) = delete;
  BlockAllocator& operator=(const BlockAllocator&) = delete;

  // One more block; answered when there is one, or when it is known that there is none: `exhausted` names the pool and
  // what it has, `invalid` a pool that contradicts the cluster's. Without etcd it waits. `within`: only of these parts
  // of the pool, which are no other node's; empty: of all of it.
  void claim(std::string pool, Family family, Claimed done, std::vector<PoolRange> within = {});
  // That very block, which may be this node's already; `exists` names the node that has it.
  void claim(Block block, Claimed done);
  // The cluster's pools may be others: they are read again before the next claim. `held`: those that this node knows
  // while the cluster has no objects. Where etcd has lost one, who claims a block of it by name brings it back, or
  // pods would not be reached until somebody gives etcd the objects again.
  void pools_changed(std::vector<Pool> held = {});
  // No address of it may be in use, or rest, any more. It may not be allocated from as of now.
  void release(const Block& block);

  // What this node has, or had when it was last heard of, without those being released. More than was claimed where
  // the answer to a claim had been lost.
  [[nodiscard]] std::vector<Block> blocks() const;
  [[nodiscard]] bool may_allocate_from(const Block& block) const;
  // This node is a member, and has found out about each block whether it is still its own: what it has is all there is.
  [[nodiscard]] bool settled() const;
  // By the mirror. A key or value that makes no sense is left out, and told as trouble when it comes.
  [[nodiscard]] const BlockOwners& owners() const { return owners_; }
  [[nodiscard]] bool synced() const { return mirror_.synced(); }
  // The registry's node joined or left.
  void membership_changed();

 private:
  struct Own {
    etcd::Revision revision = 0;            // of its key as we wrote it
    std::uint64_t epoch = 0;                // of the membership it was last confirmed in; 0: in none
    etcd::Scheduler::Time trusted_until{};  // while this node is away
    bool releasing = false;
    bool found = false;  // in etcd as ours, and nobody here was told of it yet
  };
  struct Claim {
    std::string pool;
    Family family = Family::v4;
    std::optional<Block> wanted;  // no other
    std::vector<PoolRange> within;
    Claimed done;
    std::optional<Block> tried;  // its answer was lost, or it is found to be ours: once confirmed it is the answer
  };

  bool step();
  void agree_on_pools();
  void pools_read(const etcd::RangeResult& result);
  [[nodiscard]] std::vector<Pool> with_wanted(std::vector<Pool> pools) const;
  void touch(const Block& block);
  void touched(const Block& block, const etcd::TxnResult& result, std::uint64_t epoch);
  void give_back(const Block& block);
  bool claim_next();
  Result<Block> candidate(const Claim& claim);
  [[nodiscard]] Result<Block> free_block(const Pool& pool, const Claim& claim);
  [[nodiscard]] bool is_free(const Block& block) const;
  [[nodiscard]] Result<Block> named_block(const Pool& pool, const Block& block) const;
  void answer_later(Result<Block> result);
  void claim_answered(const Block& block, const etcd::TxnResult& result, std::uint64_t epoch);
  void confirm(const Block& block, etcd::Revision revision, std::uint64_t epoch);
  void lose(const Block& block);
  void answer(Result<Block> result);
  void mirror_changed(const etcd::Change& change);
  void refresh_owners(const etcd::Change& change);
  [[nodiscard]] bool is_ours(const etcd::KeyValue& kv) const;
  // The request's failure ends the turn; its success goes on in `good`.
  template <class T>
  auto unless_failed(std::function<void(const T&)> good);

  Context context_;
  NodeRegistry* registry_;
  std::vector<Pool> pools_;  // this node's own
  std::vector<Pool> held_;   // see pools_changed
  std::vector<Pool> known_;  // the cluster's, when they were read last
  BlockHandlers handlers_;
  std::string value_;              // under the keys of this node's blocks
  std::string predecessor_value_;  // and under those of the run before; empty: it is not known
  etcd::Revision pools_agreed_ = 0;
  bool agreed_ = false;
  std::uint64_t pools_news_ = 0;
  // Where the search goes on in pools of blocks of one address, so that one that was given back is taken late.
  std::map<std::pair<std::string, Family>, std::uint64_t> next_;
  std::map<Block, Own> own_;
  BlockOwners owners_;
  std::deque<Claim> claims_;
  std::map<Block, etcd::Revision> conflicts_;  // seen as taken at that revision, and not yet in the mirror
  Turns turns_;
  etcd::Mirror mirror_;
};

}  // namespace weft::cluster
