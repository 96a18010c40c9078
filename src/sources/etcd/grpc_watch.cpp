#include "sources/etcd/grpc_watch.h"

#include "sources/etcd/unary.h"

namespace weft::etcd {

std::shared_ptr<GrpcWatch> GrpcWatch::start(Completions& completions, Scheduler& scheduler, Connection& connection,
                                            std::chrono::milliseconds patience, WatchRequest request,
                                            WatchHandlers handlers) {
  auto watch = std::make_shared<GrpcWatch>();
  watch->completions_ = &completions;
  watch->connection_ = &connection;
  watch->request_ = std::move(request);
  watch->handlers_ = std::move(handlers);
  watch->patience_ = patience;
  scheduler.post([watch] {
    if (!watch->cancelled_) watch->connect(*watch->connection_, watch->patience_);
  });
  return watch;
}

void GrpcWatch::connect(Connection& connection, std::chrono::milliseconds patience) {
  connection.ready(patience, [watch = shared_from_this()](const Outcome<Link>& link) {
    if (watch->cancelled_) return;
    if (link) return watch->open(*link);
    Failure failure = link.error();
    failure.message = "watch " + watch->request_.keys.text() + ": " + failure.message;
    watch->end(std::move(failure));
  });
}

void GrpcWatch::open(const Link& link) {
  link_ = link;
  opened_ = true;
  finishing_ = false;
  writing_ = false;
  context_ = std::make_unique<grpc::ClientContext>();
  link.prepare(*context_);
  grpc::TemplatedGenericStub<Request, Response> stub(link.channel);
  stream_ = stub.PrepareCall(context_.get(), "/etcdserverpb.Watch/Watch", completions_->queue());
  stream_->StartCall(Completions::tag([watch = shared_from_this()](bool ok) {
    if (!ok) return watch->finish();
    if (watch->cancelled_) return watch->finish();
    watch->write(wire::encode(watch->request_));
    watch->read();
  }));
}

void GrpcWatch::write(const Request& request) {
  writing_ = true;
  stream_->Write(request, Completions::tag([watch = shared_from_this()](bool ok) {
                   watch->writing_ = false;
                   // A failed write means a broken stream, which the read finds out.
                   if (ok && watch->progress_wanted_) watch->request_progress();
                   if (watch->finishing_) watch->finish();
                 }));
}

void GrpcWatch::request_progress() {
  progress_wanted_ = true;
  if (!stream_ || writing_ || finishing_ || cancelled_) return;
  progress_wanted_ = false;
  Request request;
  request.mutable_progress_request();
  write(request);
}

void GrpcWatch::read() {
  stream_->Read(&response_, Completions::tag([watch = shared_from_this()](bool ok) { watch->received(ok); }));
}

void GrpcWatch::received(bool ok) {
  if (!ok || cancelled_) return finish();
  auto batch = wire::decode(response_);
  response_.Clear();
  if (batch) {
    if (!delivered_) connection_->worked(link_.number);
    delivered_ = true;
    const auto handler = handlers_.batch;
    handler(std::move(*batch));
    return cancelled_ ? finish() : read();
  }
  Failure failure = std::move(batch.error());
  context_->TryCancel();
  // etcd says "permission denied" of a watch whose token it has forgotten, too.
  if (failure.reason == Reason::denied && !link_.token.empty() && !token_renewed_ && !delivered_) {
    token_renewed_ = true;
    reopen_ = true;
    connection_->stale_token(link_.number);
    return finish();
  }
  failure.message = link_.endpoint + ": watch " + request_.keys.text() + ": " + failure.message;
  end(std::move(failure));
  finish();
}

// One operation of each kind may be under way: the status is asked for when no write is.
void GrpcWatch::finish() {
  finishing_ = true;
  if (writing_) return;
  stream_->Finish(&status_, Completions::tag([watch = shared_from_this()](bool) { watch->finished(); }));
}

void GrpcWatch::finished() {
  if (cancelled_) return;
  if (wire::is_stale_token(status_.error_code(), status_.error_message()) && !token_renewed_ && !delivered_) {
    token_renewed_ = true;
    reopen_ = true;
    connection_->stale_token(link_.number);
  }
  if (reopen_) {
    reopen_ = false;
    return connect(*connection_, patience_);
  }
  Failure failure = failure_of(status_, link_.endpoint, "watch " + request_.keys.text());
  // A server that shuts down ends its streams without an error, or by cancelling them.
  if (status_.ok() || failure.reason == Reason::cancelled) failure.reason = Reason::unavailable;
  if (failure.reason == Reason::unavailable || failure.reason == Reason::no_leader) connection_->broken(link_.number);
  end(std::move(failure));
}

void GrpcWatch::end(Failure failure) {
  if (cancelled_) return;
  cancelled_ = true;
  const auto handler = std::move(handlers_.ended);
  handlers_ = {};
  handler(std::move(failure));
}

void GrpcWatch::cancel() {
  cancelled_ = true;
  handlers_ = {};
  if (context_) context_->TryCancel();
}

}  // namespace weft::etcd
