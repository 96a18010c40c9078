#include "lab/pod_watcher.h"

#include <sys/socket.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/answer.h"
#include "api/client.h"

namespace weft::lab {

// Short: a restarted agent is serving within half a second, and connecting to nobody costs nothing.
constexpr std::chrono::milliseconds retry_pause{25};

PodWatcher::PodWatcher(std::string socket, Callbacks callbacks)
    : socket_(std::move(socket)), callbacks_(std::move(callbacks)), thread_([this] { follow(); }) {}

PodWatcher::~PodWatcher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    // Ends the stream that the thread reads without limit.
    if (open_fd_ >= 0) ::shutdown(open_fd_, SHUT_RDWR);
  }
  wake_.notify_all();
  thread_.join();
}

bool PodWatcher::pause() {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, retry_pause, [this] { return stopping_; });
}

void PodWatcher::follow() {
  do {
    auto client = api::Client::connect(socket_);
    if (!client) continue;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      open_fd_ = client->fd();
    }
    callbacks_.connected();
    const auto ended = client->stream("watch", {{"kind", "Pod"}}, [this](const nlohmann::json& event) {
      callbacks_.event(event);
      return true;
    });
    {
      const std::lock_guard lock(mutex_);
      open_fd_ = -1;
    }
    callbacks_.disconnected(ended ? "the stream ended" : ended.error().error.message);
  } while (pause());
}

}  // namespace weft::lab
