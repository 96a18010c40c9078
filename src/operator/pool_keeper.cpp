#include "operator/pool_keeper.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "operator/balancer_view.h"
#include "operator/conditions.h"

namespace weft::op {
namespace {

using kubernetes::as;
using kubernetes::Entry;
using nlohmann::json;

constexpr auto resource = "/apis/weft.io/v1alpha1/podaddresspools";
// What several events bring at once is decided together.
constexpr auto together = std::chrono::milliseconds(20);
// Nobody else writes the key where objects are Kubernetes', but claims bring pod_cidrs, and an etcd may be wiped.
constexpr auto read_pace = std::chrono::seconds(10);
constexpr std::string_view configured = "default";

const PodPoolView& view_of(const Entry& entry) { return as<PodPoolView>(entry.value); }

std::string path_of(const std::string& name) { return fmt::format("{}/{}", resource, name); }

}  // namespace

PoolKeeper::PoolKeeper(Parts parts, Handlers handlers)
    : parts_(std::move(parts)),
      handlers_(std::move(handlers)),
      writer_({.http = parts_.http, .scheduler = parts_.scheduler, .random = parts_.random, .backoff = parts_.backoff},
              {.again = [this] { soon(); }, .trouble = handlers_.trouble}),
      store_(parts_.store ? std::make_unique<cluster::PoolWriter>(*parts_.store) : nullptr),
      pools_(parts_.http, parts_.scheduler, parts_.random,
             {.path = resource,
              .field_selector = {},
              .label_selector = {},
              .decode = [this](const kubernetes::Object& object) -> Result<kubernetes::Decoded> {
                return read_pod_pool(parts_.server, object.json);
              },
              .consistent = true,
              .backoff = parts_.backoff},
             {.changed = [this](const kubernetes::Change&) { soon(); }, .state = [this] { soon(); }}) {
  if (parts_.store)
    key_ = std::make_unique<etcd::Mirror>(parts_.store->client, parts_.scheduler, parts_.random,
                                          parts_.store->mirror(parts_.store->keys.build(cluster::PoolsKey{})),
                                          etcd::MirrorHandlers{.changed =
                                                                   [this](const etcd::Change&) {
                                                                     stale_ = true;
                                                                     soon();
                                                                   },
                                                               .state = {}});
}

void PoolKeeper::duty_changed() {
  // What was under way is not waited for: it compares what it was based on.
  writer_.stop();
  if (parts_.store) store_ = std::make_unique<cluster::PoolWriter>(*parts_.store);
  busy_ = false;
  known_.reset();
  outcomes_.clear();
  blocks_.clear();
  look_.cancel();
  soon();
}

void PoolKeeper::check() {
  if (!handlers_.acts() || !live()) return;
  if (store_ && !busy_ && parts_.scheduler.now() - read_at_ > read_pace) known_.reset();
  look();
}

void PoolKeeper::soon() {
  if (!handlers_.acts() || look_) return;
  look_ = parts_.scheduler.after(together, [this] {
    look_.cancel();
    look();
  });
}

const cluster::Pool* PoolKeeper::agreed(const std::string& name) const {
  if (!known_) return nullptr;
  const auto found = std::ranges::find(*known_, name, &cluster::Pool::name);
  return found == known_->end() ? nullptr : &*found;
}

void PoolKeeper::read_known() {
  busy_ = true;
  stale_ = false;
  store_->read([this](const Result<std::vector<cluster::Pool>>& pools) {
    busy_ = false;
    read_at_ = parts_.scheduler.now();
    if (!pools) return handlers_.store_trouble(pools.error());
    took(*pools);
    count_blocks();
    soon();
  });
}

void PoolKeeper::took(std::vector<cluster::Pool> pools) {
  known_ = std::move(pools);
  if (const auto* pool = agreed(std::string(configured))) configured_ = *pool;
  std::vector<Cidr> cidrs;
  for (const auto& pool : *known_)
    for (const auto& range : pool.ranges) cidrs.push_back(range.cidr);
  handlers_.cidrs(std::move(cidrs));
}

void PoolKeeper::count_blocks() {
  const auto& store = *parts_.store;
  for (const auto& pool : *known_)
    store.client.range(
        {.keys = etcd::Keys::prefix(store.keys.blocks_of(pool.name)), .limit = 1, .keys_only = true}, {},
        [alive = std::weak_ptr(alive_), this, name = pool.name](const etcd::Outcome<etcd::RangeResult>& outcome) {
          if (alive.expired() || !outcome) return;
          auto& count = blocks_[name];
          if (std::exchange(count, outcome->count) != outcome->count) soon();
        });
}

// The oldest goes first: of two that overlap it is the one that is there.
void PoolKeeper::look() {
  if (!handlers_.acts() || !live() || busy_) return;
  if (store_ && (!known_ || stale_)) return read_known();
  std::vector<std::pair<const std::string*, const Entry*>> entries;
  for (const auto& [name, entry] : pools_.view()) entries.emplace_back(&name, &entry);
  std::ranges::sort(entries, [](const auto& a, const auto& b) {
    return std::tie(view_of(*a.second).created, *a.first) < std::tie(view_of(*b.second).created, *b.first);
  });
  if (!store_) {
    std::vector<Cidr> cidrs;
    for (const auto& [name, entry] : entries)
      if (const auto& pool = view_of(*entry).pool)
        for (const auto& range : pool->ranges) cidrs.push_back(range.cidr);
    handlers_.cidrs(std::move(cidrs));
  }
  if (restore_configured() || drop_stale()) return;
  for (const auto& [name, entry] : entries)
    if (step(*name, *entry)) return;
}

// Somebody has deleted the key. Nodes write theirs again with their next claim, which may be long; one that has no
// blocks may have gone for good.
bool PoolKeeper::restore_configured() {
  if (!store_ || !configured_ || agreed(configured_->name) != nullptr || blocks_[configured_->name] == 0) return false;
  const auto& outcome = outcomes_[configured_->name];
  if (outcome.again > parts_.scheduler.now()) return false;
  spdlog::warn("somebody has taken the pool {} away, of which nodes have blocks: it is written again",
               configured_->name);
  return change_store(configured_->name, "", *configured_);
}

// Its object was erased past the finalizer.
bool PoolKeeper::drop_stale() {
  if (!store_) return false;
  for (const auto& pool : *known_) {
    if (pool.name == configured || pools_.view().contains(pool.name)) continue;
    const auto& outcome = outcomes_[pool.name];
    if (outcome.again > parts_.scheduler.now()) continue;
    return change_store(pool.name, "", {.name = pool.name, .ranges = {}});
  }
  return false;
}

bool PoolKeeper::step(const std::string& name, const Entry& entry) {
  const auto& view = view_of(entry);
  const auto& version = entry.resource_version;
  if (view.deleting && !view.has_finalizer()) return false;
  if (!view.deleting && store_ && !view.has_finalizer()) {
    set_finalizer(view, version, true);
    return false;
  }
  if (view.deleting && (!store_ || agreed(name) == nullptr)) {
    set_finalizer(view, version, false);
    return false;
  }
  Outcome outcome;
  if (!view.deleting) {
    if (!view.pool) outcome.reason = "Invalid", outcome.message = "it is not understood: " + view.problem;
    if (view.pool) outcome.message = handlers_.clash(*view.pool);
    if (view.pool && !outcome.message.empty()) outcome.reason = "Overlaps";
    if (!outcome.reason.empty() || !store_) {
      tell(view, version, outcome);
      return false;
    }
  }
  const auto wanted = view.deleting ? cluster::Pool{.name = name, .ranges = {}} : *view.pool;
  if (const auto* there = agreed(name); there != nullptr && *there == wanted) {
    outcomes_.erase(name);
    tell(view, version, outcome);
    return false;
  }
  // What is written into its status makes it no other.
  const auto version_of_wish = view.uid + cidrs_json(wanted).dump();
  const auto before = outcomes_.find(name);
  if (before != outcomes_.end() && before->second.wish == version_of_wish &&
      before->second.again > parts_.scheduler.now()) {
    // Without a reason nobody knows yet.
    if (!before->second.reason.empty()) tell(view, version, before->second);
    return false;
  }
  return change_store(name, version_of_wish, wanted);
}

bool PoolKeeper::change_store(const std::string& name, const std::string& wish, cluster::Pool pool) {
  busy_ = true;
  const bool goes = pool.ranges.empty();
  store_->change(std::move(pool), [this, name, wish, goes](const Result<std::vector<cluster::Pool>>& pools) {
    busy_ = false;
    auto& outcome = outcomes_[name];
    outcome = {.wish = wish};
    outcome.again = parts_.scheduler.now() + parts_.retry;
    if (pools) {
      spdlog::info("PodAddressPool {}: {}", name,
                   goes ? "is no pool of the cluster any more" : "is a pool of the cluster");
      took(*pools);
    } else if (pools.error().code == ErrorCode::exists || pools.error().code == ErrorCode::invalid) {
      outcome.reason = pools.error().code == ErrorCode::exists ? "InUse" : "Overlaps";
      outcome.message = pools.error().text();
      // What others have done meanwhile may have led to it.
      known_.reset();
    } else {
      handlers_.store_trouble(pools.error());
    }
    soon();
  });
  return true;
}

void PoolKeeper::set_finalizer(const PodPoolView& view, const std::string& version, bool on) {
  auto list = json::array();
  for (const auto& one : view.finalizers)
    if (one != pool_finalizer) list.push_back(one);
  if (on) list.push_back(pool_finalizer);
  writer_.write(path_of(view.name), version, {{"metadata", {{"finalizers", std::move(list)}}}});
}

void PoolKeeper::tell(const PodPoolView& view, const std::string& version, const Outcome& outcome) {
  const bool good = outcome.reason.empty();
  const auto* there = store_ ? agreed(view.name) : view.pool && good ? &*view.pool : nullptr;
  const Condition condition{.type = accepted_condition,
                            .status = good,
                            .reason = good ? "Accepted" : outcome.reason,
                            .message = good               ? ""
                                       : there != nullptr ? fmt::format("{}; the cluster goes on with {}",
                                                                        outcome.message, there->to_string())
                                                          : outcome.message,
                            .generation = view.generation};
  json status = json::object();
  if (auto conditions = with_condition(view.status.value("conditions", json()), condition, parts_.wall_clock()))
    status["conditions"] = std::move(*conditions);
  const bool changes = !status.empty();
  const auto put = [&](const char* key, const json& value) {
    if (view.status.value(key, json()) != value) status[key] = value;
  };
  put("cidrs", there == nullptr ? json() : cidrs_json(*there));
  if (there != nullptr) {
    json counts{{"total", size_of(*there)}};
    put("addresses", counts);
    if (const auto taken = blocks_.find(view.name); store_ && taken != blocks_.end())
      put("blocks", {{"total", there->blocks(Family::v4) + there->blocks(Family::v6)}, {"taken", taken->second}});
  }
  if (status.empty()) return;
  const auto written = [this, name = view.name, uid = view.uid, good, changes, condition] {
    if (!changes || good || !handlers_.event) return;
    handlers_.event({.api_version = "weft.io/v1alpha1",
                     .kind = "PodAddressPool",
                     .key = {"", name},
                     .uid = uid,
                     .warning = true,
                     .reason = condition.reason,
                     .note = condition.message});
  };
  writer_.write(path_of(view.name) + "/status", version, {{"status", std::move(status)}}, written);
}

}  // namespace weft::op
