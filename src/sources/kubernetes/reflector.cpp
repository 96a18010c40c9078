#include "sources/kubernetes/reflector.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace weft::kubernetes {
namespace {

using std::chrono::milliseconds;

// A watch that ends sooner and says nothing was not wanted by the server: it is opened again with backoff.
constexpr auto short_watch = std::chrono::seconds(1);
// So often a server may be behind us before we take it that the cluster is another (restored from a backup).
constexpr int most_from_future = 3;
// So often a watch may tell at one version what is no event before we list instead.
constexpr int most_bad_lines = 3;

std::string accepted(bool metadata_only, std::string_view what) {
  if (!metadata_only) return {};
  return fmt::format("application/json;as={};g=meta.k8s.io;v=v1,application/json", what);
}

}  // namespace

Reflector::Reflector(Http& http, etcd::Scheduler& scheduler, etcd::Random random, ReflectorOptions options,
                     ReflectorHandlers handlers)
    : http_(&http),
      scheduler_(&scheduler),
      random_(std::move(random)),
      options_(std::move(options)),
      handlers_(std::move(handlers)),
      backoff_(options_.backoff, random_),
      newest_(options_.consistent) {
  list();
}

milliseconds Reflector::silent_for() const {
  return std::chrono::duration_cast<milliseconds>(scheduler_->now() - last_heard_);
}

std::string Reflector::selectors() const {
  std::string text;
  if (!options_.field_selector.empty()) text += "&fieldSelector=" + escape(options_.field_selector);
  if (!options_.label_selector.empty()) text += "&labelSelector=" + escape(options_.label_selector);
  return text;
}

void Reflector::list() {
  retry_.cancel();
  listing_.clear();
  listing_troubles_.clear();
  listing_version_.clear();
  more_.clear();
  next_page();
}

// https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list
void Reflector::next_page() {
  items_ = {};
  bad_answer_.reset();
  std::string target = fmt::format("{}?limit={}", options_.path, all_at_once_ ? 0 : options_.page) + selectors();
  if (!more_.empty())
    target += "&continue=" + escape(more_);
  else if (!newest_)
    target +=
        fmt::format("&resourceVersion={}&resourceVersionMatch=NotOlderThan", version_.empty() ? "0" : escape(version_));
  transfer_ = http_->start({.target = std::move(target),
                            .accept = accepted(options_.metadata_only, "PartialObjectMetadataList"),
                            .timeout = options_.answer_within,
                            .stream = true,
                            .idle = options_.list_idle,
                            .fresh = std::exchange(fresh_, false)},
                           {.bytes =
                                [this](std::string_view bytes) {
                                  if (bad_answer_) return;
                                  auto taken = items_.push(bytes, [this](std::string_view json) { listed(json); });
                                  if (!taken)
                                    bad_answer_ = {.reason = Reason::internal,
                                                   .message = options_.path + ": " + taken.error().message};
                                },
                            .done = [this](Outcome<Answer> outcome) { page_done(std::move(outcome)); }});
}

void Reflector::listed(std::string_view json) {
  auto object = decoder_.object(json);
  if (!object) {
    listing_troubles_.insert_or_assign(options_.path, object.error().message);
    return;
  }
  std::string key = object->meta.key();
  const auto old = view_.find(key);
  const bool same = old != view_.end() && old->second.uid == object->meta.uid;
  // What is known already is not decoded again; what could not be decoded has another version in the view.
  if (same && !history_lost_ && old->second.resource_version == object->meta.resource_version) {
    listing_.insert_or_assign(std::move(key), old->second);
    return;
  }
  Entry entry{.uid = std::string(object->meta.uid), .resource_version = std::string(object->meta.resource_version)};
  if (options_.decode) {
    auto value = options_.decode(*object);
    if (!value) {
      if (same) listing_.insert_or_assign(key, old->second);
      listing_troubles_.insert_or_assign(std::move(key), value.error().text());
      return;
    }
    entry.value = std::move(*value);
  }
  listing_.insert_or_assign(std::move(key), std::move(entry));
}

void Reflector::page_done(Outcome<Answer> outcome) {
  const auto transfer = std::move(transfer_);
  if (!outcome) return list_failed(outcome.error());
  const std::string place = fmt::format("GET {} of {}", options_.path, outcome->server);
  if (!outcome->good()) {
    auto failure = decoder_.answer(outcome->status, outcome->body, place);
    if (outcome->retry_after.count() >= 0) failure.retry_after = outcome->retry_after;
    return list_failed(failure);
  }
  if (bad_answer_) return list_failed(*bad_answer_);
  const auto rest = items_.finish();
  if (!rest) return list_failed({.reason = Reason::unavailable, .message = place + ": " + rest.error().message});
  auto end = decoder_.list_end(*rest);
  if (!end) return list_failed({.reason = Reason::internal, .message = place + ": " + end.error().message});
  // Pages are of the first one's version. It is what the watch goes on from.
  if (listing_version_.empty()) listing_version_ = std::move(end->resource_version);
  // A continue token that leads to itself would do so for ever.
  if (!end->more.empty() && end->more == more_)
    return list_failed({.reason = Reason::internal, .message = place + ": the list leads to the same page again"});
  more_ = std::move(end->more);
  if (!more_.empty()) return next_page();
  list_complete();
}

