#include "sources/kubernetes/event_sender.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "sources/kubernetes/micro_time.h"

namespace weft::kubernetes {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

// As the API server checks them.
constexpr std::size_t most_note = 1024;
constexpr std::size_t most_word = 128;
constexpr std::size_t most_name = 253;

// At most so many bytes, whole characters only.
std::string cut(std::string text, std::size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
  text.resize(most);
  return text;
}

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

milliseconds span(etcd::Scheduler::Time from, etcd::Scheduler::Time to) {
  return std::chrono::ceil<milliseconds>(to - from);
}

}  // namespace

EventSender::EventSender(Http& http, etcd::Scheduler& scheduler, etcd::Random random, EventSenderOptions options)
    : scheduler_(&scheduler),
      random_(random),
      options_(std::move(options)),
      writer_(http, {}),
      backoff_(options_.backoff, std::move(random)),
      tokens_(options_.burst),
      refilled_(scheduler.now()),
      not_before_(refilled_) {}

void EventSender::tell(EventText event) {
  ++counts_.told;
  const Key key(event.about, event.reason);
  const auto found = series_.find(key);
  const auto now = scheduler_->now();
  const bool over = found != series_.end() && !found->second.queued && now - found->second.seen > options_.same_within;
  if (over) series_.erase(found);
  auto& series = over || found == series_.end() ? begin(key, std::move(event)) : found->second;
  ++series.count;
  series.seen = now;
  series.last = options_.wall_clock();
  enqueue(key);
}

EventSender::Series& EventSender::begin(const Key& key, EventText event) {
  if (series_.size() >= options_.most_known) forget_oldest();
  auto& series = series_[key];
  series.text = std::move(event);
  // The server wants a name that nobody has; that of the object comes first, as kubectl sorts them.
  series.name = fmt::format("{}.{:016x}", cut(series.text.about.name, most_name - 17), random_());
  series.first = options_.wall_clock();
  return series;
}

void EventSender::forget_oldest() {
  const auto oldest = std::ranges::min_element(series_, [](const auto& a, const auto& b) {
    return std::pair(a.second.queued, a.second.seen) < std::pair(b.second.queued, b.second.seen);
  });
  if (oldest->second.queued) {
    ++counts_.dropped;
    std::erase(queue_, oldest->first);
  }
  series_.erase(oldest);
}

void EventSender::enqueue(const Key& key) {
  auto& series = series_.at(key);
  if (!series.queued) {
    if (queue_.size() >= options_.most_queued) drop_oldest();
    series.queued = true;
    queue_.push_back(key);
  }
  pump();
}

void EventSender::drop_oldest() {
  ++counts_.dropped;
  const auto series = series_.find(queue_.front());
  queue_.pop_front();
  // What the server has of it stays as it is.
  series->second.count_written == 0 ? (void)series_.erase(series) : (void)(series->second.queued = false);
}

EventSender::Time EventSender::due(const Series& series) const {
  return series.count_written == 0 ? Time{} : series.written + options_.count_every;
}

void EventSender::wait(milliseconds time) {
  timer_ = scheduler_->after(std::max(time, milliseconds(1)), [this] { pump(); });
}

void EventSender::pump() {
  if (busy_ || queue_.empty()) return;
  const auto now = scheduler_->now();
  if (now < not_before_) return wait(span(now, not_before_));
  const double gained = std::chrono::duration<double>(now - refilled_) / std::chrono::duration<double>(options_.refill);
  tokens_ = std::min(tokens_ + gained, static_cast<double>(options_.burst));
  refilled_ = now;
  const auto next = std::ranges::min_element(queue_, {}, [&](const Key& key) { return due(series_.at(key)); });
  if (const auto at = due(series_.at(*next)); at > now) return wait(span(now, at));
  if (tokens_ < 1) return wait(options_.refill);
  tokens_ -= 1;
  const Key key = std::move(*next);
  queue_.erase(next);
  auto& series = series_.at(key);
  series.queued = false;
  send(key, series);
}

std::string EventSender::collection(const Regarding& about) {
  return fmt::format("/apis/events.k8s.io/v1/namespaces/{}/events",
                     about.namespace_name.empty() ? "default" : about.namespace_name);
}

std::string EventSender::event_json(const Series& series) const {
  const auto& [about, reason, action, note, warning] = series.text;
  json regarding{{"apiVersion", about.api_version}, {"kind", about.kind}, {"name", about.name}};
  if (!about.namespace_name.empty()) regarding["namespace"] = about.namespace_name;
  if (!about.uid.empty()) regarding["uid"] = about.uid;
  json event{{"apiVersion", "events.k8s.io/v1"},
             {"kind", "Event"},
             {"metadata",
              {{"name", series.name}, {"namespace", about.namespace_name.empty() ? "default" : about.namespace_name}}},
             {"eventTime", micro_time(series.first)},
             {"reportingController", options_.controller},
             {"reportingInstance", cut(options_.instance, most_word)},
             {"action", cut(action, most_word)},
             {"reason", cut(reason, most_word)},
             {"note", cut(note, most_note)},
             {"type", warning ? "Warning" : "Normal"},
             {"regarding", std::move(regarding)}};
  if (series.count > 1) event["series"] = {{"count", series.count}, {"lastObservedTime", micro_time(series.last)}};
  return dump(event);
}

void EventSender::send(const Key& key, const Series& series) {
  busy_ = true;
  auto done = [this, key, count = series.count](const Outcome<std::string>& outcome) { answered(key, count, outcome); };
  const auto events = collection(series.text.about);
  if (series.count_written == 0) return writer_.create(events, event_json(series), std::move(done));
  const json counted{{"series", {{"count", series.count}, {"lastObservedTime", micro_time(series.last)}}}};
  writer_.merge_patch(events + "/" + series.name, dump(counted), std::move(done));
}

void EventSender::answered(const Key& key, std::int64_t count, const Outcome<std::string>& outcome) {
  busy_ = false;
  const auto found = series_.find(key);  // it may have been forgotten meanwhile
  // A create whose answer was lost is there.
  if (outcome || outcome.error().reason == Reason::exists) {
    ++counts_.sent;
    problem_.clear();
    backoff_.reset();
    if (found != series_.end()) {
      found->second.count_written = count;
      found->second.written = scheduler_->now();
      if (found->second.count > count) return enqueue(key);
    }
    return pump();
  }
  const auto& failure = outcome.error();
  problem_ = failure.message;
  if (failure.transient()) {
    not_before_ = scheduler_->now() + std::max(backoff_.next(), failure.retry_after);
    if (found != series_.end() && !found->second.queued) {
      found->second.queued = true;
      queue_.push_front(key);
      if (queue_.size() > options_.most_queued) drop_oldest();
    }
    return pump();
  }
  // An Event that the server has forgotten after its time is told anew with the next; a refused one, too.
  if (found != series_.end() && !found->second.queued) series_.erase(found);
  ++counts_.refused;
  pump();
}

}  // namespace weft::kubernetes
