#include "sources/etcd/fake.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace weft::etcd {

using std::chrono::milliseconds;

struct FakeCluster::Stream {
  WatchRequest request;
  WatchHandlers handlers;
  Revision next = 0;
  bool created = false;
  bool progress_wanted = false;
  bool over = false;
};

class FakeWatch final : public WatchStream {
 public:
  FakeWatch(FakeCluster& cluster, std::shared_ptr<FakeCluster::Stream> stream)
      : cluster_(&cluster), stream_(std::move(stream)) {}
  ~FakeWatch() override {
    stream_->over = true;
    stream_->handlers = {};
    cluster_->streams_.remove(stream_);
  }
  FakeWatch(const FakeWatch&) = delete;
  FakeWatch& operator=(const FakeWatch&) = delete;
  void request_progress() override {
    stream_->progress_wanted = true;
    cluster_->scheduler_->post([cluster = cluster_, stream = stream_] { cluster->pump(stream); });
  }

 private:
  FakeCluster* cluster_;
  std::shared_ptr<FakeCluster::Stream> stream_;
};

namespace {

std::unexpected<Failure> no_space() { return failed(Reason::exhausted, "fake: database space exceeded"); }

bool puts(const Txn& txn) {
  const auto any = [](const auto& operations) {
    return std::ranges::any_of(operations, [](const auto& one) { return std::holds_alternative<PutRequest>(one); });
  };
  return any(txn.then) || any(txn.otherwise);
}

}  // namespace

class FakeClient final : public Client {
 public:
  explicit FakeClient(FakeCluster& cluster) : cluster_(&cluster) {}
  ~FakeClient() override {
    *open_ = false;
    for (const auto& weak : streams_)
      if (const auto stream = weak.lock()) {
        stream->over = true;
        stream->handlers = {};
      }
  }
  FakeClient(const FakeClient&) = delete;
  FakeClient& operator=(const FakeClient&) = delete;

  void range(RangeRequest request, CallOptions options, Done<RangeResult> done) override {
    call<RangeResult>(false, options, std::move(done),
                      [request = std::move(request)](FakeCluster& cluster) { return cluster.store_.range(request); });
  }
  void put(PutRequest request, CallOptions options, Done<PutResult> done) override {
    call<PutResult>(true, options, std::move(done),
                    [request = std::move(request)](FakeCluster& cluster) -> Outcome<PutResult> {
                      if (cluster.full_) return no_space();
                      return cluster.store_.put(request);
                    });
  }
  void erase(EraseRequest request, CallOptions options, Done<EraseResult> done) override {
    call<EraseResult>(true, options, std::move(done),
                      [request = std::move(request)](FakeCluster& cluster) { return cluster.store_.erase(request); });
  }
  void txn(Txn request, CallOptions options, Done<TxnResult> done) override {
    call<TxnResult>(true, options, std::move(done),
                    [request = std::move(request)](FakeCluster& cluster) -> Outcome<TxnResult> {
                      if (cluster.full_ && puts(request)) return no_space();
                      return cluster.store_.txn(request);
                    });
  }
  void compact(Revision revision, CallOptions options, Done<void> done) override {
    call<void>(true, options, std::move(done),
               [revision](FakeCluster& cluster) { return cluster.store_.compact(revision); });
  }
  void grant(std::chrono::seconds ttl, LeaseId id, CallOptions options, Done<LeaseGrant> done) override {
    call<LeaseGrant>(true, options, std::move(done), [ttl, id](FakeCluster& cluster) -> Outcome<LeaseGrant> {
      if (cluster.full_) return no_space();
      auto grant = cluster.store_.grant(ttl, id);
      if (grant) cluster.keep_lease(grant->id, grant->ttl);
      return grant;
    });
  }
  void keep_alive(LeaseId id, CallOptions options, Done<std::chrono::seconds> done) override {
    call<std::chrono::seconds>(false, options, std::move(done),
                               [id](FakeCluster& cluster) -> Outcome<std::chrono::seconds> {
                                 if (!cluster.store_.has_lease(id))
                                   return failed(Reason::lease_not_found, "the lease has ended");
                                 cluster.keep_lease(id, cluster.store_.ttl(id));
                                 return cluster.store_.ttl(id);
                               });
  }
  void revoke(LeaseId id, CallOptions options, Done<void> done) override {
    call<void>(true, options, std::move(done), [id](FakeCluster& cluster) {
      cluster.expiries_.erase(id);
      return cluster.store_.revoke(id);
    });
  }
  void status(CallOptions options, Done<Status> done) override {
    call<Status>(false, options, std::move(done), [](FakeCluster& cluster) -> Outcome<Status> {
      return Status{.endpoint = "fake",
                    .version = "fake",
                    .revision = cluster.store_.revision(),
                    .cluster_id = cluster.cluster_id_,
                    .member_id = 1,
                    .leader = 1,
                    .full = cluster.full_};
    });
  }
  std::unique_ptr<WatchStream> watch(WatchRequest request, WatchHandlers handlers) override {
    auto stream = std::make_shared<FakeCluster::Stream>();
    stream->next = request.start_revision;
    stream->request = std::move(request);
    stream->handlers = std::move(handlers);
    cluster_->streams_.push_back(stream);
    streams_.push_back(stream);
    cluster_->scheduler_->post([cluster = cluster_, stream] { cluster->pump(stream); });
    return std::make_unique<FakeWatch>(*cluster_, std::move(stream));
  }

