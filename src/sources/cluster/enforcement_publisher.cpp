#include "sources/cluster/enforcement_publisher.h"

#include <algorithm>
#include <utility>

namespace weft::cluster {

using etcd::Compare;
using etcd::Keys;
using std::chrono::milliseconds;

namespace {

constexpr auto write_interval = milliseconds(1000);
// For each node, how long all of them together take to tell what is not urgent.
constexpr auto share = milliseconds(50);
constexpr auto longest_wait = milliseconds(60000);
// Nobody watches the key for its node: somebody may have deleted it.
constexpr auto confirm_pace = std::chrono::minutes(5);
// Below what stores take, and enough for some 5,000 policies.
constexpr std::size_t most_bytes = 1'000'000;

}  // namespace

EnforcementPublisher::EnforcementPublisher(Context context, const NodeRegistry& registry, Trouble trouble)
    : context_(std::move(context)),
      registry_(&registry),
      trouble_(std::move(trouble)),
      key_(context_.keys.build(EnforcementKey{registry.self().name})),
      turns_(context_.scheduler, context_.backoff, context_.random, [this] { return step(); }) {}

void EnforcementPublisher::publish(Enforcement enforcement) {
  enforcement.boot_id = registry_->self().boot_id;
  if (wanted_ == enforcement) return;
  const auto now = context_.scheduler.now();
  const bool urgent = !wanted_ || !wanted_->tells_as(enforcement);
  // What waits already keeps its time.
  const bool waits = wanted_ && written_ != version_;
  auto due = now;
  if (!urgent) {
    const auto most = std::clamp(share * static_cast<int>(registry_->nodes().size()), write_interval, longest_wait);
    due += milliseconds(context_.random() % static_cast<std::uint64_t>(most.count()));
  }
  due_ = waits ? std::min(due_, due) : due;
  wanted_ = std::move(enforcement);
  ++version_;
  turns_.wake();
}

bool EnforcementPublisher::step() {
  if (!registry_->membership() || !wanted_) return false;
  if (written_ != version_) return !wait() && write();
  if (confirmed_epoch_ == registry_->membership()->epoch) return false;
  submit({}, version_);
  return true;
}

bool EnforcementPublisher::wait() {
  const auto now = context_.scheduler.now();
  const auto until = std::max(next_write_, due_);
  if (now >= until) return false;
  pace_ = context_.scheduler.after(std::chrono::ceil<milliseconds>(until - now), [this] { turns_.wake(); });
  return true;
}

std::string EnforcementPublisher::text() const {
  return encode_within(*wanted_, std::min(context_.client.largest_value(), most_bytes));
}

bool EnforcementPublisher::write() {
  next_write_ = context_.scheduler.now() + write_interval;
  submit({etcd::PutRequest{.key = key_, .value = text()}}, version_);
  return true;
}

void EnforcementPublisher::submit(std::vector<etcd::Op> then, std::uint64_t version) {
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
        confirm_later();
        turns_.next();
      }));
}

void EnforcementPublisher::confirm_later() {
  confirm_ = context_.scheduler.after(confirm_pace, [this] {
    confirmed_epoch_ = 0;
    turns_.wake();
  });
}

// The key is another than was thought: written by a request whose answer was lost, by an earlier run, or deleted.
void EnforcementPublisher::refused(const std::vector<etcd::KeyValue>& kvs) {
  const auto known = std::exchange(revision_, kvs.empty() ? 0 : kvs.front().mod_revision);
  if (revision_ == known) return turns_.retry();  // this node was seen as away, which the registry will hear
  written_ = !kvs.empty() && kvs.front().value == text() ? version_ : 0;
  turns_.next();
}

}  // namespace weft::cluster
