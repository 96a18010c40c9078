#include "operator/balancers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <utility>

#include "operator/conditions.h"

namespace weft::op {
namespace {

using kubernetes::as;
using kubernetes::Entry;
using nlohmann::json;

// What several events bring at once is decided together.
constexpr auto together = std::chrono::milliseconds(20);
// Counts of pools are news for people.
constexpr auto pool_pace = std::chrono::seconds(1);

const BalancedView& view_of(const Entry& entry) { return as<BalancedView>(entry.value); }

std::string status_path(const model::ObjectKey& service) {
  return fmt::format("/api/v1/namespaces/{}/services/{}/status", service.namespace_, service.name);
}

kubernetes::ReflectorOptions follow(std::string path, const Balancers::Parts& parts) {
  kubernetes::ReflectorOptions options;
  options.path = std::move(path);
  options.backoff = parts.backoff;
  options.consistent = true;
  return options;
}

std::string texts(const std::vector<IpAddress>& addresses) {
  std::vector<std::string> all;
  for (const auto& address : addresses) all.push_back(address.to_string());
  return fmt::format("{}", fmt::join(all, ", "));
}

bool overlaps(const model::LoadBalancerPool& pool, const Cidr& cidr) {
  return std::ranges::any_of(pool.ranges, [&](const model::AddressRange& range) {
    return cidr.family() == range.first.family() &&
           (cidr.contains(range.first) || (range.first <= cidr.address() && cidr.address() <= range.last));
  });
}

std::string pool_of(const std::vector<IpAddress>& addresses, const std::vector<const model::LoadBalancerPool*>& pools) {
  std::set<std::string> names;
  for (const auto* pool : pools)
    for (const auto& address : addresses)
      if (contains(*pool, address)) names.insert(pool->meta.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

Balancers::Balancers(Parts parts, Handlers handlers)
    : parts_(std::move(parts)),
      handlers_(std::move(handlers)),
      writer_({.http = parts_.http, .scheduler = parts_.scheduler, .random = parts_.random, .backoff = parts_.backoff},
              {.again = [this] { soon(); }, .trouble = handlers_.trouble}),
      services_(parts_.http, parts_.scheduler, parts_.random,
                [this] {
                  auto options = follow("/api/v1/services", parts_);
                  options.decode = [this](const kubernetes::Object& object) -> Result<kubernetes::Decoded> {
                    return read_balanced(parts_.server, object.json);
                  };
                  return options;
                }(),
                {.changed = [this](const kubernetes::Change&) { soon(); }, .state = [this] { soon(); }}),
      pools_(parts_.http, parts_.scheduler, parts_.random,
             [this] {
               auto options = follow("/apis/weft.io/v1alpha1/loadbalancerpools", parts_);
               options.decode = [this](const kubernetes::Object& object) -> Result<kubernetes::Decoded> {
                 const auto before = pools_.view().find(object.meta.key());
                 return read_pool(parts_.server, object.json,
                                  before == pools_.view().end() ? nullptr : &as<PoolView>(before->second.value));
               };
               return options;
             }(),
             {.changed =
                  [this](const kubernetes::Change&) {
                    if (handlers_.pools) handlers_.pools();
                    soon();
                  },
              .state = [this] { soon(); }}) {}

void Balancers::keep_out(std::vector<IpAddress> addresses) {
  if (addresses == kept_out_) return;
  kept_out_ = std::move(addresses);
  soon();
}

void Balancers::set_pod_cidrs(std::vector<Cidr> cidrs) {
  if (cidrs == pod_cidrs_) return;
  pod_cidrs_ = std::move(cidrs);
  soon();
}

void Balancers::duty_changed() {
  if (!handlers_.acts()) {
    writer_.stop();
    assumed_.clear();
    waiting_ = 0;
    plan_.cancel();
    return;
  }
  soon();
}

void Balancers::check() {
  if (handlers_.acts() && std::exchange(owed_, false)) plan();
}

std::string Balancers::silence() const {
  for (const auto* one : {&services_, &pools_}) {
    // Pools may be installed later.
    if (one->live() || (one == &pools_ && one->problem() && one->problem()->reason == kubernetes::Reason::not_found))
      continue;
    return one->problem() ? one->problem()->message : "no answer yet";
  }
  return {};
}

void Balancers::soon() {
  if (!handlers_.acts() || plan_) return;
  plan_ = parts_.scheduler.after(together, [this] {
    plan_.cancel();
    plan();
  });
}

Balancers::Pools Balancers::look_at_pools() const {
  Pools pools;
  for (const auto& [name, entry] : pools_.view()) {
    const auto& view = as<PoolView>(entry.value);
    if (!view.problem.empty()) pools.all_understood = false;
    if (!view.problem.empty()) pools.refused.emplace(name, "it is not understood: " + view.problem);
    if (!view.pool) continue;
    const auto clash = std::ranges::find_if(pod_cidrs_, [&](const Cidr& cidr) { return overlaps(*view.pool, cidr); });
    if (clash == pod_cidrs_.end())
      pools.accepted.push_back(&*view.pool);
    else
      pools.refused.emplace(name, fmt::format("it has addresses of {}, which are pods'", clash->to_string()));
  }
  return pools;
}

std::string Balancers::pool_with(const Cidr& cidr) const {
  for (const auto* pool : look_at_pools().accepted)
    if (overlaps(*pool, cidr)) return pool->meta.name;
  return {};
}

bool Balancers::is_ours(const BalancedView& view, const Pools& pools) const {
  if (!view.balancer || !view.service || view.other_class) return false;
  if (view.own_class || view.mark() == BalancedView::Mark::given) return true;
  if (view.strange_ingress) return false;
  return std::ranges::all_of(view.ingress, [&](const IpAddress& address) {
    return std::ranges::any_of(pools.accepted, [&](const auto* pool) { return contains(*pool, address); });
  });
}

std::vector<IpAddress> Balancers::held_by(std::string_view key, const Entry& entry) const {
  const auto assumed = assumed_.find(key);
  return assumed != assumed_.end() && assumed->second.version == entry.resource_version ? assumed->second.addresses
                                                                                        : view_of(entry).ingress;
}

void Balancers::plan() {
  if (!handlers_.acts() || !live()) return;
  std::erase_if(assumed_, [this](const auto& one) {
    const auto entry = services_.view().find(one.first);
    return entry == services_.view().end() || entry->second.resource_version != one.second.version ||
           !writer_.pending(status_path(view_of(entry->second).key), one.second.version);
  });
  const auto pools = look_at_pools();
  control::BalancerInput input{.services = {}, .pools = pools.accepted, .kept_out = kept_out_};
  for (const auto& [key, entry] : services_.view()) {
    if (!entry.value) continue;
    const auto& view = view_of(entry);
    const bool ours = is_ours(view, pools);
    if (!ours && (!view.balancer || view.service)) clean(key, entry);
    if (!view.balancer) continue;
    input.services.push_back({.key = view.key,
                              .service = ours ? &*view.service : nullptr,
                              .created = view.created,
                              .held = held_by(key, entry)});
  }
  const auto decisions = control::plan_balancers(input);
  waiting_ = 0;
  for (const auto& [key, decision] : decisions) {
    if (decision.addresses.empty()) ++waiting_;
    const auto name = key.to_string();
    write(name, services_.view().find(name)->second, decision, pools);
  }
  tell_pools(pools);
}

void Balancers::write(std::string_view key, const Entry& entry, const control::BalancerDecision& decision,
                      const Pools& pools) {
  const auto& view = view_of(entry);
  const auto& [addresses, reason] = decision;
  const bool given = !addresses.empty();
  const auto lost = [&](const IpAddress& address) { return std::ranges::find(addresses, address) == addresses.end(); };
  // Who cannot read a pool does not know whose address it is.
  if (!pools.all_understood && std::ranges::any_of(view.ingress, lost)) return;
  // Where there are no pools, what has no class is not our business.
  if (!given && view.ingress.empty() && !view.own_class && view.mark() == BalancedView::Mark::none &&
      pools_.view().empty())
    return;
  const Condition condition{
      .type = address_condition,
      .status = given,
      .reason = given ? "AddressGiven" : "NoAddress",
      .message = given ? fmt::format("from LoadBalancerPool {}", pool_of(addresses, pools.accepted)) : reason,
      .generation = view.generation};
  json status = json::object();
  if (auto conditions = with_condition(view.conditions, condition, parts_.wall_clock()))
    status["conditions"] = std::move(*conditions);
  if (view.ingress != addresses || view.strange_ingress) {
    auto ingress = json::array();
    for (const auto& address : addresses) ingress.push_back({{"ip", address.to_string()}, {"ipMode", "VIP"}});
    status["loadBalancer"] = {{"ingress", given ? std::move(ingress) : json()}};
  }
  if (status.empty()) return;
  const bool moves = status.contains("loadBalancer");
  const auto written = [this, key = std::string(key), uid = view.uid, condition, moves, addresses] {
    const auto now = services_.view().find(key);
    if (moves && condition.status) ++served_;
    spdlog::info("Service {}: {}", key, condition.status ? "has " + texts(addresses) : condition.message);
    if (now == services_.view().end() || !now->second.value || view_of(now->second).uid != uid) return;
    if (moves || !condition.status)
      tell_of(view_of(now->second), condition.status, condition.reason,
              condition.status ? texts(addresses) + " " + condition.message : condition.message);
  };
  if (writer_.write(status_path(view.key), entry.resource_version, {{"status", std::move(status)}}, written))
    assumed_.insert_or_assign(std::string(key), Assumed{entry.resource_version, addresses});
}

// One that was a LoadBalancer, or that another program serves by now: of it only our word goes.
void Balancers::clean(std::string_view key, const Entry& entry) {
  const auto& view = view_of(entry);
  const auto conditions = without_condition(view.conditions, address_condition);
  if (!conditions) return;
  json status{{"conditions", conditions->empty() ? json() : *conditions}};
  const bool none = view.ingress.empty() && !view.strange_ingress;
  if (!view.balancer && !none) status["loadBalancer"] = {{"ingress", json()}};
  if (writer_.write(status_path(view.key), entry.resource_version, {{"status", std::move(status)}}))
    assumed_.insert_or_assign(std::string(key),
                              Assumed{entry.resource_version, view.balancer ? view.ingress : std::vector<IpAddress>()});
}

void Balancers::tell_of(const BalancedView& view, bool given, const std::string& reason, const std::string& note) {
  if (handlers_.event)
    handlers_.event({.api_version = "v1",
                     .kind = "Service",
                     .key = view.key,
                     .uid = view.uid,
                     .warning = !given,
                     .reason = reason,
                     .note = note});
}

void Balancers::tell_pools(const Pools& pools) {
  std::set<IpAddress> held;
  for (const auto& [key, entry] : services_.view())
    if (entry.value && view_of(entry).balancer)
      for (const auto& address : held_by(key, entry)) held.insert(address);
  const auto now = parts_.scheduler.now();
  for (const auto& [name, entry] : pools_.view()) {
    const auto& view = as<PoolView>(entry.value);
    const auto refused = pools.refused.find(name);
    const bool good = refused == pools.refused.end();
    const Condition condition{.type = accepted_condition,
                              .status = good,
                              .reason = good                   ? "Accepted"
                                        : view.problem.empty() ? "Overlaps"
                                                               : "Invalid",
                              .message = good ? "" : refused->second,
                              .generation = view.generation};
    json status = json::object();
    if (auto conditions = with_condition(view.status.value("conditions", json()), condition, parts_.wall_clock()))
      status["conditions"] = std::move(*conditions);
    if (view.pool) {
      const auto given = std::ranges::count_if(held, [&](const auto& one) { return contains(*view.pool, one); });
      const json counts{{"total", size_of(*view.pool)}, {"given", given}};
      if (view.status.value("addresses", json()) != counts) status["addresses"] = counts;
    }
    auto& next = told_pools_[name];
    if (status.empty()) continue;
    owed_ = owed_ || now < next;
    if (now < next) continue;
    const auto path = fmt::format("/apis/weft.io/v1alpha1/loadbalancerpools/{}/status", name);
    if (writer_.write(path, entry.resource_version, {{"status", std::move(status)}})) next = now + pool_pace;
  }
}

}  // namespace weft::op