 private:
  // The request is applied when the loop gets to it and answered `latency` later.
  template <class T>
  void call(bool writes, CallOptions options, Done<T> done, std::function<Outcome<T>(FakeCluster&)> apply) {
    const auto timeout = options.timeout.count() > 0 ? options.timeout : milliseconds(5000);
    auto* cluster = cluster_;
    cluster->scheduler_->post(
        [cluster, open = open_, writes, timeout, done = std::move(done), apply = std::move(apply)] {
          if (!*open) return;
          Outcome<T> outcome = serve<T>(*cluster, writes, apply);
          const bool late = cluster->latency_ > timeout;
          if (late) {
            Failure failure{.reason = Reason::deadline, .message = "fake: no answer in time", .unsure = writes};
            outcome = std::unexpected(std::move(failure));
          }
          cluster->answer_later(late ? timeout : cluster->latency_, [open, done, outcome] {
            if (*open) done(outcome);
          });
          cluster->changed();
        });
  }

  template <class T>
  static Outcome<T> serve(FakeCluster& cluster, bool writes, const std::function<Outcome<T>(FakeCluster&)>& apply) {
    ++cluster.requests_;
    if (auto refusal = cluster.refusal()) return std::unexpected(std::move(*refusal));
    Outcome<T> outcome = apply(cluster);
    if (!outcome) outcome.error().message = "fake: " + outcome.error().message;
    if (cluster.lost_answers_ == 0) return outcome;
    --cluster.lost_answers_;
    Failure failure{.reason = Reason::unavailable, .message = "fake: the answer was lost", .unsure = writes};
    return std::unexpected(std::move(failure));
  }

  FakeCluster* cluster_;
  std::shared_ptr<bool> open_ = std::make_shared<bool>(true);
  std::list<std::weak_ptr<FakeCluster::Stream>> streams_;
};

FakeCluster::~FakeCluster() = default;

std::unique_ptr<Client> FakeCluster::connect() { return std::make_unique<FakeClient>(*this); }

void FakeCluster::set_available(bool available) {
  if (available == available_) return;
  available_ = available;
  if (!available) {
    break_watches();
    expiries_.clear();
    return;
  }
  for (const auto& [id, ttl] : store_.leases()) keep_lease(id, ttl);
}

void FakeCluster::fail_next(const Failure& failure, int count) {
  for (int i = 0; i < count; ++i) failures_.push_back(failure);
}

void FakeCluster::lose_answers(int count) { lost_answers_ = count; }

void FakeCluster::break_watches() {
  const auto streams = streams_;
  for (const auto& stream : streams)
    scheduler_->post(
        [this, stream] { end(stream, {.reason = Reason::unavailable, .message = "fake: the stream broke"}); });
}

void FakeCluster::silence_watches(bool silent) {
  silent_ = silent;
  if (!silent) changed();
}

void FakeCluster::wipe(bool same_cluster) {
  store_ = FakeStore();
  expiries_.clear();
  if (!same_cluster) ++cluster_id_;
  break_watches();
}

void FakeCluster::changed() {
  const auto streams = streams_;
  for (const auto& stream : streams) scheduler_->post([this, stream] { pump(stream); });
}

std::optional<Failure> FakeCluster::refusal() {
  if (!available_) return Failure{.reason = Reason::unavailable, .message = "fake: is not there"};
  if (failures_.empty()) return std::nullopt;
  Failure failure = std::move(failures_.front());
  failures_.pop_front();
  return failure;
}

void FakeCluster::answer_later(milliseconds delay, Scheduler::Task answer) {
  if (delay.count() == 0) return scheduler_->post(std::move(answer));
  const auto held = answers_.emplace(answers_.end());
  *held = scheduler_->after(delay, [this, held, answer = std::move(answer)] {
    const Timer done = std::move(*held);
    answers_.erase(held);
    answer();
  });
}

void FakeCluster::keep_lease(LeaseId id, std::chrono::seconds ttl) {
  expiries_[id] = scheduler_->after(ttl, [this, id] {
    expiries_.erase(id);
    if (store_.revoke(id)) changed();
  });
}

void FakeCluster::pump(const std::shared_ptr<Stream>& stream) {
  const auto tell = [&](WatchBatch::Kind kind, Revision revision, std::vector<Event> events) {
    const auto handler = stream->handlers.batch;
    handler({.kind = kind, .revision = revision, .cluster_id = cluster_id_, .events = std::move(events)});
  };
  if (stream->over || silent_) return;
  if (!available_) return end(stream, {.reason = Reason::unavailable, .message = "fake: is not there"});
  if (!stream->created) {
    stream->created = true;
    if (stream->next == 0) stream->next = store_.revision() + 1;
    tell(WatchBatch::Kind::created, store_.revision(), {});
    if (stream->over) return;
  }
  auto events = store_.events_since(stream->request.keys, stream->next);
  if (!events) return end(stream, events.error());
  stream->next = std::max(stream->next, store_.revision() + 1);
  if (!events->empty()) {
    const Revision last = events->back().kv.mod_revision;
    tell(WatchBatch::Kind::events, last, std::move(*events));
  }
  if (stream->over || !std::exchange(stream->progress_wanted, false)) return;
  tell(WatchBatch::Kind::alive, store_.revision(), {});
}

void FakeCluster::end(const std::shared_ptr<Stream>& stream, const Failure& why) {
  if (stream->over) return;
  stream->over = true;
  const auto handlers = std::exchange(stream->handlers, {});
  streams_.remove(stream);
  handlers.ended(why);
}

}  // namespace weft::etcd
