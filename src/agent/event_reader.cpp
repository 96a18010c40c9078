#include "agent/event_reader.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "base/fd.h"

namespace weft::agent {

EventReader::EventReader(asio::io_context& loop, int ring, std::chrono::milliseconds interval, Read read)
    : ring_(loop, ring), timer_(loop), interval_(interval), read_(std::move(read)) {}

Result<std::unique_ptr<EventReader>> EventReader::start(asio::io_context& loop, int ring,
                                                        std::chrono::milliseconds interval, Read read) {
  Fd copy(::fcntl(ring, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return fail(errno_error("duplicate the event ring's descriptor", errno));
  std::unique_ptr<EventReader> reader(new EventReader(loop, copy.release(), interval, std::move(read)));
  reader->await_wakeup();
  reader->await_interval();
  return reader;
}

// Waiting again looks first whether the ring is readable: a wake-up between two waits is not missed.
void EventReader::await_wakeup() {
  ring_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const std::error_code& error) {
    if (error) return;
    read_();
    await_wakeup();
  });
}

void EventReader::await_interval() {
  timer_.expires_after(interval_);
  timer_.async_wait([this](const std::error_code& error) {
    if (error) return;
    read_();
    await_interval();
  });
}

}  // namespace weft::agent
