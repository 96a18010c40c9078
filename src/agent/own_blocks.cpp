#include "agent/own_blocks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/node_cidrs.h"
#include "model/objects.h"

namespace weft::agent {
namespace {

using nlohmann::json;

const std::string default_pool(model::default_address_pool);

// Names of what the store keeps (docs/state.md).
constexpr std::string_view stored_blocks = "cluster-blocks";
constexpr std::string_view stored_gateways = "cluster-gateways";

// What the store holds is this program's own; a row that is damaged counts as none.
json stored_list(store::Store& store, std::string_view name) {
  const auto text = store.get(name);
  if (!text || !*text) return json::array();
  auto list = json::parse(**text, nullptr, false);
  return list.is_array() ? list : json::array();
}

std::optional<cluster::Block> read_block(const json& entry) {
  if (!entry.is_object() || !entry.contains("pool") || !entry["pool"].is_string() || !entry.contains("cidr") ||
      !entry["cidr"].is_string())
    return {};
  const auto cidr = Cidr::parse(entry["cidr"].get_ref<const std::string&>());
  if (!cidr) return {};
  return cluster::Block{entry["pool"].get<std::string>(), *cidr};
}

}  // namespace

OwnBlocks::OwnBlocks(const Config& config, store::Store& store, Faults& faults, etcd::Scheduler& scheduler,
                     std::function<void()> changed)
    : config_(config), store_(store), faults_(faults), scheduler_(scheduler), changed_(std::move(changed)) {
  for (const auto& entry : stored_list(store, stored_blocks))
    if (auto block = read_block(entry)) {
      // Another node may have it: it is not used before it is this node's again.
      if (entry.value("lost", false))
        lost_.try_emplace(std::move(*block));
      else
        remembered_.push_back(std::move(*block));
    }
  for (const auto& text : stored_list(store, stored_gateways))
    if (const auto address =
            text.is_string() ? IpAddress::parse(text.get<std::string>()) : fail(ErrorCode::invalid, "no text"))
      // One of ranges that the node no longer has may be somebody's by now.
      if (is_of_default(*address)) gateways_.emplace(address->family(), *address);
}

bool OwnBlocks::is_of_default(const IpAddress& address) const {
  return std::ranges::any_of(config_.pod_cidrs, [&](const Cidr& cidr) { return cidr.contains(address); });
}

void OwnBlocks::later(std::function<void()> task) {
  scheduler_.post([alive = std::weak_ptr(alive_), task = std::move(task)] {
    if (!alive.expired()) task();
  });
}

std::vector<Cidr> OwnBlocks::all() const {
  std::vector<Cidr> all;
  for (const auto& block : member_->blocks().blocks()) all.push_back(block.cidr);
  return all;
}

std::map<std::string, std::vector<Cidr>> OwnBlocks::usable() const {
  std::map<std::string, std::vector<Cidr>> usable;
  for (const auto& block : member_->blocks().blocks())
    if (member_->blocks().may_allocate_from(block) && !outside_node_cidrs(config_, block))
      usable[block.pool].push_back(block.cidr);
  std::ranges::stable_partition(usable[default_pool], [&](const Cidr& cidr) {
    const auto gateway = gateways_.find(cidr.family());
    return gateway != gateways_.end() && cidr.contains(gateway->second);
  });
  return usable;
}

std::string OwnBlocks::owner_of(const cluster::Block& block) const {
  const auto owner = member_->blocks().owners().find(block);
  return owner == member_->blocks().owners().end() ? std::string() : owner->second;
}

void OwnBlocks::choose_gateways() {
  auto blocks = member_->blocks().blocks();
  std::erase_if(blocks,
                [&](const auto& block) { return block.pool != default_pool || !is_of_default(block.cidr.address()); });
  const auto before = gateways_;
  for (const auto family : {Family::v4, Family::v6}) {
    const auto known = gateways_.find(family);
    const auto has = [&](const cluster::Block& block) { return block.cidr.contains(known->second); };
    if (known != gateways_.end() && std::ranges::any_of(blocks, has)) continue;
    // Pods know it: it stays while its block may still come back.
    if (known != gateways_.end() &&
        std::ranges::any_of(lost_, [&](const auto& entry) { return has(entry.first) && entry.second.why.empty(); }))
      continue;
    const auto usable = std::ranges::find_if(blocks, [&](const auto& block) {
      return block.cidr.family() == family && !outside_node_cidrs(config_, block);
    });
    // One that was lost goes on to serve the pods that know it, until there is another.
    if (usable != blocks.end()) gateways_[family] = usable->cidr.address().plus(1);
  }
  if (gateways_ == before) return;
  auto list = json::array();
  for (const auto& [family, gateway] : gateways_) list.push_back(gateway.to_string());
  if (auto stored = store_.set(stored_gateways, list.dump()); !stored)
    spdlog::warn("remembering the gateways: {}", stored.error().message);
}

void OwnBlocks::remember() {
  auto list = json::array();
  for (const auto& block : member_->blocks().blocks())
    list.push_back({{"pool", block.pool}, {"cidr", block.cidr.to_string()}});
  for (const auto& [block, why] : lost_)
    list.push_back({{"pool", block.pool}, {"cidr", block.cidr.to_string()}, {"lost", true}});
  auto text = list.dump();
  if (text == stored_) return;
  if (auto stored = store_.set(stored_blocks, text); !stored)
    spdlog::warn("remembering the blocks: {}", stored.error().message);
  else
    stored_ = std::move(text);
}

void OwnBlocks::changed() {
  remember();  // before an address of theirs is used
  choose_gateways();
  changed_();
  settle();
}

// --- Claims --------------------------------------------------------------------------------------

void OwnBlocks::claim(const std::string& pool, Family family, Done done) {
  const Need need{pool, family};
  auto& claim = claims_[need];
  claim.waiting.push_back(std::move(done));
  if (!claim.asked && is_known(need)) ask(need);
}

// All that this node has of it; what got lost is asked for first.
bool OwnBlocks::is_known(const Need& need) const {
  return member_->blocks().settled() && std::ranges::none_of(lost_, [&](const auto& entry) {
           const auto& [block, lost] = entry;
           return lost.asked && block.pool == need.first && block.cidr.family() == need.second;
         });
}

// What was asked for before it was known what this node has: whoever still lacks something asks again.
void OwnBlocks::settle() {
  std::vector<Need> open;
  for (const auto& [need, claim] : claims_)
    if (!claim.asked && is_known(need)) open.push_back(need);
  for (const auto& need : open) {
    if (!has_usable(need)) {
      ask(need);
      continue;
    }
    claims_[need].asked = true;
    later([this, need] { answer(need, {}); });
  }
}

bool OwnBlocks::has_usable(const Need& need) const {
  return std::ranges::any_of(member_->blocks().blocks(), [&](const auto& block) {
    return block.pool == need.first && block.cidr.family() == need.second &&
           member_->blocks().may_allocate_from(block) && !outside_node_cidrs(config_, block);
  });
}

void OwnBlocks::ask(const Need& need) {
  claims_[need].asked = true;
  auto within = parts_for_node(config_, need.first, need.second);
  if (!within) return later([this, need, outcome = Result<void>(fail(within.error()))] { answer(need, outcome); });
  const auto done = [this, need](const Result<cluster::Block>& block) {
    // Usable only once whoever gives addresses out has heard of it.
    later([this, need, outcome = block ? Result<void>() : Result<void>(fail(block.error()))] {
      changed();
      answer(need, outcome);
    });
  };
  member_->blocks().claim(need.first, need.second, done, std::move(*within));
}

void OwnBlocks::answer(const Need& need, const Result<void>& outcome) {
  const auto claim = std::exchange(claims_[need], {});
  for (const auto& each : claim.waiting) each(outcome);
  if (const auto left = claims_.find(need); left != claims_.end() && left->second.waiting.empty()) claims_.erase(left);
}

void OwnBlocks::claim(const cluster::Block& block, Done done) {
  if (outside_node_cidrs(config_, block))
    return later([done, text = fmt::format("block {} is not in the podCIDRs of this Node ({})", block.to_string(),
                                           node_cidrs_text(config_))] {
      done(fail(ErrorCode::invalid, text, "give addresses by name a PodAddressPool of their own"));
    });
  member_->blocks().claim(block, [this, done = std::move(done)](const Result<cluster::Block>& claimed) {
    later([this, done, outcome = claimed ? Result<void>() : Result<void>(fail(claimed.error()))] {
      changed();
      done(outcome);
    });
  });
}

bool OwnBlocks::claims(const std::string& pool, Family family) const { return claims_.contains({pool, family}); }

void OwnBlocks::tell_out_of_bounds() {
  constexpr auto about = "node cidrs";
  std::vector<std::string> outside;
  for (const auto& block : member_->blocks().blocks())
    if (outside_node_cidrs(config_, block)) outside.push_back(block.cidr.to_string());
  if (outside.empty()) return faults_.clear(about);
  faults_.set(
      about,
      fmt::format("blocks of this node are not in the podCIDRs of its Node ({}): {}: they go back when no pod has "
                  "an address of them: drain the node and run weftd --cleanup before the next start",
                  node_cidrs_text(config_), fmt::join(outside, ", ")));
}

// --- Giving back ---------------------------------------------------------------------------------

void OwnBlocks::let_go(const std::string& pool) {
  if (const auto held = held_.find(pool); held != held_.end() && --held->second <= 0) held_.erase(held);
}

// `left`: blocks of "default" that would be left.
bool OwnBlocks::is_needed(const cluster::Block& block, const control::Ipam& ipam,
                          std::map<Family, std::size_t>& left) const {
  const auto family = block.cidr.family();
  if (held_.contains(block.pool) || claims(block.pool, family) || !ipam.unused(block.cidr)) return true;
  if (block.pool != default_pool) return false;
  const auto gateway = gateways_.find(family);
  const bool has_gateway = gateway != gateways_.end() && block.cidr.contains(gateway->second);
  if (outside_node_cidrs(config_, block)) return has_gateway;
  if (has_gateway || left[family] < 2) return true;
  --left[family];
  return false;
}

bool OwnBlocks::release_unused(const control::Ipam& ipam) {
  bool released = forget_unused(ipam);
  if (!member_->registry().membership()) return false;
  const auto blocks = member_->blocks().blocks();
  std::map<Family, std::size_t> left;
  for (const auto& block : blocks)
    if (block.pool == default_pool && !outside_node_cidrs(config_, block)) ++left[block.cidr.family()];
  for (const auto& block : blocks) {
    if (is_needed(block, ipam, left)) continue;
    released = true;
    spdlog::info("gives block {} back: nothing in it is used", block.to_string());
    member_->blocks().release(block);
  }
  if (!released) return false;
  later([this] { changed(); });
  return true;
}

// --- Blocks that got lost ------------------------------------------------------------------------

// Where nobody else has got them, pods keep their addresses: they are this node's again by the same comparison as any
// block that is claimed.
void OwnBlocks::lost(const std::vector<cluster::Block>& blocks) {
  for (const auto& block : blocks) {
    spdlog::warn("block {} is not this node's any more in {}", block.to_string(), config_.store_name());
    lost_[block] = {};
    reclaim(block);
  }
}

void OwnBlocks::reclaim(const cluster::Block& block) {
  lost_[block].asked = true;
  member_->blocks().claim(block, [this, block](const Result<cluster::Block>& claimed) {
    later([this, block, outcome = claimed ? Result<void>() : Result<void>(fail(claimed.error()))] {
      reclaimed(block, outcome);
    });
  });
}

void OwnBlocks::reclaimed(const cluster::Block& block, const Result<void>& outcome) {
  if (const auto found = lost_.find(block); found != lost_.end()) {
    if (outcome) {
      spdlog::info("block {} is this node's again", block.to_string());
      lost_.erase(found);
    } else {
      const auto owner = owner_of(block);
      const bool taken = outcome.error().code == ErrorCode::exists;
      // It may be had as soon as this node has heard what others have.
      const bool unheard = taken && (owner.empty() || owner == config_.node);
      const auto why =
          taken ? outcome.error().message : fmt::format("block {}: {}", block.to_string(), outcome.error().message);
      found->second = {.asked = false, .taken = taken, .why = unheard ? std::string() : why};
    }
  }
  // One word about all of them.
  if (std::ranges::none_of(lost_, [](const auto& entry) { return entry.second.asked; })) tell_lost();
  changed();
}

void OwnBlocks::check() {
  tell_out_of_bounds();
  if (!member_->blocks().settled()) return;
  std::vector<cluster::Block> again;
  for (const auto& [block, lost] : lost_)
    if (const auto owner = owner_of(block); !lost.asked && (lost.why.empty() || owner.empty() || owner == config_.node))
      again.push_back(block);
  for (const auto& block : again) reclaim(block);
}

// A pod that is gone needs no address any more.
bool OwnBlocks::forget_unused(const control::Ipam& ipam) {
  const auto gone =
      std::erase_if(lost_, [&](const auto& entry) { return !entry.second.asked && ipam.unused(entry.first.cidr); });
  if (gone != 0) tell_lost();
  return gone != 0;
}

void OwnBlocks::tell_lost() {
  constexpr std::size_t most = 8;
  const auto tell = [&](const char* about, bool taken, std::string_view what) {
    std::vector<std::string> texts;
    std::size_t count = 0;
    for (const auto& [block, lost] : lost_)
      if (!lost.why.empty() && lost.taken == taken && ++count <= most) texts.push_back(lost.why);
    if (count == 0) return faults_.clear(about);
    if (count > most) texts.push_back(fmt::format("and {} blocks more", count - most));
    faults_.set(about, fmt::format(fmt::runtime(what), fmt::join(texts, "; ")));
  };
  tell("cluster blocks taken", true,
       "pods here have addresses of blocks that other nodes took while this node was away for longer than "
       "reclaim_seconds, or while the store had lost the cluster's data: {}: create the pods with such addresses again "
       "(weft "
       "endpoint list)");
  tell("cluster blocks forgotten", false,
       "the store does not know any more which blocks this node had: {}: pods keep their addresses, further ones get "
       "none of "
       "them; weft store push brings back what it has lost");
}

}  // namespace weft::agent
