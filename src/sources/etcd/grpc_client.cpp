#include "sources/etcd/grpc_client.h"

#include <fmt/format.h>
#include <grpc/support/log.h>

#include <cstdlib>
#include <random>
#include <set>

#include "sources/etcd/connection.h"
#include "sources/etcd/grpc_watch.h"
#include "sources/etcd/unary.h"
#include "sources/etcd/wire.h"

namespace weft::etcd {

Failure failure_of(const grpc::Status& status, const std::string& endpoint, const std::string& operation) {
  return {.reason = wire::reason_of(status.error_code(), status.error_message()),
          .message = fmt::format("{}: {}: {}", endpoint, operation,
                                 status.error_message().empty() ? "no reason given" : status.error_message())};
}

namespace {

// gRPC writes to stderr what it also tells in the status of a call. Whoever wants to read it sets gRPC's
// own GRPC_VERBOSITY.
void silence_grpc() {
  static const bool once = [] {
    if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace

Random system_random() {
  std::random_device device;
  std::seed_seq seed{device(), device(), device(), device()};
  // Shared, for copies must not all draw the same.
  return [engine = std::make_shared<std::mt19937_64>(seed)] { return (*engine)(); };
}

namespace {

namespace pb = etcdserverpb;
using std::chrono::milliseconds;

enum class Effect : std::uint8_t { reads, writes };

// What is said about a failed request.
template <class T>
Outcome<T> named(Outcome<T> outcome, const std::string& endpoint, const std::string& operation) {
  if (!outcome) outcome.error().message = fmt::format("{}: {}: {}", endpoint, operation, outcome.error().message);
  return outcome;
}

class GrpcClient final : public Client {
 public:
  GrpcClient(Scheduler& scheduler, const Options& options, const Random& random)
      : scheduler_(&scheduler),
        call_timeout_(options.call_timeout),
        completions_(scheduler),
        connection_(std::make_unique<Connection>(scheduler, completions_, options, random)) {}

  ~GrpcClient() override {
    *open_ = false;
    for (const auto& stream : streams_)
      if (const auto held = stream.lock()) held->cancel();
    for (const auto& call : calls_) call->cancel();
    connection_.reset();
  }

  void range(RangeRequest request, CallOptions options, Done<RangeResult> done) override {
    call<pb::RangeResponse>(Effect::reads, "/etcdserverpb.KV/Range", wire::encode(request),
                            "range " + request.keys.text(), options, std::move(done));
  }
  void put(PutRequest request, CallOptions options, Done<PutResult> done) override {
    call<pb::PutResponse>(Effect::writes, "/etcdserverpb.KV/Put", wire::encode(request),
                          "put " + printable(request.key), options, std::move(done));
  }
  void erase(EraseRequest request, CallOptions options, Done<EraseResult> done) override {
    call<pb::DeleteRangeResponse>(Effect::writes, "/etcdserverpb.KV/DeleteRange", wire::encode(request),
                                  "erase " + request.keys.text(), options, std::move(done));
  }
  void txn(Txn request, CallOptions options, Done<TxnResult> done) override {
    const std::string operation = "transaction " + (request.compare.empty() ? "" : printable(request.compare[0].key));
    auto message = wire::encode(request);
    call<pb::TxnResponse>(
        Effect::writes, "/etcdserverpb.KV/Txn", std::move(message), operation, options,
        Done<TxnResult>([request = std::move(request), operation, done = std::move(done)](Outcome<TxnResult> outcome) {
          if (outcome && !wire::fits(request, *outcome)) {
            Failure failure{.reason = Reason::internal, .message = operation + ": the answer does not fit the request"};
            failure.unsure = true;
            return done(std::unexpected(std::move(failure)));
          }
          done(std::move(outcome));
        }));
  }
  void compact(Revision revision, CallOptions options, Done<void> done) override {
    pb::CompactionRequest message;
    message.set_revision(revision);
    call<pb::CompactionResponse>(Effect::writes, "/etcdserverpb.KV/Compact", std::move(message),
                                 fmt::format("compact to {}", revision), options, std::move(done));
  }
  void grant(std::chrono::seconds ttl, LeaseId id, CallOptions options, Done<LeaseGrant> done) override {
    pb::LeaseGrantRequest message;
    message.set_ttl(ttl.count());
    message.set_id(id);
    call<pb::LeaseGrantResponse>(Effect::writes, "/etcdserverpb.Lease/LeaseGrant", std::move(message),
                                 fmt::format("grant a lease of {} s", ttl.count()), options, std::move(done));
  }
  void keep_alive(LeaseId id, CallOptions options, Done<std::chrono::seconds> done) override {
    pb::LeaseKeepAliveRequest message;
    message.set_id(id);
    // On the wire a stream in which each side sends once is a request with an answer. Repeating it does
    // no harm, so it is tried again like something that reads.
    call<pb::LeaseKeepAliveResponse>(Effect::reads, "/etcdserverpb.Lease/LeaseKeepAlive", std::move(message),
                                     fmt::format("keep lease {:x} alive", id), options, std::move(done));
  }
  void revoke(LeaseId id, CallOptions options, Done<void> done) override {
    pb::LeaseRevokeRequest message;
    message.set_id(id);
    call<pb::LeaseRevokeResponse>(Effect::writes, "/etcdserverpb.Lease/LeaseRevoke", std::move(message),
                                  fmt::format("revoke lease {:x}", id), options, std::move(done));
  }
  void status(CallOptions options, Done<Status> done) override {
    call<pb::StatusResponse>(Effect::reads, "/etcdserverpb.Maintenance/Status", pb::StatusRequest(), "status", options,
                             std::move(done));
  }

  std::unique_ptr<WatchStream> watch(WatchRequest request, WatchHandlers handlers) override {
    auto stream = GrpcWatch::start(completions_, *scheduler_, *connection_, call_timeout_, std::move(request),
                                   std::move(handlers));
    std::erase_if(streams_, [](const auto& old) { return old.expired(); });
    streams_.push_back(stream);
    return std::make_unique<GrpcWatchHandle>(std::move(stream));
  }

 private:
  template <class Request, class T>
  struct Pending {
    Effect effect;
    const char* method;
    Request message;
    std::string operation;
    Scheduler::Time deadline;
    Done<T> done;
    bool token_renewed = false;
    Failure last{.reason = Reason::deadline, .message = "no time left"};
  };

  template <class Response, class Request, class T>
  void call(Effect effect, const char* method, Request message, std::string operation, CallOptions options,
            Done<T> done) {
    const auto timeout = options.timeout.count() > 0 ? options.timeout : call_timeout_;
    auto pending = std::make_shared<Pending<Request, T>>(Pending<Request, T>{
        effect, method, std::move(message), std::move(operation), scheduler_->now() + timeout, std::move(done)});
    // Never inside the caller's call.
    scheduler_->post([this, pending, open = open_] {
      if (*open) connect<Response>(pending);
    });
  }

  template <class Response, class Request, class T>
  void connect(const std::shared_ptr<Pending<Request, T>>& pending) {
    const auto left = std::chrono::duration_cast<milliseconds>(pending->deadline - scheduler_->now());
    if (left.count() <= 0) return pending->done(std::unexpected(pending->last));
    connection_->ready(left, [this, pending, open = open_](const Outcome<Link>& link) {
      if (!*open) return;
      if (link) return send<Response>(pending, *link);
      Failure failure = link.error();
      failure.message = pending->operation + ": " + failure.message;
      pending->done(std::unexpected(std::move(failure)));
    });
  }

  template <class Response, class Request, class T>
  void send(const std::shared_ptr<Pending<Request, T>>& pending, const Link& link) {
    const auto left = std::chrono::duration_cast<milliseconds>(pending->deadline - scheduler_->now());
    if (left.count() <= 0) return pending->done(std::unexpected(pending->last));
    auto key = std::make_shared<std::shared_ptr<CallInProgress>>();
    *key = start_unary<Response>(completions_, link, pending->method, pending->message, left,
                                 std::function<void(const grpc::Status&, Response&)>(
                                     [this, pending, link, key](const grpc::Status& status, Response& response) {
                                       calls_.erase(*key);
                                       key->reset();
                                       finished<Response>(pending, link, status, response);
                                     }));
    calls_.insert(*key);
  }

  template <class Response, class Request, class T>
  void finished(const std::shared_ptr<Pending<Request, T>>& pending, const Link& link, const grpc::Status& status,
                Response& response) {
    if (status.ok()) {
      connection_->worked(link.number);
      auto outcome = named(wire::decode(response), link.endpoint, pending->operation);
      if constexpr (std::is_same_v<T, Status>)
        if (outcome) outcome->endpoint = link.endpoint;
      return pending->done(std::move(outcome));
    }
    Failure failure = failure_of(status, link.endpoint, pending->operation);
    const bool lost = failure.reason == Reason::unavailable || failure.reason == Reason::no_leader;
    if (lost) connection_->broken(link.number);
    if (failure.reason == Reason::deadline) connection_->slow(link.number);
    bool again = lost && pending->effect == Effect::reads;
    if (wire::is_stale_token(status.error_code(), status.error_message()) && !pending->token_renewed) {
      pending->token_renewed = true;
      connection_->stale_token(link.number);
      again = true;  // refused before anything was done
    }
    const bool never_applied = refused(status);
    again = again || (lost && never_applied);
    failure.unsure = pending->effect == Effect::writes && !never_applied &&
                     (lost || failure.reason == Reason::deadline || failure.reason == Reason::internal ||
                      failure.reason == Reason::cancelled);
    if (!again) return pending->done(std::unexpected(std::move(failure)));
    pending->last = std::move(failure);
    connect<Response>(pending);
  }

  // etcd looked at the request and turned it away before proposing it.
  static bool refused(const grpc::Status& status) {
    return status.error_message() == "etcdserver: no leader" || status.error_message() == "etcdserver: not leader";
  }

  Scheduler* scheduler_;
  milliseconds call_timeout_;
  std::shared_ptr<bool> open_ = std::make_shared<bool>(true);
  Completions completions_;
  std::unique_ptr<Connection> connection_;
  std::set<std::shared_ptr<CallInProgress>> calls_;
  std::vector<std::weak_ptr<GrpcWatch>> streams_;
};

}  // namespace

Result<std::unique_ptr<Client>> make_client(Scheduler& scheduler, const Options& options, const Random& random) {
  if (auto valid = validate(options); !valid) return fail(valid.error().in("etcd"));
  silence_grpc();
  return std::make_unique<GrpcClient>(scheduler, options, random);
}

}  // namespace weft::etcd
