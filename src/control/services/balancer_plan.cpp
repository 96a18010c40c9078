#include "control/services/balancer_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "control/services/address_pools.h"

namespace weft::control {
namespace {

using services::AddressWish;
using services::Key;

struct Planned {
  const BalancedService* given = nullptr;
  Key key;
  AddressWish wish;
  std::vector<IpAddress> kept;
  BalancerDecision decision;
};

bool contains(const std::vector<IpAddress>& addresses, const IpAddress& address) {
  return std::ranges::find(addresses, address) != addresses.end();
}

class Plan {
 public:
  explicit Plan(const BalancerInput& input) {
    for (const auto* pool : input.pools) pools_.upsert(*pool);
    pools_.keep_out({input.kept_out.begin(), input.kept_out.end()});
    for (const auto& service : input.services) add(service);
    std::ranges::sort(planned_, [](const Planned& a, const Planned& b) {
      return std::tie(a.given->created, a.given->key) < std::tie(b.given->created, b.given->key);
    });
    pools_.speak_for(asked_);
  }

  std::map<model::ObjectKey, BalancerDecision> make() {
    for (auto& one : planned_) keep(one);
    for (auto& one : planned_)
      if (!one.wish.requested.empty()) choose(one);
    for (auto& one : planned_)
      if (one.wish.requested.empty()) choose(one);
    for (auto& one : planned_) leave_what_others_have(one);
    std::map<model::ObjectKey, BalancerDecision> decisions;
    for (auto& one : planned_) decisions.emplace(one.given->key, std::move(one.decision));
    return decisions;
  }

 private:
  void add(const BalancedService& given) {
    Key key{names_.intern(given.key.namespace_), names_.intern(given.key.name)};
    if (given.service == nullptr) {
      // It has no wish: nobody shares with it.
      pools_.claim(key, given.held);
      return;
    }
    auto wish = services::address_wish(*given.service, given.service->cluster_ips, !given.service->cluster_ips.empty());
    asked_.insert(wish.requested.begin(), wish.requested.end());
    pools_.know(key, wish);
    planned_.push_back({.given = &given, .key = std::move(key), .wish = std::move(wish), .kept = {}, .decision = {}});
  }

  // All keep what they may before anybody gets anything, the oldest first.
  void keep(Planned& one) {
    for (const auto& address : one.given->held)
      if ((one.wish.requested.empty() || contains(one.wish.requested, address)) &&
          pools_.may_have(one.key, one.wish, address))
        one.kept.push_back(address);
    pools_.claim(one.key, one.kept);
  }

  void choose(Planned& one) {
    auto chosen = pools_.choose(one.key, one.wish, one.kept, one.decision.reason);
    if (chosen)
      one.decision.addresses = std::move(*chosen);
    else
      one.decision.reason = chosen.error().message;
    pools_.release(one.key, one.kept);
    pools_.claim(one.key, one.decision.addresses);
    for (const auto& address : one.given->held)
      if (!contains(one.decision.addresses, address)) lost_[address].insert(one.given->key);
  }

  void leave_what_others_have(Planned& one) {
    auto& [addresses, reason] = one.decision;
    for (auto address = addresses.begin(); address != addresses.end();) {
      const auto losers = lost_.find(*address);
      if (contains(one.given->held, *address) || losers == lost_.end()) {
        ++address;
        continue;
      }
      reason =
          fmt::format("service {} has {} to give up first", losers->second.begin()->to_string(), address->to_string());
      address = addresses.erase(address);
    }
    if (!addresses.empty()) reason.clear();
  }

  services::NamePool names_;
  services::AddressPools pools_;
  std::unordered_set<IpAddress> asked_;
  std::vector<Planned> planned_;
  std::map<IpAddress, std::set<model::ObjectKey>> lost_;  // who has it still, and shall not
};

}  // namespace

std::map<model::ObjectKey, BalancerDecision> plan_balancers(const BalancerInput& input) { return Plan(input).make(); }

}  // namespace weft::control
