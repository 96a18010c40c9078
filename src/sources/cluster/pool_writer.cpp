#include "sources/cluster/pool_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sources/cluster/values.h"

namespace weft::cluster {

using etcd::Compare;
using etcd::Keys;
using etcd::PutRequest;
using etcd::RangeRequest;

namespace {

// Others change pools rarely.
constexpr int most_tries = 20;
constexpr std::int64_t blocks_named = 3;

}  // namespace

Result<PoolChange> change_pool(const Keyspace& keys, std::vector<Pool> known, const Pool& pool) {
  PoolChange change;
  const auto before = std::ranges::find(known, pool.name, &Pool::name);
  if (before != known.end() && !grows(*before, pool)) change.unused = Compare::none_below(keys.blocks_of(pool.name));
  WEFT_TRY(change.pools, change_pools(std::move(known), pool));
  return change;
}

Error pool_in_use(const Keyspace& keys, const std::string& pool, const etcd::RangeResult& blocks) {
  std::string some;
  for (const auto& kv : blocks.kvs) {
    const auto key = keys.parse_as<BlockKey>(kv.key);
    const auto owner = decode_incarnation(kv.key, kv.value);
    some += fmt::format("{}{} of {}", some.empty() ? "" : ", ", key ? key->block.cidr.to_string() : kv.key,
                        owner ? "node " + owner->node : "a node");
  }
  const auto shown = static_cast<std::int64_t>(blocks.kvs.size());
  return {
      ErrorCode::exists,
      fmt::format("PodAddressPool {} is in use: {}{}", pool, some,
                  blocks.count > shown ? fmt::format(" and {} more blocks", blocks.count - shown) : ""),
      "delete the pods that have its addresses; nodes give blocks back once nothing in them is held or quarantined"};
}

PoolWriter::PoolWriter(Context context) : context_(std::move(context)), key_(context_.keys.build(PoolsKey{})) {}

void PoolWriter::read(Done done) { submit({.pool = {}, .done = std::move(done)}); }

void PoolWriter::change(Pool pool, Done done) { submit({.pool = std::move(pool), .done = std::move(done)}); }

void PoolWriter::submit(Job job) {
  jobs_.push_back(std::move(job));
  if (jobs_.size() == 1) look();
}

void PoolWriter::look() {
  context_.client.range({.keys = Keys::one(key_)}, {},
                        guarded([this](const etcd::Outcome<etcd::RangeResult>& outcome) { looked(outcome); }));
}

void PoolWriter::looked(const etcd::Outcome<etcd::RangeResult>& outcome) {
  if (!outcome) return finish(fail(outcome.error().to_error()));
  const auto& kvs = outcome->kvs;
  auto known = kvs.empty() ? Result<std::vector<Pool>>(std::vector<Pool>()) : decode_pools(key_, kvs.front().value);
  const auto& job = jobs_.front();
  if (!known || !job.pool) return finish(known);
  auto change = change_pool(context_.keys, *known, *job.pool);
  if (!change) return finish(fail(change.error()));
  if (change->pools == *known) return finish(known);
  write(kvs.empty() ? 0 : kvs.front().mod_revision, std::move(*change));
}

void PoolWriter::write(etcd::Revision revision, PoolChange change) {
  etcd::Txn txn;
  txn.compare.push_back(revision == 0 ? Compare::absent(key_) : Compare::unchanged_since(key_, revision));
  if (change.unused) {
    txn.otherwise.emplace_back(RangeRequest{.keys = Keys::prefix(change.unused->key), .limit = blocks_named});
    txn.compare.push_back(*change.unused);
  }
  txn.then.emplace_back(PutRequest{.key = key_, .value = encode(change.pools)});
  context_.client.txn(
      std::move(txn), {},
      guarded([this, pools = std::move(change.pools), compared = change.unused.has_value()](
                  const etcd::Outcome<etcd::TxnResult>& outcome) { written(outcome, pools, compared); }));
}

void PoolWriter::written(const etcd::Outcome<etcd::TxnResult>& outcome, const std::vector<Pool>& pools,
                         bool compared_blocks) {
  auto& job = jobs_.front();
  if (outcome && outcome->succeeded) return finish(pools);
  if (!outcome && !outcome.error().unsure) return finish(fail(outcome.error().to_error()));
  if (outcome && compared_blocks) {
    const auto& blocks = std::get<etcd::RangeResult>(outcome->results.at(0));
    if (!blocks.kvs.empty()) return finish(fail(pool_in_use(context_.keys, job.pool->name, blocks)));
  }
  // Somebody else was quicker, or the answer was lost: what is there now decides.
  if (++job.tries < most_tries) return look();
  finish(fail(ErrorCode::unavailable, "the cluster's pools change all the time"));
}

void PoolWriter::finish(const Result<std::vector<Pool>>& result) {
  const auto done = std::move(jobs_.front().done);
  const std::weak_ptr<bool> alive = alive_;
  done(result);
  if (alive.expired()) return;
  jobs_.pop_front();
  if (!jobs_.empty()) look();
}

}  // namespace weft::cluster
