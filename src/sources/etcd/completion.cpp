#include "sources/etcd/completion.h"

#include <pthread.h>

#include <csignal>

namespace weft::etcd {

Completions::Completions(Scheduler& scheduler) : scheduler_(&scheduler) {
  // The thread takes no signals: they are for the owner's loop.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { wait(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Completions::~Completions() {
  *open_ = false;
  queue_.Shutdown();
  thread_.join();
}

void Completions::wait() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
    // Moved, so that what the step holds ends on the owner thread.
    std::shared_ptr<Step> step(static_cast<Step*>(tag));
    scheduler_->post([step = std::move(step), ok, open = open_] {
      if (*open) (*step)(ok);
    });
  }
}

}  // namespace weft::etcd
