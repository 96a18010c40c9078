// gRPC's completion queue brought to the owner thread: one thread waits for it and posts what has
// completed. Inside this room only.
//
// Threading: tag() and the destructor on the owner thread. Before destruction every call in progress
// must have been cancelled; the destructor waits for their completions, which then run nothing.
#pragma once

#include <grpcpp/completion_queue.h>

#include <functional>
#include <thread>

#include "sources/etcd/scheduler.h"

namespace weft::etcd {

class Completions {
 public:
  using Step = std::function<void(bool ok)>;

  explicit Completions(Scheduler& scheduler);
  ~Completions();
  Completions(const Completions&) = delete;
  Completions& operator=(const Completions&) = delete;

  grpc::CompletionQueue* queue() { return &queue_; }
  // For one operation of a call on queue(): `step` runs on the owner thread when it completes. What the
  // step holds lives until then.
  static void* tag(Step step) { return new Step(std::move(step)); }

 private:
  void wait();

  Scheduler* scheduler_;
  grpc::CompletionQueue queue_;
  // Set and read on the owner thread; a posted step may outlive this.
  std::shared_ptr<bool> open_ = std::make_shared<bool>(true);
  std::thread thread_;
};

}  // namespace weft::etcd
