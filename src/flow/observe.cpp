#include "flow/observe.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "api/answer.h"
#include "api/params.h"
#include "api/request.h"
#include "flow/filter.h"
#include "flow/render.h"

namespace weft::flow {
namespace {

// Events handed to the connection ahead of what it has written.
constexpr std::size_t ahead = 256;
constexpr std::uint64_t default_last = 20;

struct Request {
  bool follow = false;
  std::optional<std::uint64_t> last;
  std::optional<Nanoseconds> since;
  std::optional<Nanoseconds> until;
  FlowFilter filter;

  [[nodiscard]] bool wants(const Flow& flow) const {
    return (!since || flow.time >= *since) && (!until || flow.time <= *until) && filter.matches(flow);
  }
};

Result<std::optional<Nanoseconds>> time_param(const nlohmann::json& params, const char* name) {
  WEFT_TRY(const auto text, api::optional_text(params, name));
  if (text.empty()) return std::nullopt;
  auto time = parse_time(text, wall_now());
  if (!time) return fail(time.error().in(std::string("params.") + name));
  return *time;
}

Result<Request> parse_request(const nlohmann::json& params) {
  static const std::vector<std::string> known{"follow", "last", "since", "until", "filters"};
  for (const auto& [name, value] : params.items())
    if (std::ranges::find(known, name) == known.end())
      return fail(ErrorCode::invalid, "params." + name.substr(0, 100) + ": is not known",
                  "observe takes follow, last, since, until and filters");
  Request request;
  WEFT_TRY(request.follow, api::optional_bool(params, "follow", false));
  WEFT_TRY(const auto last, api::optional_number(params, "last", std::numeric_limits<std::uint64_t>::max()));
  if (last != std::numeric_limits<std::uint64_t>::max()) request.last = last;
  WEFT_TRY(request.since, time_param(params, "since"));
  WEFT_TRY(request.until, time_param(params, "until"));
  if (auto filters = params.find("filters"); filters != params.end()) {
    WEFT_TRY(request.filter, FlowFilter::parse(*filters));
  }
  if (!request.last && !request.since && !request.until) request.last = request.follow ? 0 : default_last;
  return request;
}

// The reader's place in the ring.
class Observation {
 public:
  Observation(FlowStore& store, std::string node, Request request, api::Stream stream)
      : store_(store), node_(std::move(node)), request_(std::move(request)), stream_(std::move(stream)) {}

  static void begin(const std::shared_ptr<Observation>& self) {
    self->stream_.on_drain([self] { self->pump(); });
    // The stream holds the observation through on_drain; the store must not, so that it ends with the stream.
    if (self->request_.follow)
      self->subscription_ = self->store_.subscribe([weak = std::weak_ptr(self)] {
        if (auto observation = weak.lock()) observation->pump();
      });
    self->pump();
  }

 private:
  // The oldest flow to show: with `last`, that many wanted ones from the end.
  [[nodiscard]] std::uint64_t start() const {
    if (!request_.last) return store_.first();
    std::uint64_t wanted = *request_.last;
    std::uint64_t sequence = store_.next();
    while (wanted > 0 && sequence > store_.first()) {
      --sequence;
      const auto* flow = store_.find(sequence);
      if (flow != nullptr && request_.wants(*flow) && --wanted == 0) break;
    }
    return sequence;
  }

  [[nodiscard]] std::uint64_t lost_before_start() const {
    const auto* first = store_.find(next_);
    return first != nullptr ? first->lost_before : store_.lost_since_last();
  }

  void pump() {
    if (stream_.closed()) return;
    if (next_ < store_.first()) {
      lose(store_.first() - next_);
      next_ = store_.first();
    }
    // A history ends where it stood when it was asked for, or it might never.
    const auto end = request_.follow ? store_.next() : end_;
    while (next_ < end && stream_.queued() < ahead) {
      const auto* flow = store_.find(next_++);
      if (flow == nullptr) continue;
      if (flow->lost_before > lost_seen_ && (!request_.since || flow->time >= *request_.since))
        lose(flow->lost_before - lost_seen_);
      lost_seen_ = 0;
      if (request_.wants(*flow)) stream_.send(to_json(*flow, node_));
      if (request_.follow && request_.until && flow->time > *request_.until) {
        finish();
        return;
      }
    }
    if (next_ < end) return;
    if (!request_.follow) {
      finish();
      return;
    }
    if (const auto lost = store_.lost_since_last(); lost > lost_seen_) {
      lose(lost - lost_seen_);
      lost_seen_ = lost;
    }
  }

  void lose(std::uint64_t count) { stream_.send({{"lost", count}}); }

  void finish() {
    subscription_.cancel();
    stream_.finish();
  }

  FlowStore& store_;
  std::string node_;
  Request request_;
  api::Stream stream_;
  Subscription subscription_;
  std::uint64_t next_ = start();
  std::uint64_t end_ = store_.next();
  std::uint64_t lost_seen_ =
      lost_before_start();  // of the loss before flow next_, already shown (or older than the request)
};

}  // namespace

void serve_observe(FlowStore& store, const std::string& node, const nlohmann::json& params, api::Stream stream) {
  auto request = parse_request(params);
  if (!request) {
    stream.fail(std::move(request.error()));
    return;
  }
  Observation::begin(std::make_shared<Observation>(store, node, std::move(*request), std::move(stream)));
}

}  // namespace weft::flow
