#include "sources/crd_store/watch.h"

#include <fmt/format.h>

#include <optional>
#include <utility>
#include <vector>

#include "sources/crd_store/failures.h"
#include "sources/crd_store/kubernetes_store.h"

namespace weft::crd {
namespace {

using etcd::WatchBatch;
using std::chrono::milliseconds;

// A watch that ends sooner and said nothing was not wanted by the server.
constexpr auto short_watch = std::chrono::seconds(1);

class CrdWatch final : public etcd::WatchStream {
 public:
  CrdWatch(KubernetesStore& store, etcd::WatchRequest request, etcd::WatchHandlers handlers)
      : store_(&store), handlers_(std::move(handlers)), revision_(request.start_revision - 1) {
    auto folder = store.codec().places().folder(request.keys.key);
    if (folder && !folder->marks && request.start_revision > 0) {
      folder_ = std::move(*folder);
      one_ = request.keys.end.empty();
      begin();
      return;
    }
    const auto message =
        folder ? "watch " + request.keys.text() + ": not of that, nor from now on" : folder.error().message;
    end_later({.reason = etcd::Reason::invalid, .message = message, .store = "Kubernetes", .hint = {}});
  }
  ~CrdWatch() override = default;
  CrdWatch(const CrdWatch&) = delete;
  CrdWatch& operator=(const CrdWatch&) = delete;

  void request_progress() override {
    store_->probe([this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired() && opened_) tell(WatchBatch::Kind::alive, {});
    });
  }

 private:
  void begin() {
    store_->identify([this, alive = std::weak_ptr(alive_)](const etcd::Outcome<std::uint64_t>& id) {
      if (alive.expired()) return;
      if (!id) return end(id.error());
      cluster_id_ = *id;
      open();
    });
  }

  void open() {
    lines_ = {};
    bad_.reset();
    opened_at_ = store_->scheduler().now();
    const auto seconds = store_->options().watch_for.count();
    const auto part = etcd::fraction(store_->random()) * static_cast<double>(seconds);
    const auto lasts = seconds + static_cast<std::int64_t>(part);
    kubernetes::Request request{
        .target = fmt::format("{}?watch=1&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
                              store_->path(folder_.resource), revision_, lasts)};
    if (!folder_.claim.empty())
      request.target += "&labelSelector=" + kubernetes::escape(fmt::format("{}={}", claim_label, folder_.claim));
    request.stream = true;
    request.idle = store_->options().silence;
    request.lifetime = std::chrono::seconds(lasts) + request.timeout;
    request.fresh = std::exchange(fresh_, false);
    transfer_ = store_->http().start(
        std::move(request), {.opened = [this] { stands(); },
                             .bytes = [this](std::string_view bytes) { received(bytes); },
                             .done = [this](kubernetes::Outcome<kubernetes::Answer> outcome) { over(outcome); }});
  }

  void tell(WatchBatch::Kind kind, std::vector<etcd::Event> events) {
    const auto handler = handlers_.batch;
    handler({.kind = kind, .revision = revision_, .cluster_id = cluster_id_, .events = std::move(events)});
  }

  void stands() {
    if (!std::exchange(opened_, true)) tell(WatchBatch::Kind::created, {});
  }

  void received(std::string_view bytes) {
    if (bad_) return;
    std::vector<etcd::Event> events;
    bool progress = false;
    auto taken = lines_.push(bytes, [&](std::string_view line) {
      if (!bad_) take(line, events, progress);
    });
    if (!taken && !bad_) bad_ = foreign(taken.error().message);
    const std::weak_ptr<bool> alive = alive_;
    if (!events.empty()) tell(WatchBatch::Kind::events, std::move(events));
    if (!alive.expired() && progress) tell(WatchBatch::Kind::progress, {});
    if (alive.expired() || !bad_) return;
    transfer_.reset();
    end(*bad_);
  }

  [[nodiscard]] etcd::Failure foreign(const std::string& message) const {
    return {.reason = etcd::Reason::internal,
            .message = store_->path(folder_.resource) + ": " + message,
            .store = "Kubernetes",
            .hint = {}};
  }

  void take(std::string_view line, std::vector<etcd::Event>& events, bool& progress) {
    const auto event = kubernetes::split_event(line);
    if (!event) {
      bad_ = foreign(event.error().message);
      return;
    }
    if (event->type == kubernetes::EventType::error) {
      bad_ = to_etcd(decoder_.status(event->object, "watch of " + store_->path(folder_.resource)));
      return;
    }
    if (event->type == kubernetes::EventType::bookmark) {
      const auto version = decoder_.bookmark(event->object);
      const auto revision = version ? std::strtoll(version->c_str(), nullptr, 10) : 0;
      if (revision > revision_) revision_ = revision;
      progress = true;
      return;
    }
    auto stored = store_->codec().decode(folder_.resource, event->object);
    if (!stored) return store_->trouble(stored.error());
    auto& kv = stored->kv;
    // Of a key of another kind only the revision counts.
    if (kv.mod_revision > revision_) revision_ = kv.mod_revision;
    if (one_ ? kv.key != folder_.prefix : !kv.key.starts_with(folder_.prefix)) return;
    if (event->type == kubernetes::EventType::deleted)
      events.push_back({.type = etcd::Event::Type::erase, .kv = {.key = kv.key, .mod_revision = kv.mod_revision}});
    else
      events.push_back({.type = etcd::Event::Type::put, .kv = std::move(kv)});
  }

  void over(const kubernetes::Outcome<kubernetes::Answer>& outcome) {
    const auto transfer = std::move(transfer_);
    if (!outcome) return end(to_etcd(outcome.error()));
    if (!outcome->good())
      return end(
          to_etcd(decoder_.answer(outcome->status, outcome->body,
                                  fmt::format("watch of {} of {}", store_->path(folder_.resource), outcome->server))));
    if (store_->scheduler().now() - opened_at_ >= short_watch) return open();
    again_ = store_->scheduler().after(short_watch, [this] { open(); });
  }

  void end(etcd::Failure why) {
    // Where it is asked anew it may be another.
    store_->doubt();
    opened_ = false;
    const auto handler = std::exchange(handlers_.ended, nullptr);
    if (handler) handler(std::move(why));
  }

  void end_later(etcd::Failure why) {
    store_->scheduler().post([this, alive = std::weak_ptr(alive_), why = std::move(why)] {
      if (!alive.expired()) end(why);
    });
  }

  KubernetesStore* store_;
  etcd::WatchHandlers handlers_;
  Places::Folder folder_;
  bool one_ = false;         // of a single key
  etcd::Revision revision_;  // up to which everything was told
  std::uint64_t cluster_id_ = 0;
  bool opened_ = false;
  bool fresh_ = false;
  etcd::Scheduler::Time opened_at_{};
  kubernetes::LineSplitter lines_;
  kubernetes::Decoder decoder_;
  std::optional<etcd::Failure> bad_;
  etcd::Timer again_;
  std::unique_ptr<kubernetes::Transfer> transfer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

std::unique_ptr<etcd::WatchStream> make_watch(KubernetesStore& store, etcd::WatchRequest request,
                                              etcd::WatchHandlers handlers) {
  return std::make_unique<CrdWatch>(store, std::move(request), std::move(handlers));
}

}  // namespace weft::crd
