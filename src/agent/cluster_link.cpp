#include "agent/cluster_link.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/address_pools.h"
#include "agent/external_addresses.h"
#include "agent/node_settings.h"
#include "base/utc_text.h"
#include "sources/etcd/grpc_client.h"
#include "sys/system.h"

namespace weft::agent {
namespace {

using nlohmann::json;

constexpr std::size_t most_taken = 64;
constexpr auto patience = std::chrono::seconds(3);  // before being away is a fault

// Names of what the store keeps (docs/state.md).
constexpr std::string_view stored_boot = "cluster-boot";
constexpr std::string_view stored_kept = "cluster-kept";  // "true": others know that this node is to be kept
constexpr std::string_view stored_underlay = "cluster-underlay";
constexpr std::string_view stored_numbers = "cluster-node-numbers";

Result<std::string> trimmed_file(const std::string& path) {
  WEFT_TRY(auto text, sys::read_file(path));
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ' || text.back() == '\r')) text.pop_back();
  return text;
}

// What the store holds is this program's own; a row that is damaged counts as none.
json stored_json(store::Store& store, std::string_view name) {
  const auto text = store.get(name);
  if (!text || !*text) return json();
  return json::parse(**text, nullptr, false);
}

weft_way way_of(Config::Tunnel tunnel) {
  switch (tunnel) {
    case Config::Tunnel::vxlan:
      return WEFT_WAY_VXLAN;
    case Config::Tunnel::geneve:
      return WEFT_WAY_GENEVE;
    case Config::Tunnel::ipip:
      return WEFT_WAY_IPIP;
    case Config::Tunnel::none:
      break;
  }
  return WEFT_WAY_NONE;
}

}  // namespace

ClusterLink::ClusterLink(asio::io_context& loop, const Config& config, store::Store& store, Faults& faults,
                         Handlers handlers)
    : config_(config),
      store_(store),
      faults_(faults),
      handlers_(std::move(handlers)),
      scheduler_(loop),
      own_(config, store, faults, scheduler_, [this] { handlers_.blocks(); }),
      others_(config) {
  if (auto pool = default_pool(config); !pool.ranges.empty()) pools_.push_back(std::move(pool));
}

ClusterLink::~ClusterLink() = default;

Result<std::unique_ptr<ClusterLink>> ClusterLink::open(asio::io_context& loop, const Config& config,
                                                       store::Store& store, Faults& faults, const Node& node,
                                                       Handlers handlers, EncryptionOffer offer) {
  std::unique_ptr<ClusterLink> link(new ClusterLink(loop, config, store, faults, std::move(handlers)));
  link->offer_ = std::move(offer);
  const auto numbers = stored_json(store, stored_numbers);
  if (numbers.is_object())
    for (const auto& [name, number] : numbers.items())
      if (number.is_number_unsigned()) link->stored_numbers_.emplace(name, number.get<std::uint32_t>());
  link->numbers_ = control::NodeNumbers(link->stored_numbers_);
  const auto* store_name = link->on_kubernetes() ? "store: kubernetes" : "store: etcd";
  if (auto made = link->connect_store(loop); !made) return fail(made.error().in(store_name));
  if (auto connected = link->connect(node); !connected) return fail(connected.error().in(store_name));
  return link;
}

Result<cluster::MemberOptions> ClusterLink::member_options(const Node& node) const {
  cluster::MemberOptions options;
  options.cluster = config_.cluster;
  options.lease = std::chrono::seconds(config_.lease_seconds);
  options.delay = std::chrono::seconds(config_.reclaim_seconds);
  options.round = cluster::collector_interval(options.delay);
  // On Kubernetes the operators end sessions, too: there is always one.
  options.stands_in = config_.operator_use == Config::OperatorUse::automatic && !on_kubernetes();
  options.self.name = config_.node;
  WEFT_TRY(options.self.boot_id, trimmed_file("/proc/sys/kernel/random/boot_id"));
  WEFT_TRY(const auto before, store_.get(stored_boot));
  if (before && *before != options.self.boot_id) options.self.predecessor = *before;
  WEFT_CHECK(store_.set(stored_boot, options.self.boot_id));
  WEFT_TRY(const auto kept, store_.get(stored_kept));
  options.self.kept_before = kept == "true";
  // Before others hear that it is no longer to be.
  if (!config_.edge && options.self.kept_before) WEFT_CHECK(store_.set(stored_kept, "false"));
  options.self.record = record(node);
  // One that cannot be read is none: others that have this boot id are told apart by the addresses of now.
  if (const auto addresses = stored_json(store_, stored_underlay); addresses.is_array())
    for (const auto& text : addresses)
      if (const auto address = IpAddress::parse(text.is_string() ? text.get<std::string>() : ""); address)
        options.self.underlay_before.insert(*address);
  options.self.clock = [] {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(now).count());
  };
  if (auto pool = default_pool(config_); !pool.ranges.empty()) options.pools.push_back(std::move(pool));
  options.remembered = own_.remembered();
  return options;
}

