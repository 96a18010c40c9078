#include "sources/cluster/endpoint_table.h"

#include <utility>

namespace weft::cluster {
namespace {

const SharedEndpoints none;

// From one list to the other, told if there is one.
void add_difference(EndpointDifference& difference, const std::string& node, const SharedEndpoints& before,
                    const SharedEndpoints& after) {
  EndpointDifference::OfNode result;
  for (const auto& [name, pod] : after)
    if (const auto known = before.find(name); known == before.end() || known->second != pod)
      result.set.emplace(name, pod);
  for (const auto& [name, pod] : before)
    if (!after.contains(name)) result.gone.push_back(name);
  if (!result.empty()) difference.nodes.emplace(node, std::move(result));
}

etcd::MirrorOptions mirror_options(const Context& context) {
  auto options = context.mirror(context.keys.endpoints());
  options.page = 200;  // of some ten kilobytes each
  options.values = false;
  return options;
}

}  // namespace

EndpointTable::EndpointTable(Context context, const NodeRegistry& registry, EndpointHandlers handlers)
    : context_(std::move(context)),
      registry_(&registry),
      handlers_(std::move(handlers)),
      mirror_(context_.client, context_.scheduler, context_.random, mirror_options(context_),
              {.changed = [this](const etcd::Change& change) { mirror_changed(change); }, .state = {}}) {}

const SharedEndpoints& EndpointTable::List::pods() const { return counts ? endpoints.pods : none; }

const SharedEndpoints& EndpointTable::pods_of(const std::string& node) const {
  const auto found = lists_.find(node);
  return found == lists_.end() ? none : found->second.pods();
}

void EndpointTable::each(const std::function<void(const std::string& node, const SharedEndpoints& pods)>& see) const {
  for (const auto& [node, list] : lists_)
    if (list.counts) see(node, list.endpoints.pods);
}

// Its run is the one alive, or none is.
bool EndpointTable::counts(const std::string& node, const std::string& boot_id) const {
  const auto known = registry_->nodes().find(node);
  return known == registry_->nodes().end() || !known->second.alive || *known->second.alive == boot_id;
}

void EndpointTable::nodes_changed(const NodeDifference& nodes) {
  EndpointDifference difference;
  const auto look = [&](const std::string& node) {
    const auto found = lists_.find(node);
    if (found == lists_.end()) return;
    auto& list = found->second;
    const auto& before = list.pods();
    list.counts = counts(node, list.endpoints.boot_id);
    add_difference(difference, node, before, list.pods());
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
    add_difference(difference, key->node, pods_of(key->node), none);
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
    List list{.endpoints = std::move(*read)};
    list.counts = counts(key->node, list.endpoints.boot_id);
    add_difference(difference, key->node, pods_of(key->node), list.pods());
    lists_.insert_or_assign(key->node, std::move(list));
  }
  tell(difference);
  for (const auto& [node, revision] : seen)
    if (handlers_.seen) handlers_.seen(node, revision, change.revision);
}

void EndpointTable::tell(const EndpointDifference& difference) const {
  if (!difference.nodes.empty() && handlers_.changed) handlers_.changed(difference);
}

}  // namespace weft::cluster
