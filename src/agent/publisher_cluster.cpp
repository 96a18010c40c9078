// The publisher of a node of a cluster: other nodes' pods and ways, and the objects that the cluster says there are.
#include <algorithm>
#include <iterator>
#include <utility>

#include "agent/object_names.h"
#include "agent/publisher.h"

namespace weft::agent {

// What is reached otherwise than before: all pods of a node, and the addresses that nodes have themselves.
void Publisher::set_cluster(ClusterView cluster) {
  const auto& before = cluster_.plan;
  const auto& now = cluster.plan;
  const auto number = [](const control::NodePlan& plan, const std::string& node) {
    const auto reach = plan.reach.find(node);
    return reach == plan.reach.end() ? std::nullopt : std::optional(reach->second.number);
  };
  const auto look = [&](const std::string& node) {
    if (others_ == nullptr || (number(before, node) == number(now, node) && cluster_.gone(node) == cluster.gone(node)))
      return;
    for (const auto& [name, pod] : others_->pods_of(node)) {
      changed_.pods.insert({name.namespace_, name.name});
      changed_.addresses.insert(pod.addresses.begin(), pod.addresses.end());
    }
  };
  for (const auto& [node, reach] : now.reach) look(node);
  for (const auto& [node, reach] : before.reach)
    if (!now.reach.contains(node)) look(node);
  for (const auto& [plan, other] : {std::pair(&before, &now), std::pair(&now, &before)})
    for (const auto& [address, owner] : plan->addresses)
      if (const auto there = other->addresses.find(address); there == other->addresses.end() || there->second != owner)
        changed_.addresses.insert(address);
  cluster_ = std::move(cluster);
}

// What this node has itself is never another's.
void Publisher::note_own(const Compiled& before, const Compiled& now) {
  if (!cluster_.clustered) return;
  for (const auto& [rows, others] :
       {std::pair(&before.rows.endpoints, &now.rows.endpoints), std::pair(&now.rows.endpoints, &before.rows.endpoints)})
    for (const auto& [address, row] : *rows)
      if (!others->contains(address)) changed_.addresses.insert(datapath::from_abi(address));
  // The rows carry the identity of the narrowest CIDR.
  if (before.cidr_identities != now.cidr_identities) changed_.all = true;
}

datapath::RemoteRows Publisher::all_remote_rows() const {
  datapath::RemoteRows rows{.whole = true, .set = {}, .gone = {}};
  const auto& own = compiled_.rows.endpoints;
  const auto add = [&](const IpAddress& address, const std::optional<weft_remote>& row) {
    if (row && !own.contains(datapath::to_abi(address))) rows.set.insert_or_assign(datapath::to_abi(address), *row);
  };
  for (const auto& [address, owner] : cluster_.plan.addresses)
    add(address, compiler_->remote_row(address, cluster_, *others_));
  others_->each([&](const cluster::ToldPod& pod) {
    for (const auto& address : pod.told.addresses)
      // Who it belongs to where more than one claim it is seen from the address.
      add(address, rows.set.contains(datapath::to_abi(address)) ? compiler_->remote_row(address, cluster_, *others_)
                                                                : compiler_->remote_row(address, cluster_.plan, pod));
  });
  return rows;
}

datapath::RemoteRows Publisher::remote_rows() const {
  const bool known = cluster_.known && others_ != nullptr;
  if (!cluster_.clustered) return {.whole = true, .set = {}, .gone = {}};
  if (known && changed_.all) return all_remote_rows();
  datapath::RemoteRows rows;
  for (const auto& address : changed_.addresses) {
    const auto key = datapath::to_abi(address);
    const bool own = compiled_.rows.endpoints.contains(key);
    if (!own && !known) continue;
    const auto row = own ? std::nullopt : compiler_->remote_row(address, cluster_, *others_);
    if (row)
      rows.set.emplace(key, *row);
    else
      rows.gone.push_back(key);
  }
  return rows;
}

void Publisher::tell_remote_pod(const cluster::ToldPod& remote) {
  const auto* identity = compiler_->identities().find(remote.told.identity);
  if (identity == nullptr || !selected_.contains(remote.told.identity) || !cluster_.plan.reach.contains(remote.node))
    return services_->erase_pod({remote.name.namespace_, remote.name.name});
  control::ServicePod pod;
  pod.key = {remote.name.namespace_, remote.name.name};
  pod.node = remote.node;
  pod.labels = control::pod_labels_of(identity->labels);
  for (const auto& port : remote.told.ports) {
    auto& known = pod.ports.emplace_back();
    known.name = port.name;
    known.port = port.port;
    known.protocol = port.protocol;
  }
  pod.addresses = remote.told.addresses;
  // What a machine that is gone said last is not so any more.
  pod.ready = remote.told.ready && !cluster_.gone(remote.node);
  pod.terminating = remote.told.terminating;
  pod.weight = remote.told.weight;
  services_->upsert(pod);
}

// One that is here as well is here.
void Publisher::tell_remote_pod(const model::ObjectKey& key) {
  if (service_pods_.contains(key)) return;
  const auto told = others_->named({key.namespace_, key.name});
  if (told.empty()) return services_->erase_pod(key);
  tell_remote_pod(told.front());
}

// A pod as the walk over all meets it: what several nodes tell of one is looked at together.
void Publisher::tell_walked_pod(const cluster::ToldPod& pod) {
  const model::ObjectKey key{pod.name.namespace_, pod.name.name};
  if (!others_->told_once(pod.name))
    tell_remote_pod(key);
  else if (!service_pods_.contains(key))
    tell_remote_pod(pod);
}

// Each look at one unpacks the list that it stands in: for many they are walked once.
void Publisher::tell_changed_pods() {
  constexpr std::size_t many = 512;
  auto changed = std::exchange(changed_.pods, {});
  if (changed.size() >= many)
    others_->each([&](const cluster::ToldPod& pod) {
      if (changed.erase({pod.name.namespace_, pod.name.name}) != 0) tell_walked_pod(pod);
    });
  for (const auto& key : changed) tell_remote_pod(key);
}

// The service compiler is told of those pods alone that are some Service's: of tens of thousands most are not.
void Publisher::look_at_selectors() {
  if (!std::exchange(selectors_changed_, false) && !changed_.peers && !changed_.all) return;
  std::set<control::IdentityId> selected;
  for (const auto* identities : {&others_->identities(), &others_->host_identities()})
    for (const auto& [id, pods] : *identities)
      if (const auto* identity = compiler_->identities().find(id);
          identity != nullptr &&
          services_->any_selects(control::namespace_of(identity->labels), control::pod_labels_of(identity->labels)))
        selected.insert(id);
  std::set<control::IdentityId> other;
  std::ranges::set_symmetric_difference(selected, selected_, std::inserter(other, other.end()));
  selected_ = std::move(selected);
  if (other.empty() || changed_.all) return;
  others_->each([&](const cluster::ToldPod& pod) {
    if (other.contains(pod.told.identity)) changed_.pods.insert({pod.name.namespace_, pod.name.name});
  });
}

void Publisher::tell_remote_pods() {
  if (!cluster_.known || others_ == nullptr) return;
  look_at_selectors();
  tell_changed_pods();
  if (!changed_.all) return;
  others_->each([&](const cluster::ToldPod& pod) { tell_walked_pod(pod); });
  services_->set_unheard({});
}

Result<void> Publisher::publish_others() {
  if (others_need_compile()) return publish();
  tell_remote_pods();
  WEFT_TRY(const auto delta, compile_services(Fit::what_fits));
  const bool targets = redirect_targets_ != services_->redirect_targets();
  compile_announcements();
  compiled_.rows.config = config_now();
  ++service_revision_;
  const auto remotes = remote_rows();
  auto applied = parts_.tables.apply(delta, compiled_.rows.announced, compiled_.rows.config, remotes);
  if (!applied) services_->hold_replaced();
  if (!applied && applied.error().code != ErrorCode::io) return applied;
  changed_ = {};
  return targets ? publish() : serve_left_out(std::move(applied));
}

// What other nodes have told is in the maps, for as long as the machine runs: an agent that starts while etcd is away
// goes on with it, also where pods elsewhere stand behind Services.
void Publisher::keep_of_nodes(datapath::DesiredRows& rows) {
  if (!cluster_.clustered || cluster_.known) return;
  auto kept = parts_.tables.of_nodes();
  if (!std::exchange(unheard_told_, true)) {
    std::unordered_set<IpAddress> unheard;
    parts_.tables.each_remote([&](const weft_addr& address) { unheard.insert(datapath::from_abi(address)); });
    services_->set_unheard(std::move(unheard));
  }
  rows.nodes = std::move(kept.nodes);
  // A device that was made anew meanwhile has another number, and the former one may be anybody's.
  for (auto& [number, node] : rows.nodes)
    if (node.way == WEFT_WAY_WIREGUARD &&
        std::ranges::find(cluster_.wireguard, node.ifindex) == cluster_.wireguard.end())
      node.ifindex = cluster_.wireguard.size() == 1 ? cluster_.wireguard.front() : 0;
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
  for (const auto& key : objects)
    brought_ = std::max(brought_, changes_services_only(key.kind) ? Changed::services : Changed::all);
  return std::exchange(brought_, Changed::nothing);
}

}  // namespace weft::agent