Result<void> ClusterLink::connect(const Node& node) {
  told_ = record(node);
  WEFT_TRY(const auto options, member_options(node));
  remember_underlay();
  WEFT_CHECK(cluster::validate(options));
  const auto random = etcd::system_random();
  cluster::MemberHandlers handlers;
  handlers.nodes = [this](const cluster::NodeDifference& difference) {
    hear_clocks(difference);
    for (const auto& text : removed_.heard(difference, std::chrono::system_clock::now())) spdlog::info("{}", text);
    nodes_changed();
  };
  handlers.block_owners = [this] { nodes_changed(); };
  handlers.endpoints = [this](const cluster::EndpointDifference& difference) { pods_changed(difference); };
  handlers.announcers = [this] { handlers_.announcers(); };
  handlers.blocks = [this] { own_.changed(); };
  handlers.blocks_lost = [this](const std::vector<cluster::Block>& blocks) { own_.lost(blocks); };
  handlers.identities = [this](const cluster::IdentityDifference& difference) { identities_changed(difference); };
  handlers.renumbered = [this](const LabelMap& labels, cluster::IdentityNumber before, cluster::IdentityNumber now) {
    spdlog::warn("identity {} is {} now: {}", before, now,
                 now < before ? "two nodes had numbered its labels at once, and the lower one counts"
                              : "this node was away for so long that the cluster gave its number up");
    handlers_.identities({.set = {{now, labels}}, .gone = {}}, false);
    pods_.peers = true;
    others_changed();
  };
  handlers.joined = [this] {
    since_ = std::chrono::system_clock::now();
    why_away_.clear();
    refused_.clear();
    heard_ = false;
    deaf_.reset();
    faults_.clear("cluster");
    faults_.clear("cluster name");
    spdlog::info("joined cluster {} as {}", config_.cluster, config_.node);
    if (config_.edge)
      if (auto stored = store_.set(stored_kept, "true"); !stored)
        spdlog::warn("remembering that this node is to be kept: {}", stored.error().message);
    claims_of_addresses_->membership_changed();
    own_.changed();
  };
  handlers.left = [this](const etcd::Failure& why) {
    claims_of_addresses_->membership_changed();
    left_ = true;
    since_ = deaf_ ? deaf_->since : std::chrono::system_clock::now();
    away_since_ = deaf_ ? deaf_->at : std::chrono::steady_clock::now();
    why_away_ = why.to_error().message;
    remedy_ = why.to_error().hint;
  };
  handlers.refused = [this](const Error& error) {
    refused_ = error.message;
    faults_.clear("cluster");
    faults_.set("cluster name", error.message, error.hint);
  };
  handlers.trouble = [this](const Error& error) {
    if (why_away_ != error.message)
      spdlog::log(joined() ? spdlog::level::warn : spdlog::level::debug, "what nodes share: {}", error.message);
    why_away_ = error.message;
    remedy_ = error.hint;
  };
  const auto trouble = handlers.trouble;
  member_ = std::make_unique<cluster::Member>(*client_, scheduler_, random, options, std::move(handlers));
  own_.follow(*member_);
  member_->endpoints().believe([this](const std::string& name, const IpAddress& address, bool host_network) {
    return others_.owns(name, address, host_network);
  });
  claims_of_addresses_ = std::make_unique<cluster::AddressClaims>(
      cluster::Context{.client = *client_,
                       .scheduler = scheduler_,
                       .random = random,
                       .keys = cluster::Keyspace::make(config_.cluster).value(),
                       .lease = options.lease},
      member_->registry(), cluster::AddressClaimHandlers{.changed = [this] { nodes_changed(); }, .trouble = trouble});
  return {};
}

