#include "sources/kubernetes/curl_loop.h"

#include <chrono>
#include <utility>

namespace weft::kubernetes {

CurlLoop::CurlLoop(asio::io_context& loop, std::function<void()> turned)
    : loop_(&loop), turned_(std::move(turned)), multi_(curl_multi_init()), timer_(loop) {
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &CurlLoop::socket_wanted);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &CurlLoop::timer_wanted);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  // Connections that nobody uses. Watches of HTTP/1.1 have one each, and requests come and go beside them.
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, 8L);
}

CurlLoop::~CurlLoop() {
  alive_.reset();
  curl_multi_cleanup(multi_);
}

int CurlLoop::socket_wanted(CURL* /*easy*/, curl_socket_t fd, int what, void* self, void* /*socket*/) {
  auto& loop = *static_cast<CurlLoop*>(self);
  if (what == CURL_POLL_REMOVE) {
    const auto found = loop.sockets_.find(fd);
    if (found == loop.sockets_.end()) return 0;
    // At once, whoever still holds it: the number may be another socket's next.
    found->second->release();
    loop.sockets_.erase(found);
    return 0;
  }
  auto& socket = loop.sockets_[fd];
  if (!socket) {
    socket = std::make_shared<Socket>(*loop.loop_);
    std::error_code error;
    socket->descriptor.assign(fd, error);
    if (error) {
      loop.sockets_.erase(fd);
      return -1;
    }
  }
  socket->wanted = what;
  loop.watch(socket);
  return 0;
}

int CurlLoop::timer_wanted(CURLM* /*multi*/, long milliseconds, void* self) {
  auto& loop = *static_cast<CurlLoop*>(self);
  if (milliseconds < 0) {
    loop.timer_.cancel();
    return 0;
  }
  loop.timer_.expires_after(std::chrono::milliseconds(milliseconds));
  loop.timer_.async_wait([&loop, alive = std::weak_ptr(loop.alive_)](const std::error_code& error) {
    if (!error && !alive.expired()) loop.work(CURL_SOCKET_TIMEOUT, 0);
  });
  return 0;
}

void CurlLoop::watch(const std::shared_ptr<Socket>& socket) {
  const std::weak_ptr<bool> alive = alive_;
  const auto wait = [&](auto kind, bool Socket::*waiting, int event) {
    (*socket).*waiting = true;
    socket->descriptor.async_wait(
        kind, [this, alive, weak = std::weak_ptr(socket), waiting, event](const std::error_code& error) {
          if (!alive.expired()) ready(weak, waiting, event, static_cast<bool>(error));
        });
  };
  using Descriptor = asio::posix::stream_descriptor;
  if ((socket->wanted & CURL_POLL_IN) != 0 && !socket->reading)
    wait(Descriptor::wait_read, &Socket::reading, CURL_CSELECT_IN);
  if ((socket->wanted & CURL_POLL_OUT) != 0 && !socket->writing)
    wait(Descriptor::wait_write, &Socket::writing, CURL_CSELECT_OUT);
}

void CurlLoop::ready(const std::weak_ptr<Socket>& weak, bool Socket::*waiting, int event, bool failed) {
  const auto socket = weak.lock();
  if (!socket || failed) return;
  (*socket).*waiting = false;
  const int wanted = event == CURL_CSELECT_IN ? CURL_POLL_IN : CURL_POLL_OUT;
  if ((socket->wanted & wanted) == 0) return;  // no longer
  const std::weak_ptr<bool> alive = alive_;
  const curl_socket_t fd = socket->descriptor.native_handle();
  work(fd, event);
  // libcurl may have taken the socket off, or have closed it and opened another of its number.
  if (alive.expired()) return;
  const auto found = sockets_.find(fd);
  if (found != sockets_.end() && found->second == socket) watch(socket);
}

void CurlLoop::work(curl_socket_t fd, int events) {
  int running = 0;
  curl_multi_socket_action(multi_, fd, events, &running);
  const auto turned = turned_;  // it may destroy this
  turned();
}

}  // namespace weft::kubernetes
