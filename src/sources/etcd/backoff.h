// How long to wait before the next try: doubling from `base` to `cap`, each time a random point of the
// upper half, so that a hundred nodes that lost etcd together do not come back together.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <utility>

namespace weft::etcd {

// Any 64 bits. Injected, so that tests know what comes. Copies draw from the same source.
using Random = std::function<std::uint64_t()>;

// A fraction of [0, 1).
inline double fraction(const Random& random) { return static_cast<double>(random() >> 11) * 0x1.0p-53; }

struct BackoffOptions {
  std::chrono::milliseconds base{200};
  std::chrono::milliseconds cap{15000};
};

class Backoff {
 public:
  Backoff(BackoffOptions options, Random random) : options_(options), random_(std::move(random)) {}
  // After a success.
  void reset() { tries_ = 0; }
  // `waited`: the try went by in waiting for a connection (Failure::waited), whose own backoff is what spares etcd.
  // The next one is to stand in line when there is a connection again, not to come a while later.
  std::chrono::milliseconds next(bool waited = false) {
    if (waited) return part_of(options_.base);
    auto whole = options_.base;
    for (int i = 0; i < tries_ && whole < options_.cap; ++i) whole *= 2;
    whole = std::min(whole, options_.cap);
    if (whole < options_.cap) ++tries_;
    return part_of(whole);
  }

 private:
  std::chrono::milliseconds part_of(std::chrono::milliseconds whole) const {
    const double part = 0.5 + (0.5 * fraction(random_));
    return std::chrono::milliseconds(static_cast<std::int64_t>(static_cast<double>(whole.count()) * part));
  }

  BackoffOptions options_;
  Random random_;
  int tries_ = 0;
};

}  // namespace weft::etcd