cluster::NodeRecord ClusterLink::record(const Node& node) const {
  cluster::NodeRecord record;
  record.underlay = node.underlay();
  record.mode = to_string(config_.tunnel);
  record.mtu = node.pod_mtu;
  for (const auto& [family, gateway] : gateways()) record.gateways.push_back(gateway);
  record.zone = config_.zone;
  record.labels = config_.labels();
  record.keep = config_.edge;
  for (const auto& [index, uplink] : node.uplinks) {
    record.macs.push_back(uplink.mac);
    record.uplinks.push_back(uplink.name);
  }
  record.taken = taken_addresses(node);
  std::ranges::sort(record.macs);
  std::ranges::sort(record.uplinks);
  std::ranges::sort(record.taken);
  // Others keep all of them; a node with that many neighbours by hand tells none.
  if (record.taken.size() > most_taken) record.taken.clear();
  record.wireguard = offer_.keys;
  record.settled = offer_.keys.empty() ? 0 : offer_.settled;
  record.settings = shared_settings(config_);
  return record;
}

// By these the next run knows what this one leaves in etcd for its own.
void ClusterLink::remember_underlay() {
  if (told_.underlay.empty()) return;
  auto texts = json::array();
  for (const auto& address : told_.underlay) texts.push_back(address.to_string());
  if (auto stored = store_.set(stored_underlay, texts.dump()); !stored)
    spdlog::warn("remembering this node's addresses: {}", stored.error().message);
}

void ClusterLink::tell(const Node& node) {
  auto now = record(node);
  if (now == told_) return;
  const bool moved = now.underlay != told_.underlay;
  told_ = now;
  if (moved) remember_underlay();
  member_->registry().update(std::move(now));
}

void ClusterLink::tell(const Node& node, EncryptionOffer offer) {
  offer_ = std::move(offer);
  tell(node);
}

void ClusterLink::tell(cluster::SharedEndpoints pods) { member_->endpoint_publisher().publish(std::move(pods)); }

void ClusterLink::tell(cluster::Enforcement enforcement) {
  member_->enforcement_publisher().publish(std::move(enforcement));
}

// --- Numbers -------------------------------------------------------------------------------------

void ClusterLink::acquire(const LabelMap& labels, Done done) {
  member_->identities().acquire(
      labels, [this, labels, done = std::move(done)](const Result<cluster::IdentityNumber>& number) {
        if (!number) return done(fail(number.error()));
        handlers_.identities({.set = {{*number, labels}}, .gone = {}}, false);  // the mirror may be later
        done({});
      });
}

void ClusterLink::release(const LabelMap& labels) { member_->identities().release(labels); }

void ClusterLink::need(const std::set<LabelMap>& labels) {
  for (auto entry = needs_.begin(); entry != needs_.end();) {
    auto& [known, use] = *entry;
    use.wanted = labels.contains(known);
    // What has not been answered is released when it is.
    if (use.wanted || !use.answered) {
      ++entry;
      continue;
    }
    release(known);
    entry = needs_.erase(entry);
  }
  for (const auto& each : labels) {
    if (!needs_.try_emplace(each).second) continue;
    acquire(each, [this, each](const Result<void>& acquired) {
      const auto use = needs_.find(each);
      if (use == needs_.end()) return;
      if (!acquired) spdlog::warn("no identity for {}: {}", fmt::join(to_texts(each), ", "), acquired.error().text());
      use->second.answered = acquired.has_value();
      if (!acquired || !use->second.wanted) {
        if (acquired) release(each);
        needs_.erase(use);
      }
      pods_.peers = true;  // it may be that of an endpoint here
      others_changed();
    });
  }
}

void ClusterLink::identities_changed(const cluster::IdentityDifference& difference) {
  if (std::exchange(identities_whole_, true))
    handlers_.identities(difference, false);
  else
    handlers_.identities({.set = member_->identities().all(), .gone = {}}, true);
  meaning_changed(difference);
  others_changed();
}

