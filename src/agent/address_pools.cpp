#include "agent/address_pools.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace weft::agent {
namespace {

bool overlap(const Cidr& a, const Cidr& b) { return a.contains(b) || b.contains(a); }

// What the configuration has the CIDR for; empty: for nothing.
std::string taken_in(const Config& config, const Cidr& cidr) {
  for (const auto& [key, ranges] : {std::pair{"pod_cidrs", &config.pod_cidrs},
                                    {"service_cidrs", &config.service_cidrs},
                                    {"load_balancer_peers", &config.load_balancer_peers}})
    for (const auto& range : *ranges)
      if (overlap(range, cidr)) return fmt::format("overlaps {} of {}", range.to_string(), key);
  return {};
}

std::string overlap_with(const cluster::Pool& other, const Cidr& cidr) {
  for (const auto& range : other.ranges)
    if (overlap(range.cidr, cidr)) return fmt::format("overlaps {} of pool \"{}\"", range.cidr.to_string(), other.name);
  return {};
}

// Why this node does not have the pool; empty: it has.
std::string conflict(const cluster::Pool& pool, const std::vector<cluster::Pool>& before, const Config& config) {
  for (const auto& range : pool.ranges) {
    auto why = taken_in(config, range.cidr);
    for (const auto& other : before)
      if (why.empty()) why = overlap_with(other, range.cidr);
    if (!why.empty()) return fmt::format("{} {}", range.cidr.to_string(), why);
  }
  return {};
}

// For messages: "default (10.244.0.0/16), blue (10.1.0.0/24)".
std::string list_of(const std::vector<cluster::Pool>& pools) {
  std::vector<std::string> texts;
  for (const auto& pool : pools) {
    std::vector<std::string> cidrs;
    for (const auto& range : pool.ranges) cidrs.push_back(range.cidr.to_string());
    texts.push_back(fmt::format("{} ({})", pool.name, fmt::join(cidrs, ", ")));
  }
  return texts.empty() ? "none" : fmt::format("{}", fmt::join(texts, ", "));
}

const cluster::Pool* holding(const std::vector<cluster::Pool>& pools, const IpAddress& address) {
  const auto found = std::ranges::find_if(pools, [&](const auto& pool) { return pool.block_of(address).has_value(); });
  return found == pools.end() ? nullptr : &*found;
}

const cluster::Pool* named(const std::vector<cluster::Pool>& pools, const std::string& name) {
  const auto found = std::ranges::find(pools, name, &cluster::Pool::name);
  return found == pools.end() ? nullptr : &*found;
}

bool selects(const model::PodAddressPool& pool, const LabelMap& space, const LabelMap& pod) {
  if (!pool.namespace_selector && !pool.pod_selector) return false;
  return (!pool.namespace_selector || pool.namespace_selector->matches(space)) &&
         (!pool.pod_selector || pool.pod_selector->matches(pod));
}

LabelMap labels_of_namespace(const Objects& objects, const std::string& name) {
  const auto spaces = objects.namespaces();
  const auto found = spaces.find(name);
  return found == spaces.end() ? LabelMap{{"kubernetes.io/metadata.name", name}} : found->second;
}

// A pod does not help itself to a pool that is other namespaces'.
Result<void> may_ask_for(const std::string& pool, const std::string& space, const Objects& objects) {
  const auto found = objects.address_pools().find({"", pool});
  if (found == objects.address_pools().end() || !found->second.namespace_selector ||
      found->second.namespace_selector->matches(labels_of_namespace(objects, space)) ||
      objects.address_pool_of(space) == pool)
    return {};
  return fail(ErrorCode::denied,
              fmt::format("the pod asks for addresses of pool \"{}\", which are for other namespaces than {}: its "
                          "namespaceSelector is {}",
                          pool, space, found->second.namespace_selector->to_string()),
              fmt::format("label the Namespace so, or give it the annotation weft.io/address-pool: {}", pool));
}

// The first by name; the others are the ambiguity.
std::string selected(AddressChoice& choice, const AttachRequest& request, const model::Pod* pod,
                     const std::vector<cluster::Pool>& pools, const Objects& objects) {
  if (objects.address_pools().empty()) return std::string(model::default_address_pool);
  const auto space = labels_of_namespace(objects, request.namespace_);
  std::vector<std::string> names;
  for (const auto& [key, pool] : objects.address_pools())
    if (named(pools, key.name) != nullptr && selects(pool, space, pod == nullptr ? LabelMap() : pod->meta.labels))
      names.push_back(key.name);
  if (names.empty()) return std::string(model::default_address_pool);
  if (names.size() > 1)
    choice.ambiguity =
        fmt::format("the pools {} select it: \"{}\" is used, the first by name", fmt::join(names, ", "), names.front());
  return names.front();
}

Result<void> check_named(const AddressChoice& choice, const std::vector<cluster::Pool>& pools,
                         const std::string& asked_pool) {
  for (const auto& address : choice.request.addresses) {
    const auto* pool = holding(pools, address);
    if (pool == nullptr)
      return fail(ErrorCode::invalid,
                  fmt::format("{} is in no pool of addresses: there are {}", address.to_string(), list_of(pools)),
                  "ask for an address of one of them, or none");
    if (!asked_pool.empty() && pool->name != asked_pool)
      return fail(ErrorCode::invalid,
                  fmt::format("{} is of pool \"{}\", but the annotation weft.io/address-pool asks for \"{}\"",
                              address.to_string(), pool->name, asked_pool));
  }
  return {};
}

}  // namespace

cluster::Pool default_pool(const Config& config) {
  cluster::Pool pool{.name = std::string(model::default_address_pool), .ranges = {}};
  for (const auto& cidr : config.pod_cidrs)
    pool.ranges.push_back({cidr, cidr.is_v4() ? config.pod_block_length_v4 : config.pod_block_length_v6});
  return pool;
}

