#include "agent/attach_gate.h"

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

void AttachGate::pass(const std::optional<LabelMap>& labels, const std::set<Family>& families,
                      std::function<void(const Result<void>&)> done) {
  if (!labels && families.empty()) return done({});
  auto waiting = std::make_shared<Waiting>(loop_);
  waiting->done = std::move(done);
  waiting->missing = families.size() + (labels ? 1 : 0);
  const auto arrived = [waiting](const Result<void>& outcome) {
    if (!outcome)
      waiting->tell(outcome);
    else if (--waiting->missing == 0)
      waiting->tell({});
  };
  if (labels)
    cluster_.acquire(*labels, [this, arrived, labels = *labels](const Result<void>& outcome) {
      arrived(outcome);
      if (outcome) cluster_.release(labels);  // what runs now needs them by itself
    });
  for (const auto family : families) cluster_.claim(family, arrived);
  waiting->timer.expires_after(patience_);
  waiting->timer.async_wait([waiting, asked_labels = labels.has_value()](const std::error_code& error) {
    if (error) return;
    waiting->tell(fail(ErrorCode::unavailable,
                       asked_labels ? "the cluster's etcd has not given the container's labels a number yet"
                                    : "the cluster's etcd has not given this node a block of addresses yet",
                       "it is tried again by itself; weft status tells whether etcd answers"));
  });
}

}  // namespace weft::agent
