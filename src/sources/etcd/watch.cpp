#include "sources/etcd/watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace weft::etcd {
namespace {

constexpr int most_unanswered = 3;

// Whether a history in which there was this is the one in which `known` was told.
bool recognized(const Known& known, const TxnResult& then) {
  for (std::size_t i = 0; i < known.some.size(); ++i) {
    const auto& kvs = std::get<RangeResult>(then.results.at(i)).kvs;
    const auto& kv = known.some[i];
    if (kvs.size() != 1 || kvs[0].mod_revision != kv.mod_revision || kvs[0].create_revision != kv.create_revision ||
        kvs[0].version != kv.version)
      return false;
  }
  // Where it was not asked for, there is none.
  return then.results.size() == known.some.size() || std::get<RangeResult>(then.results.back()).count == known.count;
}

}  // namespace

Watch::Watch(Client& client, Scheduler& scheduler, Random random, Keys keys, Revision from, WatchOptions options,
             WatchEvents handlers)
    : client_(&client),
      scheduler_(&scheduler),
      keys_(std::move(keys)),
      options_(options),
      handlers_(std::move(handlers)),
      backoff_(options.backoff, std::move(random)),
      next_(from) {
  open();
}

void Watch::open() {
  unanswered_ = 0;
  timer_.cancel();
  stream_ = client_->watch({.keys = keys_, .start_revision = next_},
                           {.batch = [this](WatchBatch batch) { received(std::move(batch)); },
                            .ended = [this](const Failure& why) { lost(why); }});
  arm_sign_of_life();
}

void Watch::arm_sign_of_life() {
  timer_ = scheduler_->after(options_.sign_of_life, [this] {
    if (++unanswered_ > most_unanswered) return lost({.reason = Reason::unavailable, .message = "the watch is silent"});
    stream_->request_progress();
    arm_sign_of_life();
  });
}

void Watch::received(WatchBatch batch) {
  if (cluster_id_ && *cluster_id_ != batch.cluster_id)
    return end({.reason = Reason::history_lost, .message = "watch " + keys_.text() + ": another cluster answers"});
  cluster_id_ = batch.cluster_id;
  standing_ = true;
  backoff_.reset();
  unanswered_ = 0;
  arm_sign_of_life();
  const std::weak_ptr<bool> alive = alive_;
  if (batch.kind == WatchBatch::Kind::events) {
    // A stream begins where it was asked to, but what we know already is never told twice.
    std::erase_if(batch.events, [this](const Event& event) { return event.kv.mod_revision < next_; });
    next_ = std::max(next_, batch.revision + 1);
    if (!batch.events.empty()) handlers_.events(batch.events, batch.revision);
  } else if (batch.kind == WatchBatch::Kind::progress) {
    next_ = std::max(next_, batch.revision + 1);
  }
  if (!alive.expired() && handlers_.alive) handlers_.alive();
}

void Watch::lost(const Failure& why) {
  if (why.needs_list()) return end(why);
  standing_ = false;
  stream_.reset();
  timer_ = scheduler_->after(backoff_.next(why.waited), [this] { check_history(); });
  if (handlers_.interrupted) handlers_.interrupted(why);
}

void Watch::check_history() {
  timer_.cancel();
  const auto at = next_ - 1;
  const auto known = handlers_.known ? handlers_.known() : Known{};
  Txn look;
  for (const auto& kv : known.some)
    look.then.emplace_back(RangeRequest{.keys = Keys::one(kv.key), .revision = at, .keys_only = true});
  if (client_->history_check().count)
    look.then.emplace_back(RangeRequest{.keys = keys_, .revision = at, .count_only = true});
  client_->txn(std::move(look), {}, [this, known, alive = std::weak_ptr(alive_)](const Outcome<TxnResult>& then) {
    if (!alive.expired()) history_answered(known, then);
  });
}

void Watch::history_answered(const Known& known, const Outcome<TxnResult>& then) {
  const auto at = next_ - 1;
  if (!then && then.error().reason == Reason::future_revision)
    return end(
        {.reason = Reason::history_lost,
         .message = fmt::format("watch {}: etcd has not come to revision {} yet, where it was", keys_.text(), at)});
  if (!then) return lost(then.error());
  if (!handlers_.known || recognized(known, *then)) return open();
  end({.reason = Reason::history_lost,
       .message = fmt::format("watch {}: etcd had something else at revision {} than it has told", keys_.text(), at)});
}

void Watch::end(const Failure& why) {
  standing_ = false;
  stream_.reset();
  timer_.cancel();
  const auto handler = handlers_.ended;
  handler(why);
}

}  // namespace weft::etcd