cluster::Pool shared_pool(const model::PodAddressPool& pool) {
  cluster::Pool shared{.name = pool.meta.name, .ranges = {}};
  for (const auto& range : pool.ranges) shared.ranges.push_back({range.cidr, range.block_length});
  return shared;
}

std::vector<cluster::Pool> address_pools(const Config& config, const Objects& objects,
                                         std::vector<std::string>* problems) {
  std::vector<cluster::Pool> pools;
  if (auto first = default_pool(config); !first.ranges.empty()) pools.push_back(std::move(first));
  for (const auto& [key, object] : objects.address_pools()) {
    auto pool = shared_pool(object);
    const auto why = conflict(pool, pools, config);
    if (why.empty())
      pools.push_back(std::move(pool));
    else if (problems != nullptr)
      problems->push_back(fmt::format("PodAddressPool {} has no effect on this node: {}", key.name, why));
  }
  return pools;
}

std::vector<Cidr> further_cidrs(const Config& config, const Objects& objects) {
  std::vector<Cidr> cidrs;
  for (const auto& pool : address_pools(config, objects))
    if (pool.name != model::default_address_pool)
      for (const auto& range : pool.ranges) cidrs.push_back(range.cidr);
  return cidrs;
}

Result<AddressChoice> choose_addresses(const AttachRequest& request, const std::vector<cluster::Pool>& pools,
                                       const Objects& objects) {
  AddressChoice choice;
  const auto* pod = objects.pod({request.namespace_, request.pod});
  std::string asked = pod == nullptr ? std::string() : pod->addresses.pool;
  std::string whose = "the pod";
  if (const auto of_space = objects.address_pool_of(request.namespace_); asked.empty() && !of_space.empty()) {
    asked = of_space;
    whose = "Namespace " + request.namespace_;
  }
  choice.request.addresses = request.addresses;
  if (request.addresses.empty() && pod != nullptr && !pod->addresses.addresses.empty()) {
    choice.request.addresses = pod->addresses.addresses;
    choice.request.resting = true;
    for (const auto& address : choice.request.addresses)
      if (const auto* pool = holding(pools, address); pool != nullptr)
        WEFT_CHECK(may_ask_for(pool->name, request.namespace_, objects));
  }
  if (!asked.empty() && named(pools, asked) == nullptr)
    return fail(
        ErrorCode::not_found,
        fmt::format("there is no pool of addresses \"{}\", which the annotation weft.io/address-pool of {} asks "
                    "for: there are {}",
                    asked, whose, list_of(pools)),
        "apply a PodAddressPool of that name, or name another one");
  if (!choice.request.addresses.empty()) {
    WEFT_CHECK(check_named(choice, pools, pod == nullptr ? std::string() : pod->addresses.pool));
    return choice;
  }
  if (pod != nullptr && !pod->addresses.pool.empty())
    WEFT_CHECK(may_ask_for(pod->addresses.pool, request.namespace_, objects));
  choice.request.pool = asked.empty() ? selected(choice, request, pod, pools, objects) : asked;
  return choice;
}

Result<void> check_address_pool(const model::PodAddressPool& pool, const PoolRules& rules) {
  for (std::size_t i = 0; i < pool.ranges.size(); ++i) {
    const auto& cidr = pool.ranges[i].cidr;
    const auto refuse = [&](std::string_view why, std::string hint = "give the pool another CIDR") {
      return fail(ErrorCode::invalid, fmt::format("spec.cidrs[{}].cidr: {} {}", i, cidr.to_string(), why),
                  std::move(hint));
    };
    const auto within = [&](const IpAddress& address) { return cidr.contains(address); };
    if (std::ranges::find(rules.config.pod_cidrs, cidr.family(), &Cidr::family) == rules.config.pod_cidrs.end())
      return refuse(fmt::format("is {0}, but pod_cidrs has no {0}: the gateways of all pods are from there",
                                cidr.is_v4() ? "IPv4" : "IPv6"),
                    "give pod_cidrs a CIDR of that family first");
    if (const auto why = taken_in(rules.config, cidr); !why.empty()) return refuse(why);
    for (const auto& other : rules.others)
      if (const auto why = overlap_with(other, cidr); other.name != pool.meta.name && !why.empty()) return refuse(why);
    for (const auto& subnet : rules.node.subnets)
      if (overlap(subnet, cidr)) return refuse(fmt::format("overlaps {}, a network of this node", subnet.to_string()));
    for (const auto* some : {&rules.node.addresses, &rules.node.next_hops, &rules.node.neighbours})
      if (const auto found = std::ranges::find_if(*some, within); found != some->end())
        return refuse(fmt::format("holds {}, which is this node's or a neighbour's", found->to_string()));
    for (const auto& [address, owner] : rules.cluster.plan.addresses)
      if (within(address)) return refuse(fmt::format("holds {}, an address of another node", address.to_string()));
    for (const auto* balancer : rules.balancers)
      for (const auto& range : balancer->ranges)
        if (cidr.family() == range.first.family() &&
            (within(range.first) || (range.first <= cidr.address() && cidr.address() <= range.last)))
          return refuse(fmt::format("overlaps {}-{} of LoadBalancerPool {}", range.first.to_string(),
                                    range.last.to_string(), balancer->meta.name));
  }
  if (rules.before != nullptr && !rules.users.empty() && !cluster::grows(shared_pool(*rules.before), shared_pool(pool)))
    return fail(ErrorCode::exists, fmt::format("spec.cidrs: a pool that is in use only grows: {}", rules.users),
                "leave its CIDRs and block lengths as they are, add others, or make another pool");
  return {};
}

}  // namespace weft::agent
