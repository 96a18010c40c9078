#include "sources/cluster/block_allocator.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sources/cluster/spread.h"

namespace weft::cluster {

using etcd::Compare;
using etcd::Keys;
using etcd::PutRequest;
using etcd::RangeRequest;
using etcd::RangeResult;
using etcd::TxnResult;

BlockAllocator::BlockAllocator(Context context, NodeRegistry& registry, std::vector<Pool> pools,
                               const std::vector<Block>& remembered, BlockHandlers handlers)
    : context_(std::move(context)),
      registry_(&registry),
      pools_(std::move(pools)),
      handlers_(std::move(handlers)),
      value_(encode(registry.self().incarnation())),
      turns_(context_.scheduler, context_.backoff, context_.random, [this] { return step(); }),
      mirror_(
          context_.client, context_.scheduler, context_.random,
          context_.mirror_of_nodes(context_.keys.blocks(), [this](const etcd::KeyValue& kv) { return !is_ours(kv); }),
          {.changed = [this](const etcd::Change& change) { mirror_changed(change); },
           .state =
               [this] {
                 turns_.wake();
                 if (handlers_.owners) handlers_.owners();
                 if (handlers_.changed) handlers_.changed();
               }}) {
  const auto& self = registry.self();
  if (!self.predecessor.empty()) predecessor_value_ = encode(Incarnation{self.name, self.predecessor});
  for (const auto& block : remembered) {
    auto& own = own_[block];
    if (self.kept_before && self.record.keep) own.trusted_until = etcd::Scheduler::Time::max();
  }
}

template <class T>
auto BlockAllocator::unless_failed(std::function<void(const T&)> good) {
  return turns_.guarded([this, good = std::move(good)](const etcd::Outcome<T>& outcome) {
    if (outcome) return good(*outcome);
    turns_.retry(outcome.error());
    if (handlers_.trouble) handlers_.trouble(outcome.error().to_error());
  });
}

void BlockAllocator::claim(std::string pool, Family family, Claimed done, std::vector<PoolRange> within) {
  claims_.push_back({.pool = std::move(pool),
                     .family = family,
                     .wanted = {},
                     .within = std::move(within),
                     .done = std::move(done),
                     .tried = {}});
  context_.scheduler.post(turns_.guarded_task([this] { turns_.wake(); }));
}

void BlockAllocator::claim(Block block, Claimed done) {
  const auto family = block.cidr.family();
  claims_.push_back({.pool = block.pool,
                     .family = family,
                     .wanted = std::move(block),
                     .within = {},
                     .done = std::move(done),
                     .tried = {}});
  context_.scheduler.post(turns_.guarded_task([this] { turns_.wake(); }));
}

void BlockAllocator::pools_changed(std::vector<Pool> held) {
  held_ = std::move(held);
  ++pools_news_;
  agreed_ = false;
  turns_.wake();
}

void BlockAllocator::release(const Block& block) {
  const auto own = own_.find(block);
  if (own == own_.end() || own->second.releasing) return;
  own->second.releasing = true;
  turns_.wake();
}

std::vector<Block> BlockAllocator::blocks() const {
  std::vector<Block> blocks;
  for (const auto& [block, own] : own_)
    if (!own.releasing && !own.found) blocks.push_back(block);
  return blocks;
}

bool BlockAllocator::may_allocate_from(const Block& block) const {
  const auto found = own_.find(block);
  if (found == own_.end() || found->second.releasing) return false;
  const auto& membership = registry_->membership();
  if (membership && found->second.epoch == membership->epoch) return true;
  return context_.scheduler.now() < found->second.trusted_until;
}

bool BlockAllocator::settled() const {
  const auto& membership = registry_->membership();
  return membership && mirror_.synced() &&
         std::ranges::all_of(own_, [&](const auto& own) { return own.second.epoch == membership->epoch; });
}

void BlockAllocator::membership_changed() {
  if (!registry_->membership()) {
    // Those that were not confirmed since the absence before last are trusted no longer than they were.
    for (auto& [block, own] : own_)
      if (std::exchange(own.epoch, 0) != 0) own.trusted_until = registry_->trusted_until();
    conflicts_.clear();  // an etcd that was wiped meanwhile counts anew
  }
  turns_.wake();
}

bool BlockAllocator::step() {
  const auto& membership = registry_->membership();
  if (!membership) return false;
  for (const auto& [block, own] : own_) {
    if (own.epoch != membership->epoch) {
      touch(block);
      return true;
    }
    if (own.releasing) {
      give_back(block);
      return true;
    }
  }
  return claim_next();
}

bool BlockAllocator::claim_next() {
  if (claims_.empty() || !mirror_.synced()) return false;
  if (!agreed_) {
    agree_on_pools();
    return true;
  }
  const auto block = candidate(claims_.front());
  if (!block || own_.contains(*block)) {
    answer_later(block);
    return true;
  }
  const auto& membership = *registry_->membership();
  const auto key = context_.keys.build(BlockKey{*block});
  const auto pools_key = context_.keys.build(PoolsKey{});
  claims_.front().tried = *block;
  context_.client.txn(
      {.compare = {Compare::absent(key), membership.holds, Compare::unchanged_since(pools_key, pools_agreed_)},
       .then = {PutRequest{.key = key, .value = value_}},
       .otherwise = {RangeRequest{.keys = Keys::one(key)}, RangeRequest{.keys = Keys::one(pools_key)}}},
      {}, unless_failed<TxnResult>([this, block = *block, epoch = membership.epoch](const TxnResult& result) {
        claim_answered(block, result, epoch);
      }));
  return true;
}

void BlockAllocator::answer_later(Result<Block> result) {
  context_.scheduler.post(turns_.guarded_task([this, result = std::move(result)] {
    answer(result);
    turns_.next();
  }));
}

Result<Block> BlockAllocator::candidate(const Claim& claim) {
  const auto pool = std::ranges::find(known_, claim.pool, &Pool::name);
  if (pool == known_.end()) {
    agreed_ = false;  // whoever claims again has it looked at again
    return fail(ErrorCode::not_found,
                fmt::format("the cluster has no pool \"{}\": there are {}", claim.pool, names_of(known_)));
  }
  return claim.wanted ? named_block(*pool, *claim.wanted) : free_block(*pool, claim);
}

// One of this node's own is none that has to be claimed: what step() does first has made sure of it.
Result<Block> BlockAllocator::named_block(const Pool& pool, const Block& block) const {
  if (!pool.has_block(block.cidr))
    return fail(ErrorCode::invalid,
                fmt::format("{} is no block of pool \"{}\" ({})", block.cidr.to_string(), pool.name, pool.to_string()));
  if (own_.contains(block)) return block;
  const auto seen = mirror_.view().find(context_.keys.build(BlockKey{block}));
  const bool others = seen != mirror_.view().end() && !is_ours(seen->second);
  // What was this node's by the mirror is asked for in etcd, which knows better.
  if (!others && !conflicts_.contains(block)) return block;
  const auto owner = owners_.find(block);
  return fail(ErrorCode::exists,
              fmt::format("block {} of pool \"{}\" is {}", block.cidr.to_string(), pool.name,
                          owner == owners_.end() ? "another node's" : "node " + owner->second + "'s"));
}

bool BlockAllocator::is_free(const Block& block) const {
  return !own_.contains(block) && !conflicts_.contains(block) &&
         !mirror_.view().contains(context_.keys.build(BlockKey{block}));
}

// The first block for this node's name that nobody has, as far as is known here.
Result<Block> BlockAllocator::free_block(const Pool& pool, const Claim& claim) {
  const auto of = claim.family;
  // No two nodes look for one in the same part: from its beginning.
  for (const auto& part : claim.within)
    for (std::uint64_t i = 0; i < part.blocks(); ++i)
      if (Block block{pool.name, part.block(i)}; pool.has_block(block.cidr) && is_free(block)) return block;
  if (!claim.within.empty())
    return fail(ErrorCode::exhausted, fmt::format("all blocks of {} are taken: {}", pool.name,
                                                  Pool{.name = pool.name, .ranges = claim.within}.to_string()));
  const std::uint64_t all = pool.blocks(of);
  const auto family = of == Family::v4 ? "IPv4" : "IPv6";
  if (all == 0) return fail(ErrorCode::not_found, fmt::format("pool \"{}\" has no {} addresses", pool.name, family));
  const auto behind = next_.find({pool.name, of});
  const std::uint64_t first = (behind == next_.end() ? spread(registry_->self().name) : behind->second) % all;
  // Each block that is not free costs one look, so this ends soon after as many as there are.
  for (std::uint64_t i = 0; i < all; ++i) {
    const auto index = (first + i) % all;
    Block block{pool.name, pool.block(of, index)};
    if (!is_free(block)) continue;
    if (block.cidr.mapped_length() == 128) next_[{pool.name, of}] = index + 1;
    return block;
  }
  return fail(
      ErrorCode::exhausted, fmt::format("pool \"{}\": all {} {} blocks are taken", pool.name, all, family),
      // "default" is the configuration's, the others are objects.
      pool.name == "default"
          ? "weft apply a PodAddressPool for some of the pods, or see which nodes have more blocks than they "
            "need: weft node list"
          : fmt::format("weft apply the PodAddressPool {} with one more CIDR in spec.cidrs, or delete pods that "
                        "have its addresses: weft ipam list",
                        pool.name));
}

void BlockAllocator::claim_answered(const Block& block, const TxnResult& result, std::uint64_t epoch) {
  if (result.succeeded) {
    confirm(block, revision_of(result, 0), epoch);
    return turns_.next();
  }
  const auto& holder = range_of(result, 0);
  if (!holder.empty() && is_ours(holder.front())) {
    // Ours by a try whose answer was lost.
    own_.try_emplace(block, Own{.found = true});
    return turns_.next();
  }
  claims_.front().tried.reset();
  if (!holder.empty()) {
    conflicts_[block] = holder.front().mod_revision;
    return turns_.next();
  }
  const auto& pools = range_of(result, 1);
  if (pools.empty() || pools.front().mod_revision != pools_agreed_) {
    agreed_ = false;
    return turns_.next();
  }
  // This node was seen as away, which the registry will hear.
  turns_.retry();
}

void BlockAllocator::agree_on_pools() {
  context_.client.range({.keys = Keys::one(context_.keys.build(PoolsKey{}))}, {},
                        unless_failed<RangeResult>([this, news = pools_news_](const RangeResult& result) {
                          // What came meanwhile may be newer than this answer.
                          if (news != pools_news_) return turns_.next();
                          pools_read(result);
                        }));
}

void BlockAllocator::pools_read(const RangeResult& result) {
  const auto key = context_.keys.build(PoolsKey{});
  const etcd::Revision revision = result.kvs.empty() ? 0 : result.kvs.front().mod_revision;
  auto known =
      result.kvs.empty() ? Result<std::vector<Pool>>(std::vector<Pool>()) : decode_pools(key, result.kvs.front().value);
  auto merged = known ? merge_pools(*known, pools_) : fail(known.error());
  if (!merged) {
    // Whoever claims again has it looked at again.
    answer(fail(merged.error()));
    return turns_.next();
  }
  *merged = with_wanted(std::move(*merged));
  if (*merged == *known) {
    agreed_ = true;
    known_ = std::move(*merged);
    pools_agreed_ = revision;
    return turns_.next();
  }
  context_.client.txn({.compare = {revision == 0 ? Compare::absent(key) : Compare::unchanged_since(key, revision)},
                       .then = {PutRequest{.key = key, .value = encode(*merged)}},
                       .otherwise = {}},
                      {},
                      unless_failed<TxnResult>([this, merged = *merged, news = pools_news_](const TxnResult& written) {
                        agreed_ = written.succeeded && news == pools_news_;
                        if (written.succeeded) known_ = merged;
                        if (written.succeeded) pools_agreed_ = revision_of(written, 0);
                        turns_.next();
                      }));
}

// And those held of which a block is claimed by name. One that contradicts what others have brought back is left out.
std::vector<Pool> BlockAllocator::with_wanted(std::vector<Pool> pools) const {
  for (const auto& claim : claims_) {
    if (!claim.wanted || std::ranges::find(pools, claim.pool, &Pool::name) != pools.end()) continue;
    const auto held = std::ranges::find(held_, claim.pool, &Pool::name);
    if (held == held_.end() || !held->has_block(claim.wanted->cidr)) continue;
    if (auto merged = merge_pools(pools, {*held})) pools = std::move(*merged);
  }
  return pools;
}

// The key is written again if it is still this node's.
void BlockAllocator::touch(const Block& block) {
  const auto& membership = *registry_->membership();
  const auto key = context_.keys.build(BlockKey{block});
  const auto known = own_.at(block).revision;
  const auto ours = known == 0 ? Compare{.key = key, .target = Compare::Target::value, .value = value_}
                               : Compare::unchanged_since(key, known);
  context_.client.txn({.compare = {ours, membership.holds},
                       .then = {PutRequest{.key = key, .value = value_}},
                       .otherwise = {RangeRequest{.keys = Keys::one(key)}}},
                      {}, unless_failed<TxnResult>([this, block, epoch = membership.epoch](const TxnResult& result) {
                        touched(block, result, epoch);
                      }));
}

void BlockAllocator::touched(const Block& block, const TxnResult& result, std::uint64_t epoch) {
  if (result.succeeded) {
    confirm(block, revision_of(result, 0), epoch);
    return turns_.next();
  }
  const auto& holder = range_of(result, 0);
  if (holder.empty() || !is_ours(holder.front())) {
    lose(block);
    return turns_.next();
  }
  // Ours with a revision that we do not know: another try's answer was lost, or it is the run's before.
  auto& own = own_.at(block);
  if (std::exchange(own.revision, holder.front().mod_revision) != holder.front().mod_revision) return turns_.next();
  turns_.retry();  // this node was seen as away, which the registry will hear
}

// By revision, not by owner: an erasure that comes late finds a block that was claimed again to be another one.
void BlockAllocator::give_back(const Block& block) {
  const auto key = context_.keys.build(BlockKey{block});
  context_.client.txn({.compare = {Compare::unchanged_since(key, own_.at(block).revision)},
                       .then = {etcd::EraseRequest{Keys::one(key)}},
                       .otherwise = {RangeRequest{.keys = Keys::one(key)}}},
                      {}, unless_failed<TxnResult>([this, block](const TxnResult& result) {
                        const bool still_ours =
                            !result.succeeded && !range_of(result, 0).empty() && is_ours(range_of(result, 0).front());
                        if (still_ours)
                          own_.at(block).revision = range_of(result, 0).front().mod_revision;
                        else
                          own_.erase(block);
                        turns_.next();
                      }));
}

void BlockAllocator::confirm(const Block& block, etcd::Revision revision, std::uint64_t epoch) {
  auto& own = own_[block];
  own.revision = revision;
  const auto& membership = registry_->membership();
  // An answer that came after this node had left says nothing about now.
  if (!membership || membership->epoch != epoch) return;
  own.epoch = epoch;
  own.found = false;
  if (!own.releasing && !claims_.empty() && claims_.front().tried == block) answer(block);
  if (handlers_.changed) handlers_.changed();
}

void BlockAllocator::lose(const Block& block) {
  const auto own = own_.find(block);
  const bool told = own != own_.end() && !own->second.releasing && !own->second.found;
  if (own != own_.end()) own_.erase(own);
  if (!claims_.empty() && claims_.front().tried == block) claims_.front().tried.reset();
  if (!told) return;
  if (handlers_.lost) handlers_.lost({block});
  if (handlers_.changed) handlers_.changed();
}

void BlockAllocator::answer(Result<Block> result) {
  const auto done = std::move(claims_.front().done);
  claims_.pop_front();
  done(std::move(result));
}

bool BlockAllocator::is_ours(const etcd::KeyValue& kv) const {
  return kv.value == value_ || (!predecessor_value_.empty() && kv.value == predecessor_value_);
}

void BlockAllocator::refresh_owners(const etcd::Change& change) {
  for (const auto& kv : change.erased)
    if (const auto key = context_.keys.parse_as<BlockKey>(kv.key)) owners_.erase(key->block);
  for (const auto& kv : change.set) {
    const auto key = context_.keys.parse_as<BlockKey>(kv.key);
    if (!key) continue;
    const auto owner = decode_incarnation(kv.key, kv.value);
    if (owner)
      owners_[key->block] = owner->node;
    else
      owners_.erase(key->block);
    if (!owner && handlers_.trouble) handlers_.trouble(owner.error());
  }
  if (handlers_.owners) handlers_.owners();
}

void BlockAllocator::mirror_changed(const etcd::Change& change) {
  refresh_owners(change);
  std::erase_if(conflicts_, [&](const auto& conflict) { return conflict.second <= mirror_.revision(); });
  std::vector<Block> lost;
  for (const auto& [block, own] : own_) {
    // Not what was written after what the mirror shows.
    if (own.epoch == 0 || own.revision > change.revision) continue;
    const auto kv = mirror_.view().find(context_.keys.build(BlockKey{block}));
    if (kv == mirror_.view().end() || !is_ours(kv->second)) lost.push_back(block);
  }
  for (const auto& block : lost) lose(block);
  for (const auto& kv : change.set) {
    const auto key = context_.keys.parse_as<BlockKey>(kv.key);
    if (!key && handlers_.trouble) handlers_.trouble(key.error());
    // A claim whose answer was lost, or one of the run before. What we gave back meanwhile is not there any more.
    if (key && is_ours(kv)) own_.try_emplace(key->block, Own{.found = true});
  }
  turns_.wake();
}

}  // namespace weft::cluster
