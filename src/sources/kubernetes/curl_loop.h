// libcurl's multi interface on an asio loop: which sockets it waits for, and when it wants to be called. Inside this
// room only. Owner thread only.
#pragma once

#include <curl/curl.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>

namespace weft::kubernetes {

class CurlLoop {
 public:
  // `turned` is called after libcurl has worked: never from inside of it.
  CurlLoop(asio::io_context& loop, std::function<void()> turned);
  // Every transfer has been taken off.
  ~CurlLoop();
  CurlLoop(const CurlLoop&) = delete;
  CurlLoop& operator=(const CurlLoop&) = delete;

  [[nodiscard]] CURLM* multi() const { return multi_; }

 private:
  struct Socket {
    explicit Socket(asio::io_context& loop) : descriptor(loop) {}
    ~Socket() { release(); }
    void release() {  // libcurl closes it
      if (descriptor.is_open()) descriptor.release();
    }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    asio::posix::stream_descriptor descriptor;
    int wanted = 0;
    bool reading = false;
    bool writing = false;
  };

  static int socket_wanted(CURL* easy, curl_socket_t fd, int what, void* self, void* socket);
  static int timer_wanted(CURLM* multi, long milliseconds, void* self);
  void watch(const std::shared_ptr<Socket>& socket);
  void ready(const std::weak_ptr<Socket>& weak, bool Socket::*waiting, int event, bool failed);
  void work(curl_socket_t fd, int events);

  asio::io_context* loop_;
  std::function<void()> turned_;
  CURLM* multi_;
  asio::steady_timer timer_;
  std::map<curl_socket_t, std::shared_ptr<Socket>> sockets_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weft::kubernetes
