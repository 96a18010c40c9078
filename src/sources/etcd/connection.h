// Which endpoint is talked to. One connection at a time, to the first of the (shuffled) endpoints that
// answers, has a leader and takes our password; when it breaks, the next. Once all have failed it waits
// with backoff and begins again. Inside this room only. Owner thread only.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "sources/etcd/completion.h"
#include "sources/etcd/endpoint.h"
#include "sources/etcd/failure.h"
#include "sources/etcd/options.h"

namespace weft::etcd {

// A connection that stands. `number` tells it from those before and after.
struct Link {
  std::uint64_t number = 0;
  std::shared_ptr<grpc::Channel> channel;
  std::string endpoint;
  std::string token;

  // The metadata every request carries: the token, and that a member without a leader must refuse.
  void prepare(grpc::ClientContext& context) const;
};

class Connection {
 public:
  using Ready = std::function<void(Outcome<Link>)>;

  // `options` are valid. Connects when first asked.
  Connection(Scheduler& scheduler, Completions& completions, Options options, const Random& random);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // `ready` gets the link, at once when there is one; or, after `patience`, why there is none.
  void ready(std::chrono::milliseconds patience, Ready ready);
  // The link of that number has answered a request.
  void worked(std::uint64_t number);
  // It is of no use any more.
  void broken(std::uint64_t number);
  // It let a request wait too long: another endpoint, where there is one, may do better.
  void slow(std::uint64_t number);
  // Its token is: the same endpoint is asked for another.
  void stale_token(std::uint64_t number);

 private:
  struct Attempt;
  struct Waiter {
    Ready ready;
    Timer patience;
  };

  void attempt();
  void authenticate(const std::shared_ptr<Attempt>& attempt);
  void check(const std::shared_ptr<Attempt>& attempt);
  void attempt_failed(Failure failure);
  void try_next();
  void connected(const std::shared_ptr<Attempt>& attempt);
  void answer_waiters(const Outcome<Link>& outcome);
  Outcome<std::shared_ptr<grpc::Channel>> open_channel(const Endpoint& endpoint) const;

  Scheduler* scheduler_;
  Completions* completions_;
  Options options_;
  std::vector<Endpoint> endpoints_;
  Backoff backoff_;
  std::size_t current_ = 0;  // index of the endpoint in use, or to be tried
  std::size_t failed_in_row_ = 0;
  std::uint64_t last_number_ = 0;
  Link link_;  // channel is null while there is none
  std::shared_ptr<Attempt> attempt_;
  Timer retry_;
  Failure last_failure_;  // what those are told whose patience ends
  std::list<Waiter> waiters_;
};

}  // namespace weft::etcd
