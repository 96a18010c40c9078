// A unix socket that another program listens at, with a deadline for everything that is said there. Blocks.
#pragma once

#include <chrono>
#include <csignal>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "supervise/process.h"

namespace weft::speaker {

class Conversation {
 public:
  // not_found: there is no socket, or nobody listens any more.
  static Result<Conversation> connect(const std::string& path, std::chrono::milliseconds timeout);

  Result<void> send(std::string_view bytes);
  // At least one byte. `unavailable`: the deadline came, or the other side closed.
  Result<std::string> receive();
  // Who listens.
  [[nodiscard]] Result<supervise::ProcessId> listener() const;

 private:
  Conversation(std::string path, Fd fd, std::chrono::steady_clock::time_point deadline)
      : path_(std::move(path)), fd_(std::move(fd)), deadline_(deadline) {}
  Result<void> wait(short events) const;

  std::string path_;
  Fd fd_;
  std::chrono::steady_clock::time_point deadline_;
};

// Ends whoever listens there: a program whose pid file was never written, for one. Nothing when nobody does.
void end_listener(const std::string& path, int signal = SIGKILL);

}  // namespace weft::speaker
