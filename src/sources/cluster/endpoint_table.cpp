#include "sources/cluster/endpoint_table.h"

#include <utility>
#include <vector>

namespace weft::cluster {
namespace {

constexpr std::size_t told_at_once = 16;  // nodes

etcd::MirrorOptions mirror_options(const Context& context, const std::string& own) {
  auto options = context.mirror_of_nodes(
      context.keys.endpoints(), [key = context.keys.build(EndpointsKey{own}), slices = context.keys.slices_of(own)](
                                    const etcd::KeyValue& kv) { return kv.key != key && !kv.key.starts_with(slices); });
  options.page = 200;  // of some ten kilobytes each
  options.values = false;
  return options;
}

}  // namespace

EndpointTable::EndpointTable(Context context, const NodeRegistry& registry, EndpointHandlers handlers)
    : context_(std::move(context)),
      registry_(&registry),
      handlers_(std::move(handlers)),
      pods_(registry.self().name),
      mirror_(context_.client, context_.scheduler, context_.random, mirror_options(context_, registry.self().name),
              {.changed = [this](const etcd::Change& change) { mirror_changed(change); }, .state = {}}) {}

// Its run is the one alive, or none is.
bool EndpointTable::counts(const std::string& node, unsigned slice, const std::string& boot_id) const {
  const auto known = registry_->nodes().find(node);
  if (known == registry_->nodes().end()) return true;
  const auto& [name, one] = *known;
  if (slice != 0 && one.record && !one.record->reads_slices) return false;
  return !one.alive || *one.alive == boot_id;
}

void EndpointTable::take(const std::string& node, const std::vector<PodTable::Slice>& slices,
                         EndpointDifference& difference) {
  if (auto change = pods_.replace_slices(node, slices); !change.empty())
    difference.nodes.insert_or_assign(node, std::move(change));
}

void EndpointTable::nodes_changed(const NodeDifference& nodes) {
  EndpointDifference difference;
  const auto look = [&](const std::string& node) {
    const auto found = lists_.find(node);
    if (found == lists_.end()) return;
    std::vector<PodTable::Slice> slices;
    for (auto& [number, list] : found->second) {
      const bool now = counts(node, number, list.boot_id);
      if (now == !list.set_aside) continue;
      auto& slice = slices.emplace_back(PodTable::Slice{.number = number, .pods = {}});
      if (now)
        slice.pods = *std::exchange(list.set_aside, std::nullopt);
      else
        list.set_aside = pods_.pods_of(node, number);
    }
    if (!slices.empty()) take(node, slices, difference);
  };
  for (const auto& [node, record] : nodes.set) look(node);
  for (const auto& node : nodes.gone) look(node);
  tell(difference);
}

std::vector<PodTable::Slice> EndpointTable::read(const std::string& node, const Touched& touched) {
  std::vector<PodTable::Slice> slices;
  auto& lists = lists_[node];
  for (const auto number : touched.erased) {
    lists.erase(number);
    slices.push_back({.number = number, .pods = {}});
  }
  for (const auto* kv : touched.set) {
    auto read = decode_endpoints(kv->key, kv->value);
    if (!read) {
      if (handlers_.trouble) handlers_.trouble(read.error());
      continue;
    }
    const auto number = context_.keys.parse_as<EndpointsKey>(kv->key)->slice;
    auto& list = lists[number];
    list.boot_id = std::move(read->boot_id);
    list.set_aside.reset();
    auto& slice = slices.emplace_back(PodTable::Slice{.number = number, .pods = {}});
    if (counts(node, number, list.boot_id))
      slice.pods = std::move(read->pods);
    else
      list.set_aside = std::move(read->pods);
  }
  if (lists.empty()) lists_.erase(node);
  return slices;
}

void EndpointTable::mirror_changed(const etcd::Change& change) {
  std::map<std::string, Touched> touched;
  std::vector<std::pair<EndpointsKey, etcd::Revision>> seen;
  for (const auto& kv : change.erased) {
    const auto key = context_.keys.parse_as<EndpointsKey>(kv.key);
    if (!key) continue;
    touched[key->node].erased.push_back(key->slice);
    seen.emplace_back(*key, 0);
  }
  for (const auto& kv : change.set) {
    const auto key = context_.keys.parse_as<EndpointsKey>(kv.key);
    if (!key) {
      if (handlers_.trouble) handlers_.trouble(key.error());
      continue;
    }
    touched[key->node].set.push_back(&kv);
    seen.emplace_back(*key, kv.mod_revision);
  }
  EndpointDifference difference;
  for (const auto& [node, what] : touched) {
    take(node, read(node, what), difference);
    // The first list is of all nodes: what it becomes on its way is not to be in memory of all of them at once, among
    // what stays.
    if (difference.nodes.size() >= told_at_once) tell(std::exchange(difference, {}));
  }
  tell(difference);
  for (const auto& [key, revision] : seen)
    if (handlers_.seen) handlers_.seen(key, revision, change.revision);
}

void EndpointTable::tell(const EndpointDifference& difference) const {
  if (!difference.nodes.empty() && handlers_.changed) handlers_.changed(difference);
}

}  // namespace weft::cluster
