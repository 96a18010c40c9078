#include "bpfrt/ring_buffer.h"

#include <bpf/libbpf.h>

#include <cerrno>

#include "bpfrt/libbpf_log.h"

namespace weft::bpfrt {
namespace {

int hand_over(void* handler, void* data, std::size_t size) {
  (*static_cast<RingBuffer::Handler*>(handler))({static_cast<const std::byte*>(data), size});
  return 0;
}

}  // namespace

void RingBuffer::Deleter::operator()(ring_buffer* ring) const { ring_buffer__free(ring); }

Result<RingBuffer> RingBuffer::open(int map_fd, Handler handler) {
  const LibbpfLog log;
  RingBuffer ring;
  ring.handler_ = std::make_unique<Handler>(std::move(handler));
  ring.ring_.reset(ring_buffer__new(map_fd, hand_over, ring.handler_.get(), nullptr));
  if (ring.ring_ == nullptr) return fail(log.error("open a ring buffer", errno));
  return ring;
}

int RingBuffer::epoll_fd() const { return ring_buffer__epoll_fd(ring_.get()); }

Result<int> RingBuffer::consume() {
  const int count = ring_buffer__consume(ring_.get());
  if (count < 0) return fail(errno_error("read a ring buffer", -count));
  return count;
}

}  // namespace weft::bpfrt
