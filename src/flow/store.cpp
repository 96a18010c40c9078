#include "flow/store.h"

#include <algorithm>

#include "flow/event.h"

namespace weft::flow {

// The wall clock may be set or slewed: read the difference again when events are this far apart.
constexpr std::uint64_t offset_lifetime = 1'000'000'000;

Subscription& Subscription::operator=(Subscription&& other) noexcept {
  if (this != &other) {
    cancel();
    callbacks_ = std::move(other.callbacks_);
    id_ = other.id_;
  }
  return *this;
}

void Subscription::cancel() {
  if (auto callbacks = callbacks_.lock()) callbacks->by_id.erase(id_);
  callbacks_.reset();
}

FlowStore::FlowStore(FlowStoreOptions options)
    : options_(std::move(options)), callbacks_(std::make_shared<Subscription::Callbacks>()) {
  options_.capacity = std::max<std::size_t>(1, options_.capacity);
}

Result<void> FlowStore::add(std::span<const std::byte> record) {
  auto event = decode_event(record);
  if (!event) {
    ++malformed_;
    return fail(std::move(event.error()));
  }
  add(*event);
  return {};
}

void FlowStore::add(const weft_event& event) {
  Flow flow = enrich(event, enrichment_);
  flow.sequence = next_;
  flow.lost_before = std::exchange(pending_lost_, 0);
  flow.time = to_wall(event.time);
  if (ring_.size() < options_.capacity)
    ring_.push_back(std::move(flow));
  else
    ring_[(next_ - 1) % options_.capacity] = std::move(flow);
  ++next_;
}

void FlowStore::add_lost(std::uint64_t count) {
  lost_ += count;
  pending_lost_ += count;
}

void FlowStore::notify() {
  const auto state = next_ + lost_;
  if (std::exchange(notified_, state) == state) return;
  const auto callbacks = callbacks_;  // a callback may be the end of the store's owner
  std::uint64_t last = 0;
  bool any = false;
  for (;;) {  // by id, since a callback may subscribe and cancel
    auto entry = any ? callbacks->by_id.upper_bound(last) : callbacks->by_id.begin();
    if (entry == callbacks->by_id.end()) return;
    any = true;
    last = entry->first;
    const auto callback = entry->second;
    callback();
  }
}

Subscription FlowStore::subscribe(std::function<void()> callback) {
  const auto id = callbacks_->next++;
  callbacks_->by_id.emplace(id, std::move(callback));
  return {callbacks_, id};
}

const Flow* FlowStore::find(std::uint64_t sequence) const {
  if (sequence < first() || sequence >= next_) return nullptr;
  return &ring_[(sequence - 1) % options_.capacity];
}

FlowStore::Counts FlowStore::counts() const {
  return {.seen = next_ - 1, .lost = lost_, .malformed = malformed_, .kept = ring_.size()};
}

Nanoseconds FlowStore::to_wall(std::uint64_t monotonic) {
  // Also when time runs backwards (events of several CPUs) by more than that.
  const auto apart = monotonic > offset_taken_ ? monotonic - offset_taken_ : offset_taken_ - monotonic;
  if (offset_taken_ == 0 || apart > offset_lifetime) {
    offset_ = options_.wall_offset();
    offset_taken_ = monotonic;
  }
  return static_cast<Nanoseconds>(monotonic + static_cast<std::uint64_t>(offset_));
}

}  // namespace weft::flow
