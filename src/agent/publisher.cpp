#include "agent/publisher.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "agent/address_pools.h"
#include "agent/bgp_input.h"
#include "agent/external_addresses.h"
#include "agent/host_ports.h"
#include "agent/label_limit.h"
#include "agent/object_names.h"
#include "agent/out_of_range.h"
#include "agent/spoken_for.h"
#include "control/services/assignment_text.h"

namespace weft::agent {
namespace {

bool asks_by_name(const model::Service& service) {
  return !service.cluster_ips.empty() || !service.load_balancer_ips.empty() || service.health_check_node_port != 0 ||
         std::ranges::any_of(service.ports, [](const auto& port) { return port.node_port != 0; });
}

control::ServiceOptions service_options(const Config& config, const datapath::ServiceTables& tables) {
  control::ServiceOptions options;
  options.cluster_cidrs = config.service_cidrs;
  options.node_port_min = config.node_port_min;
  options.node_port_max = config.node_port_max;
  options.lb_port_min = config.lb_port_min;
  options.lb_port_max = config.lb_port_max;
  options.max_frontends = tables.frontend_capacity();
  options.max_source_ranges = tables.source_range_capacity();
  options.max_backends = static_cast<std::uint32_t>(tables.backends().size());
  options.max_services = static_cast<std::uint32_t>(tables.service_states().size());
  options.max_slots = static_cast<std::uint32_t>(tables.slots().size());
  if (config.objects == Config::ObjectSource::kubernetes)
    options.unasked = "weft-operator has given it none; kubectl describe service says why";
  options.algorithm = config.service_algorithm;
  options.forwarding = config.service_forwarding;
  options.maglev_table_size = config.maglev_table_size;
  options.hash_seed = config.service_hash_seed;
  return options;
}

std::map<std::string, std::uint32_t> classes_of(const std::optional<std::string>& text) {
  std::map<std::string, std::uint32_t> classes;
  if (!text) return classes;
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  if (json.is_object())
    for (const auto& [key, value] : json.items())
      if (value.is_number_unsigned()) classes[key] = value.get<std::uint32_t>();
  return classes;
}

}  // namespace

Result<std::unique_ptr<Publisher>> Publisher::open(Parts parts, std::uint32_t highest_class,
                                                   std::vector<std::string>& notes) {
  std::unique_ptr<Publisher> publisher(new Publisher(parts));
  WEFT_TRY(publisher->stored_numbers_, parts.store.numbers());
  WEFT_TRY(publisher->stored_classes_, parts.store.get("policy-classes"));
  publisher->compiler_.emplace(parts.config, publisher->stored_numbers_, classes_of(publisher->stored_classes_),
                               highest_class);
  WEFT_TRY(auto assignments, publisher->stored_assignments(notes));
  for (const auto& [service, held] : assignments)
    if (!out_of_range(held, parts.config).empty()) publisher->held_out_of_range_.push_back(service);
  const auto& tables = parts.tables.services();
  publisher->services_ =
      std::make_unique<control::ServiceCompiler>(service_options(parts.config, tables), std::move(assignments));
  const auto frontends = tables.present_frontends();
  // What nobody uses is not mapped.
  std::size_t used = 0;
  for (const auto& [key, row] : frontends)
    used = std::max({used, std::size_t{row.first_slot} + row.slot_count,
                     std::size_t{row.external_first_slot} + row.external_slot_count});
  std::vector<std::uint32_t> slots(std::min(used, tables.slots().size()));
  for (std::size_t i = 0; i < slots.size(); ++i) slots[i] = tables.slots()[i];
  std::vector<weft_backend> backends(tables.backends().size());
  WEFT_CHECK(tables.backends().for_each([&](std::uint32_t id, const weft_backend& row) {
    backends.at(id) = row;
    return true;
  }));
  publisher->services_->adopt(frontends, backends, slots);
  publisher->set_may_announce([present = parts.tables.announced()](const auto& key) { return present.contains(key); });
  WEFT_CHECK(publisher->read_services(notes));
  return publisher;
}

Result<control::ServiceAssignments> Publisher::stored_assignments(std::vector<std::string>& notes) const {
  control::ServiceAssignments assignments;
  WEFT_CHECK(parts_.store.each_assignment([&](model::ObjectKey service, const std::string& text) -> Result<void> {
    WEFT_TRY(const bool known, parts_.objects.contains({model::Kind::service, service}));
    if (!known) return {};
    if (auto assignment = control::assignment_from_text(text))
      assignments.emplace(std::move(service), std::move(*assignment));
    else
      notes.push_back(fmt::format("what Service {} holds is not understood and given anew: {}", service.to_string(),
                                  assignment.error().message));
    return {};
  }));
  return assignments;
}

// From the store, one at a time: only what the compiler makes of them is kept. What they hold is given, once all
// pools are known, and of load balancer addresses, which may be shared, once all Services are known too. A Service
// stored before its family or range was known, or whose row was damaged, is given the rest.
Result<void> Publisher::read_services(std::vector<std::string>& notes) {
  const auto assign = [&](const model::Service& service) {
    if (!parts_.config.gives_numbers()) return;
    if (auto assigned = services_->assign(service); !assigned)
      notes.push_back(fmt::format("Service {}: {}", service.meta.key().to_string(), assigned.error().message));
  };
  std::vector<model::ObjectKey> balanced;
  const auto see = [&](const model::Object& object) {
    object_changed({ChangeType::added, key_of(object), &object});
    const auto* service = std::get_if<model::Service>(&object);
    if (service == nullptr) return;
    if (service->type == model::Service::Type::load_balancer)
      balanced.push_back(service->meta.key());
    else
      assign(*service);
  };
  for (const auto& [key, pool] : parts_.objects.pools()) services_->upsert(pool);
  WEFT_CHECK(parts_.objects.visit(model::Kind::service, see, notes));
  WEFT_CHECK(parts_.objects.visit(model::Kind::endpoint_slice, see, notes));
  for (const auto& key : balanced) {
    WEFT_TRY(const auto service, parts_.objects.read_as<model::Service>({model::Kind::service, key}));
    if (!service) continue;
    const bool waited = services_->held(key).load_balancer_ips.empty();
    assign(*service);
    if (waited && !services_->held(key).load_balancer_ips.empty()) served_at_start_.push_back(key);
  }
  return {};
}

void Publisher::object_changed(const ObjectChange& change) {
  const auto& [kind, key] = change.key;
  const auto* object = change.object;
  switch (kind) {
    case model::Kind::service:
      object != nullptr ? upsert_service(std::get<model::Service>(*object)) : erase_service(key);
      facts_.changed(key, object == nullptr ? nullptr : std::get_if<model::Service>(object));
      break;
    case model::Kind::endpoint_slice:
      object != nullptr ? services_->upsert(std::get<model::EndpointSlice>(*object)) : services_->erase_slice(key);
      break;
    case model::Kind::load_balancer_pool:
      object != nullptr ? services_->upsert(std::get<model::LoadBalancerPool>(*object)) : services_->erase_pool(key);
      break;
    default:
      break;
  }
}

void Publisher::compile_announcements() {
  announcements_ = agent::announcements(parts_.objects, facts_, *services_, *node_, parts_.config, cluster_);
  auto& rows = compiled_.rows.announced;
  rows = announcements_.rows;
  std::erase_if(rows, [&](const auto& row) { return !may_announce_(row.first); });
}

weft_config Publisher::config_now() const {
  auto config = base_;
  if (services_->usage().frontends != 0) config.flags |= WEFT_CONFIG_SERVICES;
  if (services_->has_external()) config.flags |= WEFT_CONFIG_EXTERNAL;
  if (services_->has_host_backends()) config.flags |= WEFT_CONFIG_HOST_BACKENDS;
  if (!parts_.config.load_balancer_peers.empty()) config.flags |= WEFT_CONFIG_DECAPSULATE;
  if (!compiled_.rows.announced.empty()) config.flags |= WEFT_CONFIG_L2;
  if (!compiled_.rows.nodes.empty()) config.flags |= WEFT_CONFIG_NODES;
  if (!compiled_.rows.egress.empty()) config.flags |= WEFT_CONFIG_EGRESS;
  const auto tunnelled = [](const auto& row) { return row.second.way > WEFT_WAY_DIRECT; };
  if (std::ranges::any_of(compiled_.rows.nodes, tunnelled)) config.flags |= WEFT_CONFIG_TUNNEL;
  const auto by = [&](weft_way way) {
    return std::ranges::any_of(compiled_.rows.nodes, [way](const auto& row) { return row.second.way == way; });
  };
  if (by(WEFT_WAY_VXLAN)) config.flags |= WEFT_CONFIG_VXLAN;
  if (by(WEFT_WAY_GENEVE)) config.flags |= WEFT_CONFIG_GENEVE;
  if (speaks_bgp(parts_.objects, parts_.config)) config.flags |= WEFT_CONFIG_BGP;
  if (parts_.config.encrypts()) {
    config.wireguard_port = htons(parts_.config.wireguard_port);
    config.wireguard_next_port = htons(static_cast<std::uint16_t>(parts_.config.wireguard_port + 1));
  }
  if (parts_.config.tunnel == Config::Tunnel::vxlan) config.overlay_port = htons(parts_.config.tunnel_port);
  config.overlay_ifindex =
      cluster_.overlay_ifindex != 0 ? cluster_.overlay_ifindex : parts_.tables.config().overlay_ifindex;
  config.hash_seed = parts_.config.service_hash_seed;
  config.lb_port_min = parts_.config.lb_port_min;
  config.lb_port_max = parts_.config.lb_port_max;
  return config;
}

// The pods of this node, those in the node's own network included.
void Publisher::read_services_pods() {
  std::set<model::ObjectKey> seen;
  withheld_host_ports_.clear();
  const auto tell = [&](const control::ServicePod& pod) {
    seen.insert(pod.key);
    services_->upsert(pod);
  };
  for (const auto& live : compiled_.endpoints) {
    control::ServicePod pod;
    pod.key = live.pod();
    pod.labels = live.pod_labels;
    pod.ports = live.ports;
    pod.addresses = live.record.addresses;
    pod.ready = live.ready;
    pod.terminating = live.terminating;
    pod.weight = live.weight;
    for (const auto& port : live.ports)
      if (port.host_port != 0) pod.host_ports.push_back({port.host_ip, port.host_port, port.port, port.protocol});
    add_port_mappings(live.record.port_mappings, pod.host_ports);
    std::erase_if(pod.host_ports, [&](const control::HostPort& port) {
      const auto why = host_port_withheld(parts_.config, *node_, port.host_ip, port.host_port, port.protocol);
      if (!why.empty())
        withheld_host_ports_.push_back(fmt::format("{}/{} of pod {} {}", port.host_port, weft::to_string(port.protocol),
                                                   pod.key.to_string(), why));
      return !why.empty();
    });
    tell(pod);
  }
  for (const auto& [key, object] : parts_.objects.pods()) {
    if (!object.spec.host_network || object.finished || seen.contains(key) || !runs_here(object, parts_.config))
      continue;
    control::ServicePod pod;
    pod.key = key;
    pod.labels = object.meta.labels;
    pod.ports = ports_of(object);
    pod.addresses = node_->main_addresses();
    pod.ready = object.ready;
    pod.terminating = object.terminating;
    pod.weight = object.weight;
    tell(pod);
  }
  for (const auto& key : service_pods_)
    if (!seen.contains(key)) {
      services_->erase_pod(key);
      if (others_ != nullptr) changed_.pods.insert(key);  // it may be elsewhere now
    }
  service_pods_ = std::move(seen);
  tell_remote_pods();
  control::ServiceNode node{.name = parts_.config.node, .zone = parts_.config.zone};
  node.addresses.assign(node_->addresses.begin(), node_->addresses.end());
  node.taken = taken_addresses(*node_);
  for (const auto& [address, whose] : addresses_spoken_for(parts_.config, *node_, cluster_))
    node.withheld.push_back(address);
  node.withheld_ranges = parts_.config.pod_cidrs;
  node.withheld_ranges.insert(node.withheld_ranges.end(), parts_.config.service_cidrs.begin(),
                              parts_.config.service_cidrs.end());
  for (const auto& cidr : pod_pools()) node.withheld_ranges.push_back(cidr);
  services_->set_node(node);
}

void Publisher::mark_redirect_targets(datapath::DesiredRows& rows) const {
  for (const auto& live : compiled_.endpoints) {
    const bool target = services_->redirect_targets().contains(live.pod());
    const auto mark = [&](std::uint32_t& flags) {
      flags = target ? flags | WEFT_ENDPOINT_REDIRECT_TARGET
                     : flags & ~static_cast<std::uint32_t>(WEFT_ENDPOINT_REDIRECT_TARGET);
    };
    for (const auto& address : live.record.addresses)
      if (const auto row = rows.endpoints.find(datapath::to_abi(address)); row != rows.endpoints.end())
        mark(row->second.flags);
    if (const auto row = rows.netns.find(live.record.netns_cookie); row != rows.netns.end()) mark(row->second.flags);
  }
}

void Publisher::keep_waiting(const model::ObjectKey& service, const std::string& reason) {
  auto held = services_->held(service);
  held.load_balancer_ips.clear();
  services_->keep_waiting(service, held, reason);
}

// Addresses that waiting Services were given at the start go back when the maps have no room for them: a node whose
// maps are full starts as it went down.
Result<control::ServiceDelta> Publisher::compile_services(Fit fit) {
  auto delta = services_->compile(served_at_start_.empty() ? fit : Fit::all);
  if (!delta)
    for (const auto& key : served_at_start_) keep_waiting(key, delta.error().message);
  if (!delta && !served_at_start_.empty()) delta = services_->compile(fit);
  served_at_start_.clear();
  services_compiled_ = services_compiled_ || delta;
  return delta;
}

// What was freed is given out once the maps have forgotten it.
Result<void> Publisher::serve_left_out(Result<void> published) {
  constexpr int enough = 12;
  for (int round = 0; round < enough && published && services_->may_fit_more(); ++round)
    published = publish_services_once(Fit::what_fits);
  return published;
}

void Publisher::forget_views() {
  if (!services_compiled_) return;
  const auto delta = services_->compile(Fit::what_fits);
  if (delta && !parts_.tables.apply(*delta, compiled_.rows.announced, compiled_.rows.config))
    services_->hold_replaced();
}

Result<void> Publisher::publish(Fit fit) {
  ++compiles_;
  auto outcome = compiler_->compile(parts_.objects, *records_, *node_, cluster_, others_);
  if (!outcome) {
    compiler_->refused();
    return fail(outcome.error());
  }
  keep_of_nodes(outcome->rows);
  // Numbers first: a row in the kernel must never carry one that a restart would give to another.
  auto ready = store_numbers(false);
  if (ready) ready = parts_.tables.admit(outcome->rows);
  if (!ready) {
    compiler_->refused();
    return ready;
  }
  std::swap(compiled_, *outcome);
  note_own(*outcome, compiled_);
  read_services_pods();
  auto delta = compile_services(fit);
  if (!delta) {
    std::swap(compiled_, *outcome);
    compiler_->refused();
    return fail(delta.error());
  }
  mark_redirect_targets(compiled_.rows);
  redirect_targets_ = services_->redirect_targets();
  compile_announcements();
  compiled_.rows.config = config_now();
  ++service_revision_;
  compiled_.rows.remotes = remote_rows();
  auto applied = parts_.tables.apply(compiled_.rows, *delta);
  compiled_.rows.remotes = {};
  if (applied || applied.error().code == ErrorCode::io) changed_ = {};
  // Rows still owed are on their way: what is compiled holds.
  applied ? compiler_->written() : compiler_->owed();
  if (!applied) services_->hold_replaced();
  return serve_left_out(std::move(applied));
}

Result<void> Publisher::publish_services(Fit fit) { return serve_left_out(publish_services_once(fit)); }

Result<void> Publisher::publish_services_once(Fit fit) {
  tell_remote_pods();
  WEFT_TRY(const auto delta, compile_services(fit));
  compile_announcements();
  compiled_.rows.config = config_now();
  ++service_revision_;
  Result<void> applied;
  if (redirect_targets_ != services_->redirect_targets()) {
    redirect_targets_ = services_->redirect_targets();
    mark_redirect_targets(compiled_.rows);
    applied = parts_.tables.apply(compiled_.rows, delta);
  } else {
    applied = parts_.tables.apply(delta, compiled_.rows.announced, compiled_.rows.config);
  }
  if (!applied) services_->hold_replaced();
  return applied;
}

Result<void> Publisher::publish_kinds(bool services_only, Fit fit) {
  return services_only ? publish_services(fit) : publish(fit);
}

std::string Publisher::users_of(const std::string& pool) const {
  return pool_users_ ? pool_users_(pool) : std::string();
}

Result<void> Publisher::may_remove(const std::vector<store::StoredKey>& keys) const {
  for (const auto& key : keys) {
    if (key.kind != model::Kind::pod_address_pool) continue;
    if (const auto users = users_of(key.key.name); !users.empty())
      return fail(ErrorCode::exists,
                  fmt::format("PodAddressPool {} is in use: {}; nothing was deleted", key.key.name, users),
                  "delete the pods that have its addresses; those of deleted pods rest for quarantine_seconds, and "
                  "what a node has of a pool is given back by itself once nothing of it is used: try again then");
  }
  return {};
}

// All pools as they will be, those among the documents before those that are stored: each is looked at beside all
// others, in whichever order they come.
std::vector<Cidr> Publisher::pod_pools() const {
  std::vector<Cidr> all;
  for (const auto& [key, pool] : parts_.objects.address_pools())
    for (const auto& range : shared_pool(pool).ranges) all.push_back(range.cidr);
  return all;
}

Publisher::Pools Publisher::admit_pools(const std::vector<model::Document>& documents, std::vector<Refusal>& refusals) {
  Pools pools;
  std::set<store::StoredKey> given;
  PoolRules rules{parts_.config, *node_, cluster_, {}, {}, nullptr, {}};
  const auto take = [&](const model::Object& object) {
    if (const auto* balancer = std::get_if<model::LoadBalancerPool>(&object)) pools.balancers.push_back(balancer);
    if (const auto* pool = std::get_if<model::PodAddressPool>(&object)) rules.others.push_back(shared_pool(*pool));
  };
  for (const auto& document : documents) {
    given.insert(key_of(document.object));
    take(document.object);
  }
  for (const auto& [key, pool] : parts_.objects.pools())
    if (!given.contains({model::Kind::load_balancer_pool, key})) pools.balancers.push_back(&pool);
  for (const auto& [key, pool] : parts_.objects.address_pools())
    if (!given.contains({model::Kind::pod_address_pool, key})) rules.others.push_back(shared_pool(pool));
  for (const auto& pool : rules.others)
    for (const auto& range : pool.ranges) pools.pods.push_back(range.cidr);
  rules.balancers = pools.balancers;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    Result<void> allowed;
    if (const auto* balancer = std::get_if<model::LoadBalancerPool>(&documents[i].object)) {
      allowed = check_pool(*balancer, parts_.config, *node_, pools.pods);
      if (allowed) services_->upsert(*balancer);
    } else if (const auto* pool = std::get_if<model::PodAddressPool>(&documents[i].object)) {
      const auto before = parts_.objects.address_pools().find(pool->meta.key());
      rules.before = before == parts_.objects.address_pools().end() ? nullptr : &before->second;
      rules.users = rules.before == nullptr ? std::string() : users_of(pool->meta.name);
      allowed = check_address_pool(*pool, rules);
    }
    if (!allowed) refusals.push_back({i, allowed.error()});
  }
  return pools;
}