Change Reflector::difference_from(const View& before) const {
  Change change;
  for (const auto& [key, entry] : view_) {
    const auto old = before.find(key);
    if (old == before.end())
      change.set.push_back({.key = key, .now = &entry});
    else if (history_lost_ || old->second.uid != entry.uid || old->second.resource_version != entry.resource_version)
      change.set.push_back({.key = key, .now = &entry, .before = &old->second});
  }
  for (const auto& [key, entry] : before)
    if (!view_.contains(key)) change.erased.push_back({.key = key, .before = &entry});
  return change;
}

void Reflector::list_complete() {
  const std::weak_ptr<bool> alive = alive_;
  ++lists_;
  const View before = std::exchange(view_, std::exchange(listing_, {}));
  const Change change = difference_from(before);
  troubles_ = std::exchange(listing_troubles_, {});
  version_ = listing_version_;
  synced_ = true;
  newest_ = all_at_once_ = history_lost_ = false;
  from_future_ = 0;
  last_heard_ = scheduler_->now();
  problem_.reset();
  watch();
  if (!change.empty() && handlers_.changed) handlers_.changed(change);
  if (!alive.expired() && handlers_.state) handlers_.state();
}

void Reflector::list_failed(const Failure& why) {
  switch (why.reason) {
    case Reason::expired:
      // Of a token: pages take longer than the server keeps a version. Of our version: it is gone everywhere.
      (more_.empty() ? newest_ : all_at_once_) = true;
      break;
    case Reason::future_version:
      if (++from_future_ >= most_from_future) newest_ = history_lost_ = true;
      break;
    case Reason::invalid:
      // The version, most likely: whoever does not take ours tells the newest state.
      newest_ = true;
      break;
    default:
      break;
  }
  listing_.clear();
  retry(why, &Reflector::list);
}

void Reflector::watch() {
  retry_.cancel();
  lines_ = {};
  bad_answer_.reset();
  opened_at_ = scheduler_->now();
  const auto seconds = options_.watch_for.count();
  const auto lasts = seconds + static_cast<std::int64_t>(etcd::fraction(random_) * static_cast<double>(seconds));
  transfer_ =
      http_->start({.target = fmt::format("{}?watch=1&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
                                          options_.path, escape(version_), lasts) +
                              selectors(),
                    .accept = accepted(options_.metadata_only, "PartialObjectMetadata"),
                    .timeout = options_.answer_within,
                    .stream = true,
                    .idle = options_.silence,
                    .lifetime = std::chrono::seconds(lasts) + options_.answer_within,
                    .fresh = std::exchange(fresh_, false)},
                   {.opened = [this] { opened(); },
                    .bytes = [this](std::string_view bytes) { received(bytes); },
                    .done = [this](Outcome<Answer> outcome) { watch_done(std::move(outcome)); }});
}

void Reflector::opened() {
  ++watches_;
  last_heard_ = opened_at_ = scheduler_->now();
  told(std::nullopt, true);
}

void Reflector::received(std::string_view bytes) {
  last_heard_ = scheduler_->now();
  if (bad_answer_) return;
  auto taken = lines_.push(bytes, [this](std::string_view line) {
    if (!bad_answer_) take_event(line);
  });
  if (!taken && !bad_answer_)
    bad_answer_ = {.reason = Reason::internal, .message = options_.path + ": " + taken.error().message};
  const std::weak_ptr<bool> alive = alive_;
  tell_batch();
  // What made no sense is not waited for: the stream ends here.
  if (alive.expired() || !bad_answer_) return;
  transfer_.reset();
  watch_failed(Failure(*bad_answer_));
}

