// When the event ring is read: at once when the datapath wakes its reader, because much is unread
// (weft_config.event_wakeup_bytes), and at an interval for the rest.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>

#include "base/result.h"

namespace weft::agent {

class EventReader {
 public:
  // Reads everything that is there; called on the loop.
  using Read = std::function<void()>;
  // `ring`: readable when the datapath asked for a wake-up; duplicated.
  static Result<std::unique_ptr<EventReader>> start(asio::io_context& loop, int ring,
                                                    std::chrono::milliseconds interval, Read read);
  EventReader(const EventReader&) = delete;
  EventReader& operator=(const EventReader&) = delete;

 private:
  EventReader(asio::io_context& loop, int ring, std::chrono::milliseconds interval, Read read);
  void await_wakeup();
  void await_interval();

  asio::posix::stream_descriptor ring_;
  asio::steady_timer timer_;
  std::chrono::milliseconds interval_;
  Read read_;
};

}  // namespace weft::agent
