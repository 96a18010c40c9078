#include "sources/cluster/endpoint_table.h"

#include <utility>
#include <vector>

namespace weft::cluster {
namespace {

constexpr std::size_t told_at_once = 16;  // nodes

etcd::MirrorOptions mirror_options(const Context& context, const std::string& own) {
  auto options = context.mirror_of_nodes(
      context.keys.endpoints(),
      [key = context.keys.build(EndpointsKey{own})](const etcd::KeyValue& kv) { return kv.key != key; });
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
bool EndpointTable::counts(const std::string& node, const std::string& boot_id) const {
  const auto known = registry_->nodes().find(node);
  return known == registry_->nodes().end() || !known->second.alive || *known->second.alive == boot_id;
}

void EndpointTable::take(const std::string& node, const SharedEndpoints& pods, EndpointDifference& difference) {
  if (auto change = pods_.replace(node, pods); !change.empty())
    difference.nodes.insert_or_assign(node, std::move(change));
}

void EndpointTable::nodes_changed(const NodeDifference& nodes) {
  EndpointDifference difference;
  const auto look = [&](const std::string& node) {
    const auto found = lists_.find(node);
    if (found == lists_.end()) return;
    auto& list = found->second;
    const bool now = counts(node, list.boot_id);
    if (now == !list.set_aside) return;
    if (now) {
      take(node, *std::exchange(list.set_aside, std::nullopt), difference);
    } else {
      list.set_aside = pods_.pods_of(node);
      take(node, {}, difference);
    }
  };
  for (const auto& [node, record] : nodes.set) look(node);
  for (const auto& node : nodes.gone) look(node);
  tell(difference);
}

void EndpointTable::mirror_changed(const etcd::Change& change) {
  EndpointDifference difference;
  std::vector<std::pair<std::string, etcd::Revision>> seen;
  for (const auto& kv : change.erased) {
    const auto key = context_.keys.parse_as<EndpointsKey>(kv.key);
    if (!key) continue;
    take(key->node, {}, difference);
    lists_.erase(key->node);
    seen.emplace_back(key->node, 0);
  }
  for (const auto& kv : change.set) {
    const auto key = context_.keys.parse_as<EndpointsKey>(kv.key);
    auto read = key ? decode_endpoints(kv.key, kv.value) : fail(key.error());
    if (key) seen.emplace_back(key->node, kv.mod_revision);
    if (!read) {
      if (handlers_.trouble) handlers_.trouble(read.error());
      continue;
    }
    auto& list = lists_[key->node];
    list.boot_id = std::move(read->boot_id);
    list.set_aside.reset();
    if (counts(key->node, list.boot_id)) {
      take(key->node, read->pods, difference);
    } else {
      list.set_aside = std::move(read->pods);
      take(key->node, {}, difference);
    }
    // The first list is of all nodes: what it becomes on its way is not to be in memory of all of them at once, among
    // what stays.
    if (difference.nodes.size() >= told_at_once) tell(std::exchange(difference, {}));
  }
  tell(difference);
  for (const auto& [node, revision] : seen)
    if (handlers_.seen) handlers_.seen(node, revision, change.revision);
}

void EndpointTable::tell(const EndpointDifference& difference) const {
  if (!difference.nodes.empty() && handlers_.changed) handlers_.changed(difference);
}

}  // namespace weft::cluster
