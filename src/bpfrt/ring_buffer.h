// Reader of a BPF ring buffer (libbpf's), for one thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "base/result.h"

struct ring_buffer;

namespace weft::bpfrt {

class RingBuffer {
 public:
  using Handler = std::function<void(std::span<const std::byte>)>;
  static Result<RingBuffer> open(int map_fd, Handler handler);
  // Readable when the producer asked for a wake-up.
  [[nodiscard]] int epoll_fd() const;
  // Hands over what is there, without waiting; returns how many records.
  Result<int> consume();

 private:
  struct Deleter {
    void operator()(ring_buffer* ring) const;
  };
  std::unique_ptr<Handler> handler_;
  std::unique_ptr<ring_buffer, Deleter> ring_;
};

}  // namespace weft::bpfrt
