#include "lab/presence.h"

#include <array>
#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <utility>

namespace weft::lab {

// Short: a restarted agent is serving within half a second, and connecting to nobody costs nothing.
constexpr std::chrono::milliseconds retry_pause{25};

struct Presence::State : std::enable_shared_from_this<State> {
  State(asio::io_context& loop, std::string path, std::function<void()> callback)
      : timer(loop), connection(loop), socket(std::move(path)), changed(std::move(callback)) {}

  void attempt() {
    connection.async_connect(asio::local::stream_protocol::endpoint(socket),
                             [self = shared_from_this()](const asio::error_code& error) {
                               if (self->ended) return;
                               if (error) return self->later();
                               self->become(true);
                               self->hold();
                             });
  }

  // The agent says nothing by itself: what is read is its end.
  void hold() {
    connection.async_read_some(asio::buffer(byte),
                               [self = shared_from_this()](const asio::error_code& error, std::size_t) {
                                 if (self->ended) return;
                                 if (!error) return self->hold();
                                 self->become(false);
                                 self->later();
                               });
  }

  void later() {
    asio::error_code ignored;
    connection.close(ignored);
    timer.expires_after(retry_pause);
    timer.async_wait([self = shared_from_this()](const asio::error_code& error) {
      if (!error && !self->ended) self->attempt();
    });
  }

  void become(bool now) {
    if (std::exchange(serving, now) != now) changed();
  }

  asio::steady_timer timer;
  asio::local::stream_protocol::socket connection;
  const std::string socket;
  const std::function<void()> changed;
  std::array<char, 1> byte{};
  bool serving = false;
  bool ended = false;
};

Presence::Presence(asio::io_context& loop, std::string socket, std::function<void()> changed)
    : state_(std::make_shared<State>(loop, std::move(socket), std::move(changed))) {
  state_->attempt();
}

Presence::~Presence() {
  state_->ended = true;
  state_->timer.cancel();
  asio::error_code ignored;
  state_->connection.close(ignored);
}

bool Presence::serving() const { return state_->serving; }

}  // namespace weft::lab
