#include "agent/other_nodes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace weft::agent {

void FewNames::add(const std::function<std::string()>& name) {
  if (++count_ <= most) names_.push_back(name());
}

std::string FewNames::text() const {
  const auto text = fmt::format("{}", fmt::join(names_, ", "));
  return count_ <= most ? text : fmt::format("{} and {} more", text, count_ - most);
}

std::set<std::string> OtherNodes::take(const Told& told) {
  const auto before = std::exchange(nodes_, {});
  blocks_.clear();
  const auto at = std::exchange(at_, {});
  left_out_.clear();
  pools_ = told.pools;
  for (const auto& [name, node] : told.nodes)
    if (node.record && name != config_.node) nodes_.try_emplace(name);
  take_blocks(told);
  if (const auto self = told.nodes.find(config_.node); self != told.nodes.end() && self->second.record)
    for (const auto& address : self->second.record->underlay) at_.emplace(address, config_.node);
  for (const auto& [name, node] : told.nodes)
    if (node.record && name != config_.node) take_record(name, *node.record);
  std::set<std::string> changed;
  for (const auto& [name, node] : nodes_)
    if (const auto known = before.find(name); known == before.end() || known->second != node) changed.insert(name);
  for (const auto& [name, node] : before)
    if (!nodes_.contains(name)) changed.insert(name);
  if (at != at_) changed.merge(std::exchange(lent_, {}));
  return changed;
}

void OtherNodes::take_blocks(const Told& told) {
  for (const auto& [block, owner] : told.owners) {
    const auto node = nodes_.find(owner);
    if (node == nodes_.end() && owner != config_.node) continue;  // it is not known how to reach it
    const auto pool = std::ranges::find(told.pools, block.pool, &cluster::Pool::name);
    if (pool != told.pools.end() && pool->has_block(block.cidr)) {
      if (node != nodes_.end()) node->second.blocks.push_back(block.cidr);
      blocks_.emplace(block.cidr, owner);
    } else if (node != nodes_.end()) {
      leave_out(owner, [&] {
        return pool == told.pools.end() ? fmt::format("block {} of pool \"{}\", which this node does not know",
                                                      block.cidr.to_string(), block.pool)
                                        : fmt::format("block {}, which is none of pool \"{}\" ({})",
                                                      block.cidr.to_string(), block.pool, pool->to_string());
      });
    }
  }
}

namespace {

// Whether no machine is reached by the address, whatever a record says.
bool is_nobodys(const IpAddress& address) {
  static const auto ranges = [] {
    std::vector<Cidr> all;
    for (const char* text :
         {"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8"})
      all.push_back(*Cidr::parse(text));
    return all;
  }();
  return std::ranges::any_of(ranges, [&](const Cidr& range) { return range.contains(address); });
}

}  // namespace

void OtherNodes::take_record(const std::string& name, const cluster::NodeRecord& record) {
  auto& node = nodes_.at(name);
  for (const auto& address : record.underlay) {
    const auto known = at_.find(address);
    auto why = known != at_.end() && known->second == config_.node ? std::string("which is this node's")
                                                                   : why_not_outside(address);
    // More would draw what goes to others there.
    if (why.empty() && std::ranges::find(node.underlay, address.family(), &IpAddress::family) != node.underlay.end())
      why = "when a node is reached by one of each family";
    if (why.empty() && is_nobodys(address)) why = "which no machine is reached by";
    if (!why.empty()) {
      leave_out(name, [&] { return fmt::format("its address {}, {}", address.to_string(), why); });
      continue;
    }
    node.underlay.push_back(address);
    at_.emplace(address, name);  // of two that claim it the first by name has it, as where ways are planned
  }
  for (const auto& address : record.gateways) {
    const auto* owner = owner_of(address);
    if (owner != nullptr && *owner == name) {
      node.gateways.push_back(address);
      continue;
    }
    leave_out(name, [&] { return fmt::format("gateway {}, {}", address.to_string(), whose(address)); });
  }
}

void OtherNodes::leave_out(const std::string& node, const std::function<std::string()>& what) {
  left_out_[node].add(what);
}

// No two of them overlap, so the one that holds an address is the last that does not begin after it.
const std::string* OtherNodes::owner_of(const IpAddress& address) const {
  const auto after = blocks_.upper_bound(Cidr(address, address.is_v4() ? 32 : 128));
  if (after == blocks_.begin()) return nullptr;
  const auto& [block, owner] = *std::prev(after);
  return block.contains(address) ? &owner : nullptr;
}

std::string OtherNodes::why_not_outside(const IpAddress& address) const {
  for (const auto& pool : pools_)
    if (pool.block_of(address)) return fmt::format("which is of pool \"{}\"", pool.name);
  for (const auto& range : config_.service_cidrs)
    if (range.contains(address)) return fmt::format("which is of service_cidrs ({})", range.to_string());
  return {};
}

std::string OtherNodes::whose(const IpAddress& address) const {
  const auto name = [&](const std::string& node) { return node == config_.node ? "this node" : "node " + node; };
  if (const auto at = at_.find(address); at != at_.end()) return fmt::format("which is {}'s", name(at->second));
  if (const auto* owner = owner_of(address)) return fmt::format("which is in a block of {}", name(*owner));
  const auto why = why_not_outside(address);
  return why.empty() ? "which is of no pool" : fmt::format("{}, but in no block of the node", why);
}

bool OtherNodes::owns(const std::string& node, const IpAddress& address, bool host_network) {
  if (!host_network) {
    const auto* owner = owner_of(address);
    return owner != nullptr && *owner == node;
  }
  if (const auto known = at_.find(address); known != at_.end()) {
    if (known->second == node) return true;
    const auto own = nodes_.find(node);
    return own != nodes_.end() && std::ranges::find(own->second.underlay, address) != own->second.underlay.end();
  }
  if (!why_not_outside(address).empty()) return false;
  lent_.insert(node);
  return true;
}

std::string OtherNodes::left_out(const std::string& node) const {
  const auto found = left_out_.find(node);
  return found == left_out_.end() ? std::string() : found->second.text();
}

std::string OtherNodes::pods_left_out(const std::string& node, const cluster::PodTable& pods) const {
  if (!nodes_.contains(node)) return {};
  FewNames names;
  pods.each_disowned(node, [&](const cluster::PodName& pod, const IpAddress& address) {
    names.add([&] { return fmt::format("pod {} at {}, {}", pod.to_string(), address.to_string(), whose(address)); });
  });
  return names.text();
}

}  // namespace weft::agent