void ClusterLink::meaning_changed(const cluster::IdentityDifference& difference) {
  pods_.peers = true;
  for (const auto& [number, labels] : difference.set) other_meaning_.insert(number);
  other_meaning_.insert(difference.gone.begin(), difference.gone.end());
}

// --- Others --------------------------------------------------------------------------------------

void ClusterLink::others_changed() { handlers_.others(); }

void ClusterLink::hear_clocks(const cluster::NodeDifference& difference) {
  const auto now = std::chrono::system_clock::now();
  // What was missed while this node was away comes late.
  const bool news = joined() && now - since_ > std::chrono::seconds(config_.lease_seconds);
  for (const auto& name : difference.gone) clocks_.gone(name);
  for (const auto& [name, node] : difference.set)
    if (node.record && name != config_.node) clocks_.heard(name, node.record->written, now, news);
}

void ClusterLink::nodes_changed() {
  plan_due_ = true;
  belief_due_ = true;
  others_changed();
}

// So many at once are most of them: lists of them take more memory than they save work.
constexpr std::size_t many_addresses = 2000;

void ClusterLink::pods_changed(const cluster::EndpointDifference& difference) {
  for (const auto& [node, pods] : difference.nodes) {
    if (node == config_.node) continue;
    unlooked_.insert(node);
    for (const auto& pod : pods.gone) pods_.pods.insert({pod.namespace_, pod.name});
    // All of them are looked at, those that are gone by name.
    if (pods_.all) continue;
    pods_.addresses.insert(pods.left.begin(), pods.left.end());
    for (const auto& [pod, told] : pods.set) {
      pods_.pods.insert({pod.namespace_, pod.name});
      pods_.addresses.insert(told.addresses.begin(), told.addresses.end());
    }
    if (pods_.addresses.size() < many_addresses) continue;
    pods_.all = true;
    pods_.addresses.clear();
  }
  others_changed();
}

bool ClusterLink::joined() const { return member_->registry().membership().has_value(); }

bool ClusterLink::synced() const {
  return member_->registry().synced() && member_->blocks().synced() && member_->endpoints().synced() &&
         member_->identities().synced() && claims_of_addresses_->synced();
}

// What is believed of the others follows from nodes, blocks and pools; of whom it changed, the pods are looked at
// again.
void ClusterLink::believe() {
  if (!std::exchange(belief_due_, false)) return;
  for (const auto& node : others_.take({member_->registry().nodes(), member_->blocks().owners(), pools_})) {
    unlooked_.insert(node);
    for (const auto& [name, pod] : pods().pods_of(node)) {
      pods_.pods.insert({name.namespace_, name.name});
      pods_.addresses.insert(pod.addresses.begin(), pod.addresses.end());
    }
  }
}

void ClusterLink::set_pools(std::vector<cluster::Pool> pools) {
  member_->blocks().pools_changed(pools_held_ ? pools : std::vector<cluster::Pool>());
  if (pools == pools_) return;
  pools_ = std::move(pools);
  nodes_changed();
}

void ClusterLink::hold_pools(bool held) {
  if (std::exchange(pools_held_, held) != held)
    member_->blocks().pools_changed(held ? pools_ : std::vector<cluster::Pool>());
}

// What a node tells that is not believed may be so because other news are on their way: it is a fault once it lasts.
void ClusterLink::look_at_others() {
  if (!synced()) return;
  believe();
  for (const auto& node : std::exchange(unlooked_, {})) {
    auto told = others_.left_out(node);
    if (const auto pods_told = others_.pods_left_out(node, pods()); !pods_told.empty())
      told += (told.empty() ? "" : ", ") + pods_told;
    if (told.empty())
      left_out_.erase(node);
    else
      left_out_.try_emplace(node, std::chrono::steady_clock::now(), "").first->second.second = std::move(told);
  }
  constexpr std::size_t most = 8;
  std::map<std::string, std::string> faults;
  std::size_t count = 0;
  for (const auto& [node, since_and_text] : left_out_)
    if (std::chrono::steady_clock::now() - since_and_text.first >= patience && ++count <= most)
      faults.emplace("addresses of node " + node,
                     fmt::format("node {} tells addresses that are not its own and count for nothing here: {}", node,
                                 since_and_text.second));
  if (count > most)
    faults.emplace("addresses of nodes", fmt::format("{} more nodes tell addresses that are not their own (weft node "
                                                     "list names them)",
                                                     count - most));
  faults_.replace("addresses of node", faults);
}

