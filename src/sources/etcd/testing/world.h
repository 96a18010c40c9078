// What the tests of this room run in: a scheduler and a way to let it run until something is so. The same
// test cases run in a world with a fake cluster and manual time, and in one with a real etcd.
#pragma once

#include <gtest/gtest.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "sources/etcd/client.h"
#include "sources/etcd/fake.h"
#include "sources/etcd/grpc_client.h"
#include "sources/etcd/manual_scheduler.h"
#include "sources/etcd/mirror.h"
#include "sources/etcd/testing/etcd_server.h"

namespace weft::etcd::testing {

class World {
 public:
  virtual ~World() = default;
  virtual Scheduler& scheduler() = 0;
  // False when `limit` went by.
  virtual bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit) = 0;
  bool run_until(const std::function<bool()>& done) { return run_until(done, std::chrono::seconds(20)); }
  void run_for(std::chrono::milliseconds time) {
    run_until([] { return false; }, time);
  }

  // Starts a request and waits for its answer.
  template <class T>
  Outcome<T> wait(const std::function<void(Done<T>)>& start) {
    auto answer = std::make_shared<std::optional<Outcome<T>>>();
    start([answer](Outcome<T> outcome) { answer->emplace(std::move(outcome)); });
    if (!run_until([&] { return answer->has_value(); })) return failed(Reason::internal, "the test got no answer");
    return std::move(**answer);
  }
  Outcome<RangeResult> range(Client& client, RangeRequest request, CallOptions options = {}) {
    return wait<RangeResult>([&](auto done) { client.range(std::move(request), options, std::move(done)); });
  }
  Outcome<PutResult> put(Client& client, std::string key, std::string value, LeaseId lease = 0) {
    return wait<PutResult>([&](auto done) {
      client.put({.key = std::move(key), .value = std::move(value), .lease = lease}, {}, std::move(done));
    });
  }
  Outcome<EraseResult> erase(Client& client, Keys keys) {
    return wait<EraseResult>([&](auto done) { client.erase({std::move(keys)}, {}, std::move(done)); });
  }
  Outcome<TxnResult> txn(Client& client, Txn txn) {
    return wait<TxnResult>([&](auto done) { client.txn(std::move(txn), {}, std::move(done)); });
  }
  Outcome<void> compact(Client& client, Revision revision) {
    return wait<void>([&](auto done) { client.compact(revision, {}, std::move(done)); });
  }
  Outcome<LeaseGrant> grant(Client& client, std::chrono::seconds ttl, LeaseId id = 0) {
    return wait<LeaseGrant>([&](auto done) { client.grant(ttl, id, {}, std::move(done)); });
  }
  Outcome<std::chrono::seconds> keep_alive(Client& client, LeaseId id) {
    return wait<std::chrono::seconds>([&](auto done) { client.keep_alive(id, {}, std::move(done)); });
  }
  Outcome<void> revoke(Client& client, LeaseId id) {
    return wait<void>([&](auto done) { client.revoke(id, {}, std::move(done)); });
  }
  Outcome<Status> status(Client& client) {
    return wait<Status>([&](auto done) { client.status({}, std::move(done)); });
  }
};

// Numbers from a fixed seed.
inline Random fixed_random() {
  return [state = std::make_shared<std::uint64_t>(88172645463325252)] {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
  };
}

// "+b=2-a=1": b was set, a erased; keys without the "/n/" they all begin with.
inline std::string text_of(const Change& change) {
  std::string text;
  for (const auto& kv : change.set) text += "+" + kv.key.substr(3) + "=" + kv.value;
  for (const auto& kv : change.erased) text += "-" + kv.key.substr(3) + "=" + kv.value;
  return text;
}

// One of five kinds of trouble by its number: a lost answer, broken watches, etcd away or back, slow answers,
// compaction. False: there is none of that number.
inline bool make_trouble(FakeCluster& cluster, std::uint64_t which, const Random& random) {
  auto& store = cluster.store();
  switch (which) {
    case 0:
      cluster.lose_answers(1);
      return true;
    case 1:
      cluster.break_watches();
      return true;
    case 2:
      cluster.set_available(random() % 3 != 0);
      return true;
    case 3:
      cluster.set_latency(std::chrono::milliseconds(random() % 50));
      return true;
    case 4:
      static_cast<void>(store.compact(store.revision() - static_cast<Revision>(random() % 4)));
      return true;
    default:
      return false;
  }
}

class FakeWorld final : public World {
 public:
  Scheduler& scheduler() override { return time; }
  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit) override {
    return time.run_until(done, limit);
  }
  using World::run_until;

  ManualScheduler time;
  FakeCluster cluster{time};
};

class LoopWorld final : public World {
 public:
  Scheduler& scheduler() override { return scheduler_; }
  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit) override {
    const auto until = std::chrono::steady_clock::now() + limit;
    while (!done())
      if (loop_.run_one_until(until) == 0) return done();
    return true;
  }
  using World::run_until;

  // Options for tests: quick to try again.
  static Options options(std::vector<std::string> endpoints) {
    Options options{.endpoints = std::move(endpoints)};
    options.backoff = {std::chrono::milliseconds(20), std::chrono::milliseconds(200)};
    options.call_timeout = std::chrono::seconds(10);
    return options;
  }
  std::unique_ptr<Client> connect(const Options& options) {
    auto client = make_client(scheduler_, options, fixed_random());
    if (!client) {
      ADD_FAILURE() << client.error().message;
      return nullptr;
    }
    return std::move(*client);
  }

 private:
  asio::io_context loop_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{loop_.get_executor()};
  AsioScheduler scheduler_{loop_};
};

}  // namespace weft::etcd::testing
