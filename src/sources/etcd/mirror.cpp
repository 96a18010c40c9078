#include "sources/etcd/mirror.h"

#include <algorithm>
#include <utility>

namespace weft::etcd {
namespace {

// With what it holds; assigning an empty text would keep the memory.
void forget(std::string& value) { std::string().swap(value); }

// What leads from one view to another. A value written again unchanged is a change: its revision is. A view without
// values is as good: within one history a revision has one value. Those of `after` go to the change then.
Change difference(const Mirror::View& before, Mirror::View& after, bool values, Revision revision) {
  Change change{.revision = revision};
  for (auto& [key, kv] : after) {
    const auto old = before.find(key);
    if (old != before.end() && (values ? old->second == kv : old->second.mod_revision == kv.mod_revision)) continue;
    if (values) {
      change.set.push_back(kv);
      continue;
    }
    std::string value;
    value.swap(kv.value);
    change.set.push_back(kv);
    change.set.back().value = std::move(value);
  }
  for (const auto& [key, kv] : before)
    if (!after.contains(key)) change.erased.push_back(kv);
  return change;
}

}  // namespace

Mirror::Mirror(Client& client, Scheduler& scheduler, Random random, MirrorOptions options, MirrorHandlers handlers)
    : client_(&client),
      scheduler_(&scheduler),
      random_(std::move(random)),
      options_(std::move(options)),
      handlers_(std::move(handlers)),
      backoff_(options_.backoff, random_) {
  list();
}

std::chrono::milliseconds Mirror::silent_for() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(scheduler_->now() - last_heard_);
}

void Mirror::list() {
  retry_.cancel();
  listing_.clear();
  listing_revision_ = 0;
  next_page({});
}

// Keys greater than `after`; the first page fixes the revision of the others.
void Mirror::next_page(const std::string& after) {
  Keys keys = Keys::prefix(options_.prefix);
  if (!after.empty()) keys.key = after + '\0';
  client_->range({.keys = std::move(keys), .limit = options_.page, .revision = listing_revision_}, {},
                 [this, alive = std::weak_ptr(alive_)](Outcome<RangeResult> page) {
                   if (!alive.expired()) page_received(std::move(page));
                 });
}

void Mirror::page_received(Outcome<RangeResult> page) {
  // A list that took so long that its revision was compacted begins again, like one that failed.
  if (!page) return retry_list(page.error());
  if (listing_revision_ == 0) listing_revision_ = page->revision;
  const std::string last = page->kvs.empty() ? std::string() : page->kvs.back().key;
  for (auto& kv : page->kvs) {
    std::string key = kv.key;
    listing_.insert_or_assign(std::move(key), std::move(kv));
  }
  if (page->more && !last.empty()) return next_page(last);
  list_complete();
}

void Mirror::list_complete() {
  const std::weak_ptr<bool> alive = alive_;
  backoff_.reset();
  ++lists_;
  keep_held();
  const Change change = difference(view_, listing_, options_.values, listing_revision_);
  view_ = std::exchange(listing_, {});
  forget_values();
  revision_ = listing_revision_;
  synced_ = true;
  problem_.reset();
  last_heard_ = scheduler_->now();
  follow();
  if (!change.empty()) handlers_.changed(change);
  if (!alive.expired() && handlers_.state) handlers_.state();
}

// What the new list lacks goes on as it was in the view. What was held before is held no longer for that.
void Mirror::keep_held() {
  std::erase_if(held_, [this](const std::string& key) { return listing_.contains(key); });
  if (std::exchange(history_lost_, false) && options_.held) {
    for (const auto& [key, kv] : view_)
      if (!listing_.contains(key) && options_.held(kv)) held_.insert(key);
    if (!held_.empty()) hold_ = scheduler_->after(options_.hold, [this] { end_hold(); });
  }
  for (const auto& key : held_) listing_.insert(*view_.find(key));
}

void Mirror::end_hold() {
  // Without etcd nobody can have written anything.
  if (!live()) {
    hold_ = scheduler_->after(options_.hold, [this] { end_hold(); });
    return;
  }
  Change change{.revision = revision_};
  for (const auto& key : std::exchange(held_, {})) {
    const auto kv = view_.find(key);
    change.erased.push_back(std::move(kv->second));
    view_.erase(kv);
  }
  if (!change.empty()) handlers_.changed(change);
}

void Mirror::forget_values() {
  if (options_.values) return;
  for (auto& [key, kv] : view_) forget(kv.value);
}

// The newest key, for what is older than two histories' parting is in both, and others from all of the view.
Known Mirror::known() const {
  Known known{.count = static_cast<std::int64_t>(view_.size() - held_.size()), .some = {}};
  const KeyValue* newest = nullptr;
  const std::size_t others = std::max<std::size_t>(1, client_->history_check().keys) - 1;
  const std::size_t each = std::max<std::size_t>(1, view_.size() / std::max<std::size_t>(1, others));
  std::size_t index = 0;
  const auto add = [&known](const KeyValue& kv) { known.some.push_back(kv), known.some.back().value.clear(); };
  for (const auto& [key, kv] : view_) {
    if (held_.contains(key)) continue;
    if (newest == nullptr || kv.mod_revision > newest->mod_revision) newest = &kv;
    if (index++ % each == 0 && known.some.size() < others) add(kv);
  }
  if (newest != nullptr) add(*newest);
  return known;
}

void Mirror::follow() {
  watch_ = std::make_unique<Watch>(
      *client_, *scheduler_, random_, Keys::prefix(options_.prefix), revision_ + 1, options_.watch,
      WatchEvents{.events = [this](const std::vector<Event>& events, Revision revision) { apply(events, revision); },
                  .alive = [this] { heard(); },
                  .interrupted = [this](const Failure& why) { troubled(why); },
                  .ended =
                      [this](const Failure& why) {
                        watch_.reset();
                        // Another history: the same revision may have another value.
                        if (why.reason == Reason::history_lost) {
                          history_lost_ = true;
                          for (auto& [key, kv] : view_) kv.mod_revision = 0;
                        }
                        retry_list(why);
                      },
                  .known = [this] { return known(); }});
}

void Mirror::apply(const std::vector<Event>& events, Revision revision) {
  // Net effect: the last state of each key, against the view before.
  std::map<std::string_view, const Event*> last;
  for (const auto& event : events) last[event.kv.key] = &event;
  Change change{.revision = revision};
  for (const auto& [key, event] : last) {
    const auto old = view_.find(key);
    if (old != view_.end()) held_.erase(old->first);
    if (event->type == Event::Type::put) {
      change.set.push_back(event->kv);
      auto& kv = view_.insert_or_assign(event->kv.key, event->kv).first->second;
      if (!options_.values) forget(kv.value);
    } else if (old != view_.end()) {
      change.erased.push_back(std::move(old->second));
      view_.erase(old);
    }
  }
  revision_ = revision;
  if (!change.empty()) handlers_.changed(change);
}

void Mirror::heard() {
  last_heard_ = scheduler_->now();
  if (std::exchange(told_live_, true) && !problem_) return;
  problem_.reset();
  if (handlers_.state) handlers_.state();
}

void Mirror::troubled(const Failure& why) {
  told_live_ = false;
  problem_ = why;
  if (handlers_.state) handlers_.state();
}

void Mirror::retry_list(const Failure& why) {
  // A herd of nodes that lost the same history does not list in the same moment.
  retry_ = scheduler_->after(backoff_.next(why.waited), [this] { list(); });
  troubled(why);
}

}  // namespace weft::etcd