// Nodes that are as they were because what they tell now is not understood.
void ClusterLink::look_at_records() {
  constexpr std::size_t most = 8;
  std::map<std::string, Fault> faults;
  for (const auto& [name, node] : member_->registry().nodes())
    if (!node.wrong.empty() && faults.size() < most)
      faults["record of node " + name] = {
          fmt::format("what node {} tells of itself in {} is not understood: {}; {}", name, store_name(), node.wrong,
                      node.record ? "what it told before counts" : "its pods are not reached"),
          "a weftd of a later version may run there: update the one here; what was written by hand is written again by "
          "that node's weftd while it runs"};
  faults_.replace("record of node", faults);
}

control::RemoteNodes ClusterLink::remote_nodes(const std::map<std::string, std::uint32_t>& wireguard) const {
  control::RemoteNodes nodes;
  for (const auto& [name, node] : others_.all()) {
    auto& remote = nodes[name];
    remote.underlay = node.underlay;
    remote.gateways = node.gateways;
    remote.blocks = node.blocks;
    if (const auto device = wireguard.find(name); device != wireguard.end()) remote.wireguard = device->second;
  }
  return nodes;
}

std::map<std::string, EncryptionPeer> ClusterLink::encryption_peers() {
  believe();
  std::map<std::string, EncryptionPeer> peers;
  for (const auto& [name, other] : others_.all()) {
    const auto& node = member_->registry().nodes().at(name);
    peers[name] = {.alive = node.alive.has_value(),
                   .underlay = other.underlay,
                   .gateways = other.gateways,
                   .blocks = other.blocks,
                   .keys = node.record->wireguard,
                   .settled = node.record->settled};
  }
  return peers;
}

control::NodeSelf ClusterLink::self(const Node& node) const {
  control::NodeSelf self;
  self.underlay = node.underlay();
  for (const auto& [family, gateway] : gateways()) self.gateways.push_back(gateway);
  self.networks = node.subnets;
  self.mtu = node.uplink_mtu;
  self.tunnel = way_of(config_.tunnel);
  self.cross_subnet = config_.tunnel_scope == Config::TunnelScope::cross_subnet;
  self.overhead_v4 = config_.tunnel_overhead(true);
  self.overhead_v6 = config_.tunnel_overhead(false);
  self.encrypts = config_.encrypts();
  self.strict = config_.encryption_strict;
  self.wireguard_overhead_v4 = Config::wireguard_overhead(true);
  self.wireguard_overhead_v6 = Config::wireguard_overhead(false);
  self.pod_ranges = config_.pod_cidrs;
  return self;
}

ClusterLink::News ClusterLink::news(const Node& node, const NodesSeen& seen, const ClusterView& have) {
  News news;
  if (!synced()) {
    if (!have.clustered) news.view = ClusterView{.clustered = true};
    return news;
  }
  believe();
  news.pods = std::exchange(pods_, {});
  if (const auto revision = pods().identities_revision(); std::exchange(peers_revision_, revision) != revision)
    news.pods.peers = true;
  if (!have.known) news.pods.all = true;
  const auto meaning = std::exchange(other_meaning_, {});
  if (have.known && !meaning.empty())
    pods().each([&](const cluster::ToldPod& pod) {
      if (meaning.contains(pod.told.identity)) news.pods.pods.insert({pod.name.namespace_, pod.name.name});
    });
  auto now = self(node);
  news.nodes = std::exchange(plan_due_, false);
  if (!news.nodes && now == planned_for_ && seen == planned_by_ && have.known) return news;
  planned_for_ = std::move(now);
  planned_by_ = seen;
  auto view = planned(have);
  if (!have.known || !(view.plan == have.plan) || view.nodes != have.nodes ||
      view.egress_holders != have.egress_holders)
    news.view = std::move(view);
  return news;
}

