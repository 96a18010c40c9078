// The last flows of this node: a ring that followers read at their own pace.
//
// One thread owns the store and everything handed out by it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "flow/flow.h"

namespace weft::flow {

struct FlowStoreOptions {
  std::size_t capacity = 4096;                                    // flows kept, at least 1
  std::function<Nanoseconds()> wall_offset = &flow::wall_offset;  // CLOCK_REALTIME - CLOCK_MONOTONIC
};

// Ends its callback on destruction; may outlive the store.
class Subscription {
 public:
  Subscription() = default;
  Subscription(Subscription&& other) noexcept = default;
  Subscription& operator=(Subscription&& other) noexcept;
  ~Subscription() { cancel(); }
  void cancel();

 private:
  friend class FlowStore;
  struct Callbacks {
    std::map<std::uint64_t, std::function<void()>> by_id;
    std::uint64_t next = 0;
  };
  Subscription(std::weak_ptr<Callbacks> callbacks, std::uint64_t id) : callbacks_(std::move(callbacks)), id_(id) {}
  std::weak_ptr<Callbacks> callbacks_;
  std::uint64_t id_ = 0;
};

class FlowStore {
 public:
  explicit FlowStore(FlowStoreOptions options = {});

  // From now on flows are resolved with these tables.
  void set_enrichment(Enrichment enrichment) { enrichment_ = std::move(enrichment); }
  [[nodiscard]] const Enrichment& enrichment() const { return enrichment_; }

  // Takes one record of the ring buffer. A record that does not decode is counted and refused.
  // Call notify() after the last record of a batch.
  Result<void> add(std::span<const std::byte> record);
  void add(const weft_event& event);
  // `count` more events were lost on the way; shown before the next flow.
  void add_lost(std::uint64_t count);
  // Wakes the subscribers, if anything arrived since the last time.
  void notify();

  // `callback` runs in notify(). It may subscribe and cancel.
  [[nodiscard]] Subscription subscribe(std::function<void()> callback);
  [[nodiscard]] std::size_t subscribers() const { return callbacks_->by_id.size(); }

  // Flows kept have the sequence numbers [first, next).
  [[nodiscard]] std::uint64_t first() const { return next_ - ring_.size(); }
  [[nodiscard]] std::uint64_t next() const { return next_; }
  // Null when it is overwritten or not yet there.
  [[nodiscard]] const Flow* find(std::uint64_t sequence) const;

  struct Counts {
    std::uint64_t seen = 0;       // flows taken
    std::uint64_t lost = 0;       // as told by add_lost
    std::uint64_t malformed = 0;  // records refused
    std::size_t kept = 0;
  };
  [[nodiscard]] Counts counts() const;
  // Lost since the last flow; a follower at the end shows them without waiting for the next flow.
  [[nodiscard]] std::uint64_t lost_since_last() const { return pending_lost_; }

 private:
  [[nodiscard]] Nanoseconds to_wall(std::uint64_t monotonic);

  FlowStoreOptions options_;
  Enrichment enrichment_;
  std::vector<Flow> ring_;
  std::uint64_t next_ = 1;
  std::uint64_t notified_ = 1;
  std::uint64_t lost_ = 0;
  std::uint64_t malformed_ = 0;
  std::uint64_t pending_lost_ = 0;
  Nanoseconds offset_ = 0;
  std::uint64_t offset_taken_ = 0;  // monotonic time of the last event that had it read
  std::shared_ptr<Subscription::Callbacks> callbacks_;
};

}  // namespace weft::flow
