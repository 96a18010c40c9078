// A client whose requests happen when a test says so: each transaction, each look at one key and each end of a lease is
// one atomic step of etcd. Lists of mirrors, looks at their history, grants and keepalives pass; what watches tell
// waits too. While the gate is open, everything passes.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sources/etcd/fake.h"

namespace weft::cluster::testing {

class SteppedClient final : public etcd::Client {
 public:
  // Requests about keys that contain `beside` pass, if that is not empty.
  SteppedClient(etcd::FakeCluster& cluster, etcd::Scheduler& scheduler, std::string beside, std::size_t slice = 0)
      : cluster_(&cluster),
        scheduler_(&scheduler),
        beside_(std::move(beside)),
        slice_(slice),
        inner_(cluster.connect()) {}

  // --- the test's side ---
  void open_gate(bool open) { open_ = open; }
  [[nodiscard]] std::size_t waiting() const { return requests_.size(); }
  [[nodiscard]] const std::string& label(std::size_t index) const { return requests_[index].label; }
  void apply(std::size_t index) { take(index).apply(); }
  // The node is told that it may have been applied; the transaction, if it is one, is still on its way.
  std::optional<etcd::Txn> time_out(std::size_t index) {
    auto request = take(index);
    request.fail();
    return std::move(request.txn);
  }
  [[nodiscard]] bool has_news() const { return !news_.empty(); }
  void deliver() {
    while (!news_.empty()) {
      const auto tell = std::move(news_.front());
      news_.pop_front();
      tell();
    }
  }
  // Nothing gets through, in neither direction.
  void cut(bool cut) {
    cut_ = cut;
    if (!cut) return;
    news_.clear();
    for (const auto& weak : streams_)
      if (const auto stream = weak.lock()) end(stream);
    streams_.clear();
  }
  [[nodiscard]] bool is_cut() const { return cut_; }
  // What it was told so far; equal for nodes in equal states.
  [[nodiscard]] std::size_t trace() const { return trace_; }
  // Which of the key's writes this was: revisions of ways that differ only in what else happened are different, and
  // nobody acts on that.
  static std::size_t write_of(etcd::FakeCluster& cluster, const std::string& key, etcd::Revision revision) {
    const auto events = cluster.store().events_since(etcd::Keys::one(key), 1);
    return static_cast<std::size_t>(
        std::ranges::count_if(*events, [&](const auto& event) { return event.kv.mod_revision <= revision; }));
  }
  void note(const std::string& text) { trace_ = trace_ * 31 + std::hash<std::string>()(text); }

  // --- etcd's side ---
  [[nodiscard]] std::size_t slice_of_list() const override { return slice_; }
  void range(etcd::RangeRequest request, etcd::CallOptions options, etcd::Done<etcd::RangeResult> done) override {
    const bool one = request.keys.end.empty();
    const auto label = "read " + request.keys.key;
    submit<etcd::RangeResult>(one, label, std::nullopt, done,
                              [this, request = std::move(request), options](auto answer) {
                                inner_->range(request, options, std::move(answer));
                              });
  }
  void put(etcd::PutRequest request, etcd::CallOptions options, etcd::Done<etcd::PutResult> done) override {
    inner_->put(std::move(request), options, std::move(done));
  }
  void erase(etcd::EraseRequest request, etcd::CallOptions options, etcd::Done<etcd::EraseResult> done) override {
    inner_->erase(std::move(request), options, std::move(done));
  }
  void txn(etcd::Txn request, etcd::CallOptions options, etcd::Done<etcd::TxnResult> done) override {
    auto label = "txn " + (request.compare.empty() ? std::string() : request.compare.front().key);
    const auto noted = [this, request, done = std::move(done)](const etcd::Outcome<etcd::TxnResult>& outcome) {
      if (outcome && outcome->succeeded)
        for (const auto& operation : request.then)
          if (const auto* put = std::get_if<etcd::PutRequest>(&operation)) note(text(put->key, outcome->revision));
      done(outcome);
    };
    const bool reads = request.compare.empty() && std::ranges::all_of(request.then, [](const auto& operation) {
                         return std::holds_alternative<etcd::RangeRequest>(operation);
                       });
    submit<etcd::TxnResult>(!reads, std::move(label), request, noted, [this, request, options](auto answer) {
      inner_->txn(request, options, std::move(answer));
    });
  }
  void compact(etcd::Revision revision, etcd::CallOptions options, etcd::Done<void> done) override {
    inner_->compact(revision, options, std::move(done));
  }
  void grant(std::chrono::seconds ttl, etcd::LeaseId id, etcd::CallOptions options,
             etcd::Done<etcd::LeaseGrant> done) override {
    submit<etcd::LeaseGrant>(false, "grant", std::nullopt, done, [this, ttl, id, options](auto answer) {
      inner_->grant(ttl, id, options, std::move(answer));
    });
  }
  void keep_alive(etcd::LeaseId id, etcd::CallOptions options, etcd::Done<std::chrono::seconds> done) override {
    submit<std::chrono::seconds>(false, "keep alive", std::nullopt, done, [this, id, options](auto answer) {
      inner_->keep_alive(id, options, std::move(answer));
    });
  }
  void revoke(etcd::LeaseId id, etcd::CallOptions options, etcd::Done<void> done) override {
    submit<void>(true, "revoke", std::nullopt, done,
                 [this, id, options](auto answer) { inner_->revoke(id, options, std::move(answer)); });
  }
  void status(etcd::CallOptions options, etcd::Done<etcd::Status> done) override {
    submit<etcd::Status>(false, "status", std::nullopt, done,
                         [this, options](auto answer) { inner_->status(options, std::move(answer)); });
  }
  std::unique_ptr<etcd::WatchStream> watch(etcd::WatchRequest request, etcd::WatchHandlers handlers) override {
    auto stream = std::make_shared<Stream>();
    stream->handlers = std::move(handlers);
    if (cut_)
      end(stream);
    else
      stream->inner = inner_->watch(
          std::move(request),
          {.batch = [this, weak = std::weak_ptr(stream)](const etcd::WatchBatch& batch) { received(weak, batch); },
           .ended =
               [weak = std::weak_ptr(stream)](const etcd::Failure& why) {
                 if (const auto live = weak.lock()) live->handlers.ended(why);
               }});
    streams_.emplace_back(stream);
    return std::make_unique<Handle>(std::move(stream));
  }

