// One request and one answer over gRPC's generic stub. Inside this room only. Owner thread only.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "sources/etcd/completion.h"
#include "sources/etcd/connection.h"
#include "sources/etcd/failure.h"

namespace weft::etcd {

class CallInProgress {
 public:
  virtual ~CallInProgress() = default;
  void cancel() { context_.TryCancel(); }

 protected:
  grpc::ClientContext context_;
};

template <class Response>
class UnaryCall final : public CallInProgress {
 public:
  template <class Request>
  static std::shared_ptr<UnaryCall> start(Completions& completions, const Link& link, const char* method,
                                          const Request& request, std::chrono::milliseconds timeout,
                                          std::function<void(const grpc::Status&, Response&)> done) {
    auto call = std::make_shared<UnaryCall>();
    link.prepare(call->context_);
    call->context_.set_deadline(std::chrono::system_clock::now() + timeout);
    call->done_ = std::move(done);
    grpc::TemplatedGenericStub<Request, Response> stub(link.channel);
    call->reader_ = stub.PrepareUnaryCall(&call->context_, method, request, completions.queue());
    call->reader_->StartCall();
    // The tag holds the call: gRPC writes into it until it has finished. What is to be done then may hold the call,
    // too: it goes with the tag, also where nobody is there any more to do it.
    const std::shared_ptr<void> end(nullptr, [call](void*) { call->done_ = nullptr; });
    call->reader_->Finish(&call->response_, &call->status_, Completions::tag([call, end](bool) {
      const auto finished = std::move(call->done_);
      finished(call->status_, call->response_);
    }));
    return call;
  }

 private:
  std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader_;
  std::function<void(const grpc::Status&, Response&)> done_;
  Response response_;
  grpc::Status status_;
};

template <class Response, class Request>
std::shared_ptr<CallInProgress> start_unary(Completions& completions, const Link& link, const char* method,
                                            const Request& request, std::chrono::milliseconds timeout,
                                            std::function<void(const grpc::Status&, Response&)> done) {
  return UnaryCall<Response>::start(completions, link, method, request, timeout, std::move(done));
}

// "<endpoint>: <operation>: <etcd's or gRPC's words>".
Failure failure_of(const grpc::Status& status, const std::string& endpoint, const std::string& operation);

}  // namespace weft::etcd
