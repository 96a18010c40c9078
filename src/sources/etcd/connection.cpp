#include "sources/etcd/connection.h"

#include <fmt/format.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <chrono>
#include <climits>

#include "sources/etcd/unary.h"
#include "sources/etcd/wire.h"

namespace weft::etcd {

// Two calls, one after the other: Authenticate where there is a user, then Status.
struct Connection::Attempt {
  Link link;
  std::shared_ptr<CallInProgress> call;
};

namespace {

// Of a server that hangs up where it is greeted gRPC names neither what it expects nor what it was given.
Failure explained(Failure failure) {
  const auto hung_up = [&](std::string_view words) { return failure.message.find(words) != std::string::npos; };
  if (failure.reason != Reason::unavailable || (!hung_up("Socket closed") && !hung_up("Endpoint read failed")))
    return failure;
  failure.message +=
      failure.message.starts_with("https://")
          ? " (it hung up: if it does not speak TLS, its address begins with http://; if it asks clients "
            "for a certificate, one has to be configured)"
          : " (it hung up: if it speaks TLS, its address begins with https://)";
  return failure;
}

}  // namespace

void Link::prepare(grpc::ClientContext& context) const {
  context.AddMetadata("hasleader", "true");
  if (!token.empty()) context.AddMetadata("token", token);
}

Connection::Connection(Scheduler& scheduler, Completions& completions, Options options, const Random& random)
    : scheduler_(&scheduler),
      completions_(&completions),
      options_(std::move(options)),
      backoff_(options_.backoff, random) {
  for (const auto& text : options_.endpoints)
    if (auto endpoint = parse_endpoint(text)) endpoints_.push_back(std::move(*endpoint));
  // Each node begins somewhere else, so that the members share the nodes.
  for (std::size_t i = endpoints_.size(); i > 1; --i) std::swap(endpoints_[i - 1], endpoints_[random() % i]);
}

Connection::~Connection() {
  if (attempt_ && attempt_->call) attempt_->call->cancel();
}

void Connection::ready(std::chrono::milliseconds patience, Ready ready) {
  // A connection that broke while nobody used it is noticed here, before anything is sent on it.
  if (link_.channel && link_.channel->GetState(false) != GRPC_CHANNEL_READY) link_ = {};
  if (link_.channel) return ready(link_);
  const auto waiter = waiters_.insert(waiters_.end(), Waiter{std::move(ready), {}});
  waiter->patience = scheduler_->after(patience, [this, waiter] {
    const Ready told = std::move(waiter->ready);
    waiters_.erase(waiter);
    auto failure = last_failure_;
    failure.waited = true;
    told(std::unexpected(std::move(failure)));
  });
  if (!attempt_ && !retry_) attempt();
}

void Connection::worked(std::uint64_t number) {
  if (link_.number != number) return;
  failed_in_row_ = 0;
  backoff_.reset();
}

void Connection::broken(std::uint64_t number) {
  if (!link_.channel || link_.number != number) return;
  link_ = {};
  try_next();
}

void Connection::slow(std::uint64_t number) {
  if (endpoints_.size() > 1) broken(number);
}

void Connection::stale_token(std::uint64_t number) {
  if (!link_.channel || link_.number != number || options_.user.empty()) return;
  link_ = {};
  if (!waiters_.empty()) attempt();
}

void Connection::attempt() {
  retry_.cancel();
  const Endpoint& endpoint = endpoints_[current_];
  attempt_ = std::make_shared<Attempt>();
  attempt_->link.number = ++last_number_;
  attempt_->link.endpoint = endpoint.url();
  if (last_failure_.message.empty())
    last_failure_ = {.reason = Reason::unavailable, .message = endpoint.url() + ": connect: no answer yet"};
  auto channel = open_channel(endpoint);
  if (!channel) return attempt_failed(std::move(channel.error()));
  attempt_->link.channel = std::move(*channel);
  if (options_.user.empty())
    check(attempt_);
  else
    authenticate(attempt_);
}

void Connection::authenticate(const std::shared_ptr<Attempt>& attempt) {
  etcdserverpb::AuthenticateRequest request;
  request.set_name(options_.user);
  request.set_password(options_.password);
  attempt->call = start_unary<etcdserverpb::AuthenticateResponse>(
      *completions_, attempt->link, "/etcdserverpb.Auth/Authenticate", request, options_.connect_timeout,
      [this, attempt](const grpc::Status& status, etcdserverpb::AuthenticateResponse& response) {
        if (attempt != attempt_) return;
        // A cluster that does not authenticate takes requests without a token.
        const bool off = status.error_code() == grpc::StatusCode::FAILED_PRECONDITION &&
                         status.error_message().find("authentication is not enabled") != std::string::npos;
        if (!status.ok() && !off)
          return attempt_failed(
              explained(failure_of(status, attempt->link.endpoint, "authenticate as " + printable(options_.user))));
        attempt->link.token = off ? std::string() : response.token();
        check(attempt);
      });
}

void Connection::check(const std::shared_ptr<Attempt>& attempt) {
  attempt->call = start_unary<etcdserverpb::StatusResponse>(
      *completions_, attempt->link, "/etcdserverpb.Maintenance/Status", etcdserverpb::StatusRequest(),
      options_.connect_timeout,
      [this, attempt](const grpc::Status& status, const etcdserverpb::StatusResponse& response) {
        if (attempt != attempt_) return;
        if (!status.ok()) return attempt_failed(explained(failure_of(status, attempt->link.endpoint, "connect")));
        if (response.leader() == 0)
          return attempt_failed({.reason = Reason::no_leader, .message = attempt->link.endpoint + ": has no leader"});
        connected(attempt);
      });
}

void Connection::connected(const std::shared_ptr<Attempt>& attempt) {
  link_ = attempt->link;
  attempt_.reset();
  answer_waiters(link_);
}

void Connection::attempt_failed(Failure failure) {
  attempt_.reset();
  last_failure_ = std::move(failure);
  // Waiting mends no wrong password: whoever waits is told once every endpoint has refused.
  if (!last_failure_.transient() && failed_in_row_ + 1 >= endpoints_.size())
    answer_waiters(std::unexpected(last_failure_));
  try_next();
}

void Connection::try_next() {
  current_ = (current_ + 1) % endpoints_.size();
  if (++failed_in_row_ < endpoints_.size()) {
    if (!waiters_.empty()) attempt();
    return;
  }
  failed_in_row_ = 0;
  retry_ = scheduler_->after(backoff_.next(), [this] {
    retry_.cancel();
    if (!waiters_.empty() && !attempt_) attempt();
  });
}

void Connection::answer_waiters(const Outcome<Link>& outcome) {
  // A waiter may ask again, or destroy the client: only the local list is touched.
  std::list<Waiter> waiters;
  waiters.swap(waiters_);
  for (auto& waiter : waiters) waiter.patience.cancel();
  for (auto& waiter : waiters) scheduler_->post([ready = std::move(waiter.ready), outcome] { ready(outcome); });
}

Outcome<std::shared_ptr<grpc::Channel>> Connection::open_channel(const Endpoint& endpoint) const {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(INT_MAX);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(options_.keepalive.count()));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, static_cast<int>(options_.keepalive_timeout.count()));
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // done here, where it is known what may be repeated
  // Every channel connects anew: no waiting on what an earlier one to the same address went through.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (!endpoint.tls) return grpc::CreateCustomChannel(endpoint.target(), grpc::InsecureChannelCredentials(), arguments);

  grpc::SslCredentialsOptions tls;
  const auto load = [&](const char* field, const std::string& path, std::string& into) -> Outcome<void> {
    if (path.empty()) return {};
    auto text = read_pem(field, path);
    if (!text) return failed(Reason::invalid, endpoint.url() + ": " + text.error().message);
    into = std::move(*text);
    return {};
  };
  for (const auto& loaded : {load("tls.ca_file", options_.tls.ca_file, tls.pem_root_certs),
                             load("tls.cert_file", options_.tls.cert_file, tls.pem_cert_chain),
                             load("tls.key_file", options_.tls.key_file, tls.pem_private_key)})
    if (!loaded) return std::unexpected(loaded.error());
  if (!options_.tls.server_name.empty()) arguments.SetSslTargetNameOverride(options_.tls.server_name);
  return grpc::CreateCustomChannel(endpoint.target(), grpc::SslCredentials(tls), arguments);
}

}  // namespace weft::etcd
