// One watch stream over gRPC. Inside this room only. Owner thread only.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/async_stream.h>

#include <memory>
#include <string>

#include "sources/etcd/client.h"
#include "sources/etcd/connection.h"
#include "sources/etcd/wire.h"

namespace weft::etcd {

// Lives until gRPC has let go of it: its tags hold it.
class GrpcWatch final : public std::enable_shared_from_this<GrpcWatch> {
 public:
  static std::shared_ptr<GrpcWatch> start(Completions& completions, Scheduler& scheduler, Connection& connection,
                                          std::chrono::milliseconds patience, WatchRequest request,
                                          WatchHandlers handlers);
  void request_progress();
  // No handler runs after this. Does not touch the connection, which may be gone.
  void cancel();

 private:
  using Request = etcdserverpb::WatchRequest;
  using Response = etcdserverpb::WatchResponse;

  void connect(Connection& connection, std::chrono::milliseconds patience);
  void open(const Link& link);
  void read();
  void received(bool ok);
  void write(const Request& request);
  void finish();
  void finished();
  void end(Failure failure);

  Completions* completions_ = nullptr;
  Connection* connection_ = nullptr;  // not used once cancelled
  WatchRequest request_;
  WatchHandlers handlers_;
  bool cancelled_ = false;
  bool opened_ = false;
  bool writing_ = false;
  bool progress_wanted_ = false;
  bool finishing_ = false;
  bool token_renewed_ = false;
  bool reopen_ = false;     // when finished, with a new token
  bool delivered_ = false;  // a batch; the stream cannot begin again unseen
  std::chrono::milliseconds patience_{0};
  Link link_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<Request, Response>> stream_;
  Response response_;
  grpc::Status status_;
};

class GrpcWatchHandle final : public WatchStream {
 public:
  explicit GrpcWatchHandle(std::shared_ptr<GrpcWatch> watch) : watch_(std::move(watch)) {}
  ~GrpcWatchHandle() override { watch_->cancel(); }
  GrpcWatchHandle(const GrpcWatchHandle&) = delete;
  GrpcWatchHandle& operator=(const GrpcWatchHandle&) = delete;
  void request_progress() override { watch_->request_progress(); }

 private:
  std::shared_ptr<GrpcWatch> watch_;
};

}  // namespace weft::etcd
