#include "agent/attach_gate.h"

#include <fmt/format.h>

#include <algorithm>
#include <asio/steady_timer.hpp>
#include <memory>
#include <utility>

namespace weft::agent {
namespace {

struct Waiting {
  explicit Waiting(asio::io_context& loop) : timer(loop) {}
  asio::steady_timer timer;
  std::function<void(const Result<void>&)> done;
  std::size_t missing = 0;
  bool told = false;

  void tell(const Result<void>& outcome) {
    if (std::exchange(told, true)) return;
    timer.cancel();
    std::exchange(done, nullptr)(outcome);
  }
};

}  // namespace

void AttachGate::pass(const Needs& needs, std::function<void(const Result<void>&)> done,
                      std::chrono::steady_clock::time_point until) {
  if (needs.empty()) return done({});
  std::set<std::string> pools;
  for (const auto& [pool, family] : needs.pools) pools.insert(pool);
  for (const auto& block : needs.blocks) pools.insert(block.pool);
  for (const auto& pool : pools) cluster_.hold(pool);
  auto waiting = std::make_shared<Waiting>(loop_);
  waiting->done = [this, pools, done = std::move(done)](const Result<void>& outcome) {
    done(outcome);
    for (const auto& pool : pools) cluster_.let_go(pool);
  };
  waiting->missing = needs.pools.size() + needs.blocks.size() + (needs.labels ? 1 : 0);
  const auto arrived = [waiting](const Result<void>& outcome) {
    if (!outcome)
      waiting->tell(outcome);
    else if (--waiting->missing == 0)
      waiting->tell({});
  };
  if (needs.labels)
    cluster_.acquire(*needs.labels, [this, arrived, labels = *needs.labels](const Result<void>& outcome) {
      arrived(outcome);
      if (outcome) cluster_.release(labels);  // what runs now needs them by itself
    });
  for (const auto& [pool, family] : needs.pools) cluster_.claim(pool, family, arrived);
  for (const auto& block : needs.blocks) cluster_.claim(block, arrived);
  waiting->timer.expires_at(std::min(until, std::chrono::steady_clock::now() + patience_));
  waiting->timer.async_wait([this, waiting, asked_labels = needs.labels.has_value()](const std::error_code& error) {
    if (error) return;
    const auto absence = cluster_.absence();
    waiting->tell(fail(ErrorCode::unavailable,
                       fmt::format("{} has not given {} yet{}{}", cluster_.store_name(),
                                   asked_labels ? "the container's labels a number"
                                                : "this node a block of addresses, nor said that the one it had is "
                                                  "still its own,",
                                   absence.empty() ? "" : ": ", absence),
                       "it is tried again by itself; weft status tells whether the store answers"));
  });
}

}  // namespace weft::agent