 private:
  struct Request {
    std::string label;
    std::function<void()> apply;
    std::function<void()> fail;
    std::optional<etcd::Txn> txn;
  };
  struct Stream {
    etcd::WatchHandlers handlers;
    std::unique_ptr<etcd::WatchStream> inner;
    bool over = false;
  };
  class Handle final : public etcd::WatchStream {
   public:
    explicit Handle(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
    ~Handle() override {
      stream_->over = true;
      stream_->inner.reset();
    }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    void request_progress() override {
      if (stream_->inner) stream_->inner->request_progress();
    }

   private:
    std::shared_ptr<Stream> stream_;
  };

  template <class T>
  void submit(bool is_step, std::string label, std::optional<etcd::Txn> txn, const etcd::Done<T>& done,
              std::function<void(etcd::Done<T>)> start) {
    const auto answer = [this, label, done](etcd::Outcome<T> outcome) {
      note(label + summary(outcome));
      done(std::move(outcome));
    };
    const auto refuse = [this, answer, writes = txn.has_value()](bool unsure) {
      // A node that crashes meanwhile is told nothing.
      scheduler_->post([answer, alive = std::weak_ptr(alive_),
                        failure = etcd::Failure{
                            .reason = etcd::Reason::unavailable, .message = "cut off", .unsure = unsure && writes}] {
        if (!alive.expired()) answer(std::unexpected(failure));
      });
    };
    if (cut_) return refuse(false);
    const bool passes = !beside_.empty() && label.contains(beside_);
    if (open_ || !is_step || passes) return start(answer);
    requests_.push_back(
        {std::move(label), [start, answer] { start(answer); }, [refuse] { refuse(true); }, std::move(txn)});
  }
  Request take(std::size_t index) {
    auto request = std::move(requests_[index]);
    requests_.erase(requests_.begin() + static_cast<std::ptrdiff_t>(index));
    return request;
  }

  void received(const std::weak_ptr<Stream>& weak, const etcd::WatchBatch& batch) {
    const auto tell = [this, weak, batch] {
      const auto stream = weak.lock();
      if (!stream || stream->over) return;
      for (const auto& event : batch.events) note(event.kv.value + text(event.kv.key, event.kv.mod_revision));
      stream->handlers.batch(batch);
    };
    if (open_ || (batch.kind != etcd::WatchBatch::Kind::events && news_.empty()))
      tell();
    else
      news_.emplace_back(tell);
  }
  void end(const std::shared_ptr<Stream>& stream) {
    stream->inner.reset();
    scheduler_->post([weak = std::weak_ptr(stream)] {
      const auto live = weak.lock();
      if (!live || std::exchange(live->over, true)) return;
      live->handlers.ended({.reason = etcd::Reason::unavailable, .message = "cut off"});
    });
  }

  [[nodiscard]] std::string text(const std::string& key, etcd::Revision revision) const {
    return fmt::format("{}@{};", key, write_of(*cluster_, key, revision));
  }
  [[nodiscard]] std::string text(const std::vector<etcd::KeyValue>& kvs) const {
    std::string all;
    for (const auto& kv : kvs) all += fmt::format("{}={},{};", text(kv.key, kv.mod_revision), kv.value, kv.lease);
    return all;
  }
  [[nodiscard]] std::string summary(const etcd::Outcome<etcd::TxnResult>& outcome) const {
    if (!outcome) return "failed";
    std::string all = outcome->succeeded ? "yes" : "no";
    for (const auto& result : outcome->results)
      if (const auto* range = std::get_if<etcd::RangeResult>(&result)) all += text(range->kvs);
    return all;
  }
  [[nodiscard]] std::string summary(const etcd::Outcome<etcd::RangeResult>& outcome) const {
    return outcome ? text(outcome->kvs) : "failed";
  }
  static std::string summary(const etcd::Outcome<etcd::LeaseGrant>& outcome) {
    return outcome ? fmt::format("{}", outcome->id) : "failed";
  }
  template <class T>
  static std::string summary(const etcd::Outcome<T>& outcome) {
    return outcome ? "done" : "failed";
  }

  etcd::FakeCluster* cluster_;
  etcd::Scheduler* scheduler_;
  std::string beside_;
  std::size_t slice_;
  bool open_ = true;
  bool cut_ = false;
  std::size_t trace_ = 0;
  std::vector<Request> requests_;
  std::deque<std::function<void()>> news_;
  std::list<std::weak_ptr<Stream>> streams_;
  std::unique_ptr<etcd::Client> inner_;  // first to go: nothing calls back after that
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weft::cluster::testing
