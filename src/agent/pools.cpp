// The agent's pools of addresses: what of them is this node's, who uses them, and what an attachment has to wait for.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "agent/address_pools.h"
#include "agent/agent.h"
#include "agent/ipam_time.h"
#include "base/utc_text.h"

namespace weft::agent {
namespace {

constexpr std::size_t users_shown = 3;

std::vector<Family> families_of(const cluster::Pool& pool) {
  std::vector<Family> families;
  for (const auto& range : pool.ranges)
    if (std::ranges::find(families, range.cidr.family()) == families.end()) families.push_back(range.cidr.family());
  return families;
}

std::vector<Cidr> cidrs_of(const cluster::Pool& pool) {
  std::vector<Cidr> cidrs;
  for (const auto& range : pool.ranges) cidrs.push_back(range.cidr);
  return cidrs;
}

std::string some_of(const std::vector<std::string>& shown, std::size_t all) {
  auto text = fmt::format("{}", fmt::join(shown, ", "));
  if (all > shown.size()) text += fmt::format(" and {} more", all - shown.size());
  return text;
}

std::string some_of(const std::set<std::string>& users) {
  std::vector<std::string> shown;
  for (const auto& user : users)
    if (shown.size() < users_shown) shown.push_back(user);
  return some_of(shown, users.size());
}

}  // namespace

void Agent::pools_changed() {
  std::vector<std::string> problems;
  pools_ = address_pools(config_, *objects_, &problems);
  std::map<std::string, std::string> faults;
  for (const auto& problem : problems) faults.emplace("address pool " + problem, problem);
  faults_.replace("address pool ", faults);
  if (cluster_) cluster_->set_pools(pools_);
  take_blocks();
}

void Agent::take_blocks() {
  auto usable = cluster_ ? cluster_->usable_blocks() : std::map<std::string, std::vector<Cidr>>();
  std::vector<control::FurtherPool> further;
  for (const auto& pool : pools_) {
    if (pool.name == model::default_address_pool) continue;
    further.push_back({.name = pool.name,
                       .cidrs = config_.clustered() ? std::move(usable[pool.name]) : cidrs_of(pool),
                       .families = families_of(pool)});
  }
  ipam_->set_further(std::move(further));
  if (cluster_) ipam_->set_cidrs(std::move(usable[std::string(model::default_address_pool)]), cluster_->gateways());
}

// Of a node by itself the pods, of a cluster the nodes that have blocks.
std::string Agent::pool_users(const std::string& name) const {
  std::set<std::string> users;
  if (cluster_) {
    std::set<std::pair<std::string, Cidr>> blocks;
    for (const auto& [block, owner] : cluster_->member().blocks().owners())
      if (block.pool == name) blocks.emplace(owner, block.cidr);
    // What is in a block is looked for where it is shown only.
    std::vector<std::string> shown;
    for (const auto& [owner, block] : blocks)
      if (shown.size() < users_shown)
        shown.push_back(fmt::format("node {} has {} ({})", owner, block.to_string(), held_in(block, owner)));
    return some_of(shown, blocks.size());
  }
  const auto pool = std::ranges::find(pools_, name, &cluster::Pool::name);
  if (pool == pools_.end()) return {};
  for (const auto& [address, owner] : ipam_->allocations())
    if (pool->block_of(address)) {
      const auto user = user_of(address);
      users.insert(fmt::format("{} has {}", user.empty() ? owner : user, address.to_string()));
    }
  return some_of(users);
}

// What keeps the block at its node: "pod shop/web-0 has 10.50.0.7", "no pod: 10.50.0.7 rests until 2026-...".
std::string Agent::held_in(const Cidr& block, const std::string& node) const {
  std::set<std::string> pods;
  if (node != config_.node) {
    for (const auto& [pod, told] : cluster_->pods().pods_of(node))
      for (const auto& address : told.addresses)
        if (block.contains(address)) pods.insert(fmt::format("pod {} has {}", pod.to_string(), address.to_string()));
    return pods.empty() ? "no pod that it has told of" : some_of(pods);
  }
  for (const auto& [address, owner] : ipam_->allocations()) {
    if (!block.contains(address)) continue;
    const auto user = user_of(address);
    pods.insert(fmt::format("{} has {}", user.empty() ? owner : user, address.to_string()));
  }
  if (!pods.empty()) return some_of(pods);
  for (const auto& resting : ipam_->quarantined())
    if (block.contains(resting.address))
      pods.insert(fmt::format("{} rests until {}", resting.address.to_string(), utc_text(resting.until)));
  return pods.empty() ? "nothing of it is used, it is about to be given back" : "no pod: " + some_of(pods);
}

// "pod shop/web"; of the whole cluster. Empty: nobody that is known.
std::string Agent::user_of(const IpAddress& address) const {
  for (const auto& [key, record] : attachment_->records())
    if (std::ranges::find(record.addresses, address) != record.addresses.end())
      return fmt::format("pod {}/{}", record.namespace_, record.pod);
  if (const auto pod = remote(address)) return fmt::format("pod {} of node {}", pod->name.to_string(), pod->node);
  return {};
}

std::vector<std::string> Agent::ambiguous_pools() const {
  if (objects_->address_pools().size() < 2) return {};
  std::set<std::string> pods;
  for (const auto& [key, record] : attachment_->records()) {
    AttachRequest request;
    request.namespace_ = record.namespace_;
    request.pod = record.pod;
    const auto choice = choose_addresses(request, pools_, *objects_);
    if (choice && !choice->ambiguity.empty())
      pods.insert(fmt::format("pod {}/{}: {}", record.namespace_, record.pod, choice->ambiguity));
  }
  if (pods.empty()) return {};
  return {some_of(pods)};
}

nlohmann::json Agent::pools_json() const {
  auto cidrs = nlohmann::json::array();
  const bool known = !unheard();
  for (const auto& pool : pools_)
    for (const auto& range : pool.ranges) {
      nlohmann::json item{
          {"pool", pool.name}, {"cidr", range.cidr.to_string()}, {"family", range.cidr.is_v4() ? 4 : 6}};
      if (cluster_) {
        std::size_t taken = 0;
        std::size_t here = 0;
        for (const auto& [block, owner] : cluster_->member().blocks().owners()) {
          if (block.pool != pool.name || !range.has_block(block.cidr)) continue;
          ++taken;
          if (owner == config_.node) ++here;
        }
        item["block_length"] = range.block_length;
        item["blocks"] = range.blocks();
        item["taken"] = known ? nlohmann::json(taken) : nlohmann::json(nullptr);
        item["here"] = known ? nlohmann::json(here) : nlohmann::json(nullptr);
      }
      cidrs.push_back(std::move(item));
    }
  return cidrs;
}

// --- What an attachment in a cluster waits for ------------------------------------------------------

Result<void> Agent::need_named(AttachGate::Needs& needs, const IpAddress& address) const {
  for (const auto& pool : pools_) {
    const auto cidr = pool.block_of(address);
    if (!cidr) continue;
    const cluster::Block block{pool.name, *cidr};
    const auto owner = cluster_->owner_of(block);
    if (!owner.empty() && owner != config_.node) {
      const auto user = user_of(address);
      return weft::fail(
          ErrorCode::exists,
          fmt::format("{} is in block {} of pool \"{}\", which is node {}'s{}", address.to_string(), cidr->to_string(),
                      pool.name, owner, user.empty() ? "" : fmt::format(", and in use by {}", user)),
          "place the pod there, or give such addresses a pool whose blocks are one address: they move with their pods");
    }
    const auto uses = ipam_->uses();
    if (std::ranges::none_of(uses, [&](const auto& use) { return use.pool == pool.name && use.cidr == *cidr; }))
      needs.blocks.insert(block);
    return {};
  }
  return {};  // choose_addresses has made sure that there is one
}

Result<void> Agent::need_addresses(AttachGate::Needs& needs, const control::AddressRequest& wish) const {
  const auto now = ipam_now();
  std::set<Family> families;
  for (const auto& address : wish.addresses) {
    families.insert(address.family());
    WEFT_CHECK(need_named(needs, address));
  }
  if (wish.addresses.empty())
    if (const auto pool = std::ranges::find(pools_, wish.pool, &cluster::Pool::name); pool != pools_.end())
      for (const auto family : families_of(*pool)) {
        families.insert(family);
        if (ipam_->available(pool->name, family, now) == 0) needs.pools.insert({pool->name, family});
      }
  // Pods of all pools have the gateways of the first one.
  for (const auto family : families)
    if (!ipam_->gateway(family)) needs.pools.insert({std::string(model::default_address_pool), family});
  return {};
}

Result<AttachGate::Needs> Agent::attach_needs(const AttachRequest& request) const {
  AttachGate::Needs needs;
  // The pod's own word, or its Namespace's, may be among them.
  if (cluster_objects_ && !cluster_objects_->known())
    return weft::fail(ErrorCode::unavailable, "this node has not heard yet which objects the cluster has",
                      "try again; weft status tells whether the store answers");
  const auto known = attachment_->records().find(request.key);
  const bool there = known != attachment_->records().end() && known->second.state == store::EndpointState::ready;
  if (!there) {
    WEFT_TRY(const auto choice, choose_addresses(request, pools_, *objects_));
    WEFT_CHECK(need_addresses(needs, choice.request));
  }
  auto labels = identity_labels_of(*objects_, {request.namespace_, request.pod}, request.labels);
  if (!compiler().identities().number_of(labels)) needs.labels = std::move(labels);
  return needs;
}

namespace {

std::chrono::milliseconds left_until(std::chrono::steady_clock::time_point until) {
  const auto left = std::chrono::floor<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

}  // namespace

// What was applied elsewhere a moment ago may say which addresses the pod is to have; it keeps those it gets.
void Agent::attach(const nlohmann::json& params, const api::Responder& responder,
                   std::chrono::steady_clock::time_point until) {
  const auto request = parse_attach(params);
  if (!request) return responder.answer(weft::fail(request.error()));
  const model::ObjectKey pod{request->namespace_, request->pod};
  if (attachment_->records().contains(request->key) || (!kubernetes_ && objects_->pods().contains(pod)))
    return attach_known(params, responder, until);
  auto go_on = [this, params, responder, until] {
    if (!responder.closed()) attach_known(params, responder, until);
  };
  if (kubernetes_)
    kubernetes_->objects().catch_up(pod, request->pod_uid, std::move(go_on), left_until(until));
  else if (cluster_objects_)
    cluster_objects_->catch_up(pod, std::move(go_on));
  else
    go_on();
}

void Agent::attach_known(const nlohmann::json& params, const api::Responder& responder,
                         std::chrono::steady_clock::time_point until) {
  const auto request = parse_attach(params);
  if (!request) return responder.answer(weft::fail(request.error()));
  const auto refuse = [this, responder, pod = model::ObjectKey{request->namespace_, request->pod},
                       uid = request->pod_uid](const Error& error) {
    const auto refused = error.in("pod " + pod.to_string());
    spdlog::warn("attaching {}: {}", pod.to_string(), refused.message);
    unattached_.failed(pod, refused, std::chrono::system_clock::now());
    life_->tell_refused(pod, uid, refused);
    responder.answer(weft::fail(refused));
  };
  if (kubernetes_)
    if (const auto unheard = kubernetes_->objects().unheard()) return refuse(*unheard);
  if (!cluster_) return responder.answer_by([&] { return cni_add(params); });
  const auto needs = attach_needs(*request);
  if (!needs) return refuse(needs.error());
  if (needs->empty() || std::chrono::steady_clock::now() >= until)
    return responder.answer_by([&] { return cni_add(params); });
  attach_gate_->pass(
      *needs,
      [this, params, responder, until, refuse](const Result<void>& passed) {
        if (responder.closed()) return;
        passed ? attach_known(params, responder, until) : refuse(passed.error());
      },
      until);
}

}  // namespace weft::agent
