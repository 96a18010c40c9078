#include "sources/cluster/endpoint_publisher.h"

#include <fmt/format.h>

#include <utility>

namespace weft::cluster {

using etcd::Compare;
using etcd::Keys;

namespace {

constexpr auto write_interval = std::chrono::milliseconds(100);

}  // namespace

EndpointPublisher::EndpointPublisher(Context context, const NodeRegistry& registry, Trouble trouble)
    : context_(std::move(context)),
      registry_(&registry),
      trouble_(std::move(trouble)),
      key_(context_.keys.build(EndpointsKey{registry.self().name})),
      turns_(context_.scheduler, context_.backoff, context_.random, [this] { return step(); }) {}

void EndpointPublisher::publish(SharedEndpoints pods) {
  if (wanted_ == pods) return;
  wanted_ = std::move(pods);
  ++version_;
  turns_.wake();
}

void EndpointPublisher::membership_changed() { turns_.wake(); }

void EndpointPublisher::seen(etcd::Revision mod_revision, etcd::Revision at) {
  // Older news than what is known.
  if (at <= revision_ || mod_revision == revision_) return;
  confirmed_epoch_ = 0;
  turns_.wake();
}

bool EndpointPublisher::step() {
  if (!registry_->membership() || !wanted_) return false;
  if (written_ != version_) return too_large_ != version_ && !wait() && write();
  return confirmed_epoch_ != registry_->membership()->epoch && confirm();
}

// The last write was a moment ago: what comes until the next one is joined.
bool EndpointPublisher::wait() {
  const auto now = context_.scheduler.now();
  if (now >= next_write_) return false;
  pace_ = context_.scheduler.after(std::chrono::ceil<std::chrono::milliseconds>(next_write_ - now),
                                   [this] { turns_.wake(); });
  return true;
}

bool EndpointPublisher::write() {
  auto value = encode(NodeEndpoints{registry_->self().boot_id, *wanted_});
  // etcd's requests of 1.5 MiB hold some 7,000 pods.
  if (const auto largest_value = context_.client.largest_value(); value.size() > largest_value) {
    too_large_ = version_;
    if (trouble_)
      trouble_({ErrorCode::exhausted,
                fmt::format("the {} pods of this node take {} bytes; {} are the most for a value that nodes share",
                            wanted_->size(), value.size(), largest_value),
                "other nodes go on with those they know: run fewer pods on one node"});
    return false;
  }
  next_write_ = context_.scheduler.now() + write_interval;
  submit({etcd::PutRequest{.key = key_, .value = std::move(value)}}, version_);
  return true;
}

bool EndpointPublisher::confirm() {
  submit({}, version_);
  return true;
}

void EndpointPublisher::submit(std::vector<etcd::Op> then, std::uint64_t version) {
  const auto& membership = *registry_->membership();
  const bool writes = !then.empty();
  context_.client.txn(
      {.compare = {Compare::unchanged_since(key_, revision_), membership.holds},
       .then = std::move(then),
       .otherwise = {etcd::RangeRequest{.keys = Keys::one(key_)}}},
      {},
      turns_.guarded([this, writes, version, epoch = membership.epoch](const etcd::Outcome<etcd::TxnResult>& outcome) {
        if (!outcome) {
          turns_.retry(outcome.error());
          if (trouble_) trouble_(outcome.error().to_error());
          return;
        }
        if (!outcome->succeeded) return refused(range_of(*outcome, 0));
        if (writes) revision_ = revision_of(*outcome, 0);
        written_ = version;
        confirmed_epoch_ = epoch;
        turns_.next();
      }));
}

// The key is another than was thought: written by a request whose answer was lost, by an earlier run, or collected
// while this node was away.
void EndpointPublisher::refused(const std::vector<etcd::KeyValue>& kvs) {
  const auto known = std::exchange(revision_, kvs.empty() ? 0 : kvs.front().mod_revision);
  if (revision_ == known) return turns_.retry();  // this node was seen as away, which the registry will hear
  const auto there = kvs.empty() ? fail(ErrorCode::not_found, "") : decode_endpoints(key_, kvs.front().value);
  const bool as_wanted = there && *there == NodeEndpoints{registry_->self().boot_id, *wanted_};
  written_ = as_wanted ? version_ : 0;
  turns_.next();
}

}  // namespace weft::cluster