ClusterView ClusterLink::planned(const ClusterView& have) {
  ClusterView view{.clustered = true,
                   .known = true,
                   .nodes = {},
                   .egress_holders = claims_of_addresses_->holders(),
                   .plan = control::plan_nodes(planned_for_, remote_nodes(planned_by_.wireguard), numbers_),
                   .overlay_ifindex = have.overlay_ifindex,
                   .wireguard = have.wireguard};
  if (numbers_.all() != stored_numbers_) {
    // Before a flow names a node by it.
    if (auto stored = store_.set(stored_numbers, json(numbers_.all()).dump()); stored) stored_numbers_ = numbers_.all();
  }
  for (const auto& [name, known] : member_->registry().nodes())
    if (known.record)
      view.nodes[name] = {.labels = known.record->labels,
                          .underlay = known.record->underlay,
                          .uplinks = known.record->uplinks,
                          .alive = known.alive.has_value(),
                          .answers = !planned_by_.silent.any.contains(name),
                          .gone = (!known.alive || planned_by_.cut_off) && planned_by_.silent.pods.contains(name),
                          .self = name == config_.node};
  return view;
}

void ClusterLink::forget_node(const std::string& name, Done done) {
  if (member_->registry().nodes().empty())
    return done(fail(ErrorCode::unavailable,
                     fmt::format("node {}: which nodes cluster {} has is not known yet, it was told nothing "
                                 "since its agent was started",
                                 name, config_.cluster),
                     "ask on another node, or try again once weft status says that it is joined"));
  const auto known = member_->registry().nodes().find(name);
  if (known == member_->registry().nodes().end() || !known->second.record)
    return done(fail(ErrorCode::not_found, fmt::format("no node {} in cluster {}", name, config_.cluster),
                     "weft node list shows those there are"));
  const auto alive = [name] {
    return fail(ErrorCode::denied, fmt::format("node {} is alive", name),
                "stop weftd there first (weftd --cleanup takes away what it put into the kernel)");
  };
  if (known->second.alive) return done(alive());
  const auto keys = cluster::Keyspace::make(config_.cluster).value();
  client_->txn({.compare = {etcd::Compare::absent(keys.build(cluster::AliveKey{name}))},
                .then = {etcd::EraseRequest{etcd::Keys::one(keys.build(cluster::NodeKey{name}))}},
                .otherwise = {}},
               {}, [alive, done = std::move(done)](const etcd::Outcome<etcd::TxnResult>& outcome) {
                 if (!outcome) return done(fail(outcome.error().to_error()));
                 done(outcome->succeeded ? Result<void>() : Result<void>(alive()));
               });
}

// --- Status --------------------------------------------------------------------------------------

void ClusterLink::check() {
  own_.check();
  look_at_others();
  look_at_records();
  listen();
  // Whom another agent keeps out has etcd.
  if (!deaf_ && (joined() || !refused_.empty())) return faults_.clear("cluster");
  if (std::chrono::steady_clock::now() - (deaf_ ? deaf_->at : away_since_) < patience) return;
  faults_.set("cluster",
              fmt::format("{}; {}", absence(),
                          forgotten() ? "for longer than reclaim_seconds: nodes that have it have forgotten this one"
                                      : "traffic goes on, changes wait"),
              remedy_);
}

std::optional<Absence> ClusterLink::forgotten() const {
  // Whom the others keep, and whom another agent keeps out; and who has not joined does not know since when.
  if (config_.edge || !refused_.empty() || joined() || !left_) return std::nullopt;
  const auto reclaim = std::chrono::seconds(config_.reclaim_seconds);
  if (std::chrono::steady_clock::now() - away_since_ < reclaim) return std::nullopt;
  return Absence{.since = since_, .reclaim = reclaim};
}

// A connection that breaks ends the watches at once, and the lease only when nothing has kept it alive for its time.
void ClusterLink::listen() {
  const auto& registry = member_->registry();
  if (registry.hears()) {
    heard_ = true;
    deaf_.reset();
  } else if (heard_ && registry.synced() && !deaf_) {
    deaf_ = Deaf{std::chrono::steady_clock::now(), std::chrono::system_clock::now()};
  }
}

bool ClusterLink::is_node(const MacAddress& mac) const {
  return std::ranges::any_of(member_->registry().nodes(), [&](const auto& entry) {
    const auto& [name, node] = entry;
    return name != config_.node && node.record && std::ranges::find(node.record->macs, mac) != node.record->macs.end();
  });
}

}  // namespace weft::agent
