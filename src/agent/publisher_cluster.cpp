// The publisher of a node of a cluster: other nodes' pods and ways, and the objects that the cluster says there are.
#include <algorithm>
#include <utility>

#include "agent/object_names.h"
#include "agent/publisher.h"

namespace weft::agent {

// Those of other nodes. One that is here as well is here.
void Publisher::read_remote_pods() {
  remote_revision_ = cluster_.revision;
  std::set<model::ObjectKey> seen;
  for (const auto& remote : cluster_.pods) {
    if (service_pods_.contains(remote.key)) continue;
    const auto* identity = compiler_->identities().find(remote.identity);
    if (identity == nullptr) continue;
    control::ServicePod pod;
    pod.key = remote.key;
    pod.node = remote.node;
    pod.labels = control::pod_labels_of(identity->labels);
    pod.ports = remote.ports;
    pod.addresses = remote.addresses;
    pod.ready = remote.ready;
    pod.terminating = remote.terminating;
    pod.weight = remote.weight;
    seen.insert(pod.key);
    services_->upsert(pod);
  }
  for (const auto& key : remote_pods_)
    if (!seen.contains(key) && !service_pods_.contains(key)) services_->erase_pod(key);
  remote_pods_ = std::move(seen);
  services_->set_unheard({});
}

// What other nodes have told is in the maps, for as long as the machine runs: an agent that starts while etcd is away
// goes on with it, also where pods elsewhere stand behind Services.
void Publisher::keep_of_nodes(datapath::DesiredRows& rows) {
  if (!cluster_.clustered || cluster_.known) return;
  auto kept = parts_.tables.of_nodes();
  if (!std::exchange(unheard_told_, true)) {
    std::unordered_set<IpAddress> unheard;
    for (const auto& [address, row] : kept.remotes) unheard.insert(datapath::from_abi(address));
    services_->set_unheard(std::move(unheard));
  }
  rows.nodes = std::move(kept.nodes);
  // A device that was made anew meanwhile has another number, and the former one may be anybody's.
  for (auto& [number, node] : rows.nodes)
    if (node.way == WEFT_WAY_WIREGUARD &&
        std::ranges::find(cluster_.wireguard, node.ifindex) == cluster_.wireguard.end())
      node.ifindex = cluster_.wireguard.size() == 1 ? cluster_.wireguard.front() : 0;
  std::erase_if(kept.remotes, [&](const auto& row) { return rows.endpoints.contains(row.first); });
  rows.remotes = std::move(kept.remotes);
  for (const auto& [prefix, row] : kept.blocks) rows.identities.insert_or_assign(prefix, row);
  rows.egress = std::move(kept.egress);
  rows.next_hops = std::move(kept.next_hops);
}

Result<Publisher::Changed> Publisher::bring(const Brought& brought) {
  std::set<model::ObjectKey> changed;
  for (const auto& [service, assignment] : brought.assignments)
    if (services_->held(service) != assignment) changed.insert(service);
  // What one gives up another may have got.
  for (const auto& service : changed) services_->forget(service);
  for (const auto& service : changed)
    if (const auto& held = brought.assignments.at(service); !held.empty()) services_->restore(service, held);
  if (!changed.empty()) brought_ = std::max(brought_, Changed::services);
  WEFT_CHECK(store_assignments(changed));
  WEFT_TRY(const auto objects, parts_.objects.bring(brought.objects, brought.gone));
  for (const auto& key : objects) {
    brought_ = std::max(brought_, changes_services_only(key.kind) ? Changed::services : Changed::all);
    if (key.kind == model::Kind::service) brought_services_.insert(key.key);
  }
  const std::set<store::StoredKey> keys(objects.begin(), objects.end());
  for (const auto& [object, json] : brought.objects)
    if (const auto* slice = std::get_if<model::EndpointSlice>(&object);
        slice != nullptr && keys.contains(key_of(object)))
      if (const auto label = slice->meta.labels.find("kubernetes.io/service-name"); label != slice->meta.labels.end())
        brought_services_.insert({slice->meta.namespace_, label->second});
  return std::exchange(brought_, Changed::nothing);
}

Result<void> Publisher::publish_brought(Changed changed) {
  const bool services_only = changed == Changed::services;
  for (const auto& key : std::exchange(unfit_services_, {})) {
    WEFT_TRY(const auto service, parts_.objects.read_as<model::Service>({model::Kind::service, key}));
    if (!service) continue;
    services_->upsert(*service);
    brought_services_.insert(key);
  }
  auto published = publish_kinds(services_only);
  if (!published && published.error().code == ErrorCode::exhausted) return publish_what_fits(services_only);
  if (published || published.error().code == ErrorCode::io) brought_services_.clear();
  return published;
}

// Those that have frontends in the maps only where `all` are asked for.
Result<std::vector<model::Service>> Publisher::brought_services(bool all) const {
  std::vector<model::Service> services;
  for (const auto& key : brought_services_) {
    if (!all && !services_->ports_of(key).empty()) continue;
    WEFT_TRY(auto service, parts_.objects.read_as<model::Service>({model::Kind::service, key}));
    if (service) services.push_back(std::move(*service));
  }
  return services;
}

// The maps take new Services before they let old ones go, so those that are new wait until these have left, and those
// that changed only where that is not enough.
Result<void> Publisher::publish_what_fits(bool services_only) {
  const auto fits = [](const Result<void>& published) { return published || published.error().code == ErrorCode::io; };
  Result<void> published;
  for (const bool all : {false, true}) {
    WEFT_TRY(const auto services, brought_services(all));
    for (const auto& service : services) services_->erase_service(service.meta.key());
    published = publish_kinds(services_only);
    if (!fits(published)) {
      for (const auto& service : services) services_->upsert(service);
      continue;
    }
    brought_services_.clear();
    for (const auto& service : services) {
      services_->upsert(service);
      auto one = publish_services();
      if (fits(one)) continue;
      services_->erase_service(service.meta.key());
      unfit_services_.insert(service.meta.key());
      published = std::move(one);
    }
    if (!unfit_services_.empty()) (void)publish_services();
    return published;
  }
  return published;
}

}  // namespace weft::agent