void Reflector::take_event(std::string_view line) {
  const auto bad = [this](const std::string& message) {
    if (bad_line_at_ != version_) bad_lines_ = 0;
    bad_line_at_ = version_;
    // A list leads past what is no event.
    const bool again = ++bad_lines_ < most_bad_lines;
    bad_answer_ = {.reason = again ? Reason::internal : Reason::expired, .message = options_.path + ": " + message};
  };
  const auto event = split_event(line);
  if (!event) return bad(event.error().message);
  if (event->type == EventType::error) {
    bad_answer_ = decoder_.status(event->object, "watch of " + options_.path);
    return;
  }
  if (event->type == EventType::bookmark) {
    auto version = decoder_.bookmark(event->object);
    if (!version) return bad(version.error().message);
    version_ = std::move(*version);
    return;
  }
  const auto object = decoder_.object(event->object);
  if (!object) return bad(object.error().message);
  std::string key = object->meta.key();
  version_ = object->meta.resource_version;
  if (event->type == EventType::deleted) {
    untroubled(key);
    remember(key);
    view_.erase(key);
    return;
  }
  take_object(key, *object);
}

void Reflector::take_object(const std::string& key, const Object& object) {
  Entry entry{.uid = std::string(object.meta.uid), .resource_version = std::string(object.meta.resource_version)};
  if (options_.decode) {
    auto value = options_.decode(object);
    if (!value) {
      trouble(key, value.error().text());
      const auto old = view_.find(key);
      if (old == view_.end() || old->second.uid == entry.uid) return;
      remember(key);
      view_.erase(key);
      return;
    }
    entry.value = std::move(*value);
  }
  untroubled(key);
  remember(key);
  view_.insert_or_assign(key, std::move(entry));
}

// As it was before the batch.
void Reflector::remember(const std::string& key) {
  if (before_.contains(key)) return;
  const auto old = view_.find(key);
  before_.emplace(key, old == view_.end() ? std::nullopt : std::optional(old->second));
}

void Reflector::tell_batch() {
  Change change;
  const auto touched = std::exchange(before_, {});
  for (const auto& [key, before] : touched) {
    const auto now = view_.find(key);
    const Entry* old = before ? &*before : nullptr;
    if (now == view_.end()) {
      if (old != nullptr) change.erased.push_back({.key = key, .before = old});
    } else if (old == nullptr || now->second.uid != old->uid || now->second.resource_version != old->resource_version) {
      change.set.push_back({.key = key, .now = &now->second, .before = old});
    }
  }
  const std::weak_ptr<bool> alive = alive_;
  if (!change.empty() && handlers_.changed) handlers_.changed(change);
  if (!alive.expired() && std::exchange(state_changed_, false) && handlers_.state) handlers_.state();
}

void Reflector::watch_done(Outcome<Answer> outcome) {
  const auto transfer = std::move(transfer_);
  if (!outcome) {
    // Silence may be that of a connection nobody answers on.
    fresh_ = outcome.error().reason == Reason::deadline;
    return watch_failed(outcome.error());
  }
  if (!outcome->good()) {
    auto failure = decoder_.answer(outcome->status, outcome->body,
                                   fmt::format("watch of {} of {}", options_.path, outcome->server));
    if (outcome->retry_after.count() >= 0) failure.retry_after = outcome->retry_after;
    return watch_failed(failure);
  }
  // Its time is over, or the server goes: what is cut off within a line comes again. No trouble, so the watch counts as
  // standing for the moment until the next does.
  if (scheduler_->now() - opened_at_ >= short_watch) {
    backoff_.reset();
    return watch();
  }
  retry_ = scheduler_->after(backoff_.next(), [this] { watch(); });
}

void Reflector::watch_failed(const Failure& why) {
  if (live_ && scheduler_->now() - opened_at_ >= short_watch) backoff_.reset();
  if (why.reason == Reason::expired) return retry(why, &Reflector::list);
  // "Too large resource version": this server is behind, or the cluster was restored from a backup.
  if (why.reason == Reason::future_version) {
    if (++from_future_ < most_from_future) return retry(why, &Reflector::watch);
    newest_ = history_lost_ = true;
    return retry(why, &Reflector::list);
  }
  if (why.reason == Reason::invalid) return retry(why, &Reflector::list);
  retry(why, &Reflector::watch);
}

// Never sooner than the server asks for; and those who lost the same server do not come back in the same moment.
void Reflector::retry(const Failure& why, void (Reflector::*what)()) {
  const auto wait = std::max(backoff_.next(), why.retry_after);
  retry_ = scheduler_->after(wait, [this, what] { (this->*what)(); });
  told(why, false);
}

void Reflector::trouble(const std::string& key, std::string why) {
  auto& message = troubles_[key];
  if (message == why) return;
  message = std::move(why);
  state_changed_ = true;
}

void Reflector::untroubled(const std::string& key) {
  if (troubles_.erase(key) != 0) state_changed_ = true;
}

void Reflector::told(const std::optional<Failure>& problem, bool live) {
  const bool same = live == live_ && problem.has_value() == problem_.has_value() &&
                    (!problem || problem->message == problem_->message);
  live_ = live;
  problem_ = problem;
  if (!same && handlers_.state) handlers_.state();
}

}  // namespace weft::kubernetes