std::vector<Publisher::Refusal> Publisher::admit(std::vector<model::Document>& documents) {
  std::vector<Refusal> refusals;
  std::vector<const model::Service*> asking;
  for (const auto& document : documents)
    if (const auto* service = std::get_if<model::Service>(&document.object)) asking.push_back(service);
  const auto pools = admit_pools(documents, refusals);
  // None of what one of them names is given to one that takes any; those that name something go first.
  services_->speak_for(asking);
  std::vector<std::size_t> order(documents.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_partition(order, [&](std::size_t i) {
    const auto* service = std::get_if<model::Service>(&documents[i].object);
    return service != nullptr && asks_by_name(*service);
  });
  ExternalClaims claims(*services_, asking);
  for (const auto i : order)
    if (auto admitted = admit(documents[i], pools, claims); !admitted) refusals.push_back({i, admitted.error()});
  services_->speak_for({});
  std::ranges::sort(refusals, {}, &Refusal::document);
  return refusals;
}

Result<void> Publisher::admit(model::Document& document, const Pools& pools, ExternalClaims& claims) {
  WEFT_CHECK(check_spoken_for(document.object, parts_.config, *node_, cluster_));
  WEFT_CHECK(check_labels(document.object));
  auto* service = std::get_if<model::Service>(&document.object);
  if (service == nullptr) return {};
  const auto preferred = services_->own_status(*service);
  if (!preferred.empty()) {
    service->ingress.clear();
    document.json = model::without_status(document.json);
  }
  WEFT_CHECK(check_external_addresses(*service, parts_.config, *node_, pools.balancers, pools.pods));
  WEFT_CHECK(claims.take(*service));
  if (auto assigned = services_->assign(*service, preferred); !assigned) return fail(assigned.error());
  return {};
}

Publisher::Held Publisher::held(const std::vector<model::Document>& documents) const {
  Held before;
  for (const auto& document : documents) {
    const auto key = key_of(document.object);
    if (key.kind == model::Kind::service) before.services.emplace(key.key, services_->held(key.key));
    if (key.kind == model::Kind::load_balancer_pool) before.pools.push_back(key.key);
  }
  return before;
}

void Publisher::give_back(const Held& before) {
  const auto& pools = parts_.objects.pools();
  for (const auto& key : before.pools)
    if (const auto pool = pools.find(key); pool != pools.end())
      services_->upsert(pool->second);
    else
      services_->erase_pool(key);
  for (const auto& [service, assignment] : before.services) services_->restore(service, assignment);
}

Result<void> Publisher::store_assignments(const std::set<model::ObjectKey>& services) {
  store::AssignmentRows rows;
  for (const auto& key : services) {
    const auto held = services_->held(key);
    rows.emplace(key, held.empty() ? std::nullopt : std::optional(control::assignment_to_text(held)));
  }
  return parts_.store.write(rows, store::Sync::later);
}

// A new pool, or an address given back, may serve those that wait. Where not all of them fit into the maps they are
// served one by one, and the first that finds no room ends it: it and those behind it go on waiting.
Result<void> Publisher::serve_waiting() {
  const auto waited = services_->pending();
  const auto changed = services_->assign_pending();
  if (changed.empty()) return {};
  const auto fits = [](const Result<void>& published) { return published || published.error().code == ErrorCode::io; };
  auto published = publish_services(Fit::all);
  if (!fits(published)) {
    std::vector<std::pair<model::ObjectKey, control::ServiceAssignment>> given;
    for (const auto& key : changed) {
      if (!waited.contains(key)) continue;
      given.emplace_back(key, services_->held(key));
      keep_waiting(key, published.error().message);
    }
    published = publish_services();
    for (const auto& [key, assignment] : given) {
      if (!published) break;
      services_->restore(key, assignment);
      if (const auto one = publish_services(Fit::all); !fits(one)) {
        keep_waiting(key, one.error().message);
        published = publish_services();
        break;
      }
    }
  }
  WEFT_CHECK(store_assignments({changed.begin(), changed.end()}));
  return published;
}

Result<Publisher::Applied> Publisher::apply(const std::vector<model::Document>& documents, const Held& before) {
  std::set<model::ObjectKey> services;
  bool services_only = true;
  for (const auto& document : documents) {
    const auto key = key_of(document.object);
    services_only = services_only && changes_services_only(key.kind);
    if (key.kind == model::Kind::service) services.insert(key.key);
  }
  auto stored = store_assignments(services);
  Result<Objects::Applied> applied;
  if (stored) applied = parts_.objects.apply(documents);
  if (!stored || !applied) {
    give_back(before);
    (void)store_assignments(services);
    return fail(stored ? applied.error() : stored.error());
  }
  auto published = publish_kinds(services_only, Fit::all);
  if (!published && published.error().code != ErrorCode::io) {
    const auto restored = parts_.objects.restore(applied->before);
    give_back(before);
    (void)store_assignments(services);
    (void)publish_kinds(services_only);
    if (!restored)
      return fail(restored.error().in(published.error().message + "; what was there before could not be put back"));
    return fail(published.error().in("nothing was applied"));
  }
  if (auto waiting = serve_waiting(); !waiting) published = waiting;
  Applied result{std::move(applied->actions), {}};
  if (!published) result.owed = published.error();
  return result;
}

Result<std::optional<Error>> Publisher::remove(const std::vector<store::StoredKey>& keys) {
  bool services_only = true;
  std::set<model::ObjectKey> services;
  for (const auto& key : keys) {
    services_only = services_only && changes_services_only(key.kind);
    if (key.kind == model::Kind::service) services.insert(key.key);
  }
  WEFT_CHECK(may_remove(keys));
  WEFT_CHECK(parts_.objects.remove(keys));
  for (const auto& key : services) services_->forget(key);
  WEFT_CHECK(store_assignments(services));
  auto published = publish_kinds(services_only);
  if (auto waiting = serve_waiting(); !waiting) published = waiting;
  return published ? std::optional<Error>{} : std::optional(published.error());
}

Result<void> Publisher::set_healthy(const IpAddress& address, std::uint16_t port, Protocol protocol, bool healthy) {
  services_->set_healthy(address, port, protocol, healthy);
  return publish_services();
}

Result<void> Publisher::store_numbers(bool force) {
  std::uint64_t mark = compiler_->rules().revision();
  for (const auto& [id, identity] : compiler_->identities().all()) mark = mark * 31 + id;
  for (const auto& [cidr, id] : compiler_->cidrs().all()) mark = mark * 31 + id;
  if (force || mark != numbers_mark_) {
    auto numbers = compiler_->numbers();
    const auto change = store::difference(stored_numbers_, numbers);
    if (!change.empty()) WEFT_CHECK(parts_.store.write(change));
    stored_numbers_ = std::move(numbers);
    numbers_mark_ = mark;
  }
  if (const auto revision = compiler_->class_revision(); revision != stored_class_revision_) {
    // Not written when it is there: a start that changes nothing needs no room on the disk.
    auto classes = nlohmann::json(compiler_->classes()).dump();
    if (classes != stored_classes_) WEFT_CHECK(parts_.store.set("policy-classes", classes));
    stored_classes_ = std::move(classes);
    stored_class_revision_ = revision;
  }
  return {};
}

}  // namespace weft::agent
