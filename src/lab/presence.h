// Knows whether an agent answers: holds a connection to its socket, or tries to.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace asio {
class io_context;
}

namespace weft::lab {

// Used from the loop's thread only; `loop` must outlive it.
class Presence {
 public:
  // `changed` is called in the loop when the answer below changed.
  Presence(asio::io_context& loop, std::string socket, std::function<void()> changed);
  ~Presence();
  Presence(const Presence&) = delete;
  Presence& operator=(const Presence&) = delete;

  [[nodiscard]] bool serving() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace weft::lab
