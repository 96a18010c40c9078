// Events (events.k8s.io/v1): what went wrong, where people look for it (kubectl describe, kubectl get events).
//
// An event is told by object and reason. The same again within `same_within` raises the count of its series, which is
// written now and then; its note stays the first one's, as the API has it. Telling never waits and never fails: what
// cannot be sent waits in a queue that loses its oldest, and what the server refuses is dropped and counted.
// https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
//
// Owner thread only. Rights: create and patch on events of events.k8s.io.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <tuple>

#include "sources/etcd/backoff.h"
#include "sources/etcd/scheduler.h"
#include "sources/kubernetes/writer.h"

namespace weft::kubernetes {

// What an event is about. One without a namespace is told in "default".
struct Regarding {
  std::string api_version;  // "v1", "networking.k8s.io/v1"
  std::string kind;
  std::string namespace_name;
  std::string name;
  std::string uid;  // may be empty
  auto operator<=>(const Regarding&) const = default;
};

struct EventText {
  Regarding about;
  std::string reason;  // a word for machines: "FailedAttach"
  std::string action;  // what was being done: "Attach"
  std::string note;    // for people; cut to 1024 bytes
  bool warning = true;
};

struct EventSenderOptions {
  std::string controller = "weft.io/agent";
  std::string instance;                           // which of them: the node's name
  std::chrono::milliseconds same_within{360000};  // as client-go has it
  std::chrono::milliseconds count_every{30000};   // a raised count is written
  std::size_t most_queued = 256;
  std::size_t most_known = 1024;  // series that are remembered
  // As many at once, then one each `refill`: thousands of nodes may have the same to tell.
  int burst = 25;
  std::chrono::milliseconds refill{1000};
  etcd::BackoffOptions backoff{std::chrono::milliseconds(1000), std::chrono::milliseconds(60000)};
  std::function<std::chrono::system_clock::time_point()> wall_clock = std::chrono::system_clock::now;
};

class EventSender {
 public:
  struct Counts {
    std::uint64_t told = 0;
    std::uint64_t sent = 0;     // events and counts that the server has taken
    std::uint64_t dropped = 0;  // for want of room
    std::uint64_t refused = 0;  // by the server
  };
  // `http` and `scheduler` must outlive it.
  EventSender(Http& http, etcd::Scheduler& scheduler, etcd::Random random, EventSenderOptions options);

  void tell(EventText event);
  [[nodiscard]] const Counts& counts() const { return counts_; }
  // Why the last one was refused or could not be sent; empty: it was.
  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] std::size_t queued() const { return queue_.size(); }

 private:
  using Time = etcd::Scheduler::Time;
  using Key = std::tuple<Regarding, std::string>;  // and the reason
  struct Series {
    EventText text;
    std::string name;  // of the Event
    std::chrono::system_clock::time_point first;
    std::chrono::system_clock::time_point last;
    Time seen{};     // last told
    Time written{};  // last written
    std::int64_t count = 0;
    std::int64_t count_written = 0;  // 0: there is no Event yet
    bool queued = false;
  };

  Series& begin(const Key& key, EventText event);
  void enqueue(const Key& key);
  void drop_oldest();
  void forget_oldest();
  void pump();
  void send(const Key& key, const Series& series);
  void answered(const Key& key, std::int64_t count, const Outcome<std::string>& outcome);
  void wait(std::chrono::milliseconds time);
  [[nodiscard]] Time due(const Series& series) const;
  [[nodiscard]] std::string event_json(const Series& series) const;
  static std::string collection(const Regarding& about);

  etcd::Scheduler* scheduler_;
  etcd::Random random_;
  EventSenderOptions options_;
  Writer writer_;
  etcd::Backoff backoff_;
  std::map<Key, Series> series_;
  std::deque<Key> queue_;
  Counts counts_;
  std::string problem_;
  double tokens_ = 0;
  Time refilled_{};
  bool busy_ = false;
  Time not_before_{};
  etcd::Timer timer_;
};

}  // namespace weft::kubernetes
