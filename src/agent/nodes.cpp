// The agent as one node of a cluster: what the shared state tells becomes blocks to allocate from, rows and routes;
// what runs here is told to the others.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/agent.h"
#include "agent/encryption.h"
#include "agent/ipam_time.h"
#include "agent/memory.h"
#include "agent/node_settings.h"
#include "agent/own_reason.h"
#include "api/params.h"
#include "base/utc_text.h"
#include "datapath/rows.h"

namespace weft::agent {
namespace {

// News of other nodes that come together are compiled together.
constexpr auto others_pace = std::chrono::milliseconds(20);
// One more block is asked for before the last address is gone.
constexpr std::uint64_t few_addresses = 4;

// `pod`: a LiveEndpoint, or a model::Pod that has the node's network.
cluster::SharedEndpoint shared(const auto& pod, const std::vector<IpAddress>& addresses, control::IdentityId identity,
                               const std::vector<model::ContainerPort>& ports) {
  cluster::SharedEndpoint told;
  told.addresses = addresses;
  told.identity = identity;
  for (const auto& port : ports) told.ports.push_back({port.name, port.port, port.protocol});
  told.ready = pod.ready;
  told.terminating = pod.terminating;
  told.weight = pod.weight;
  return told;
}

Error by_itself() {
  return {ErrorCode::unsupported, "this node is by itself: its store is embedded",
          "nodes that share an etcd (store: etcd) or an API server (store: kubernetes) know each other"};
}

Error no_encryption() {
  return {ErrorCode::unsupported, "this node does not encrypt: its encryption is none",
          "set encryption: wireguard (docs/nodes.md)"};
}

}  // namespace

Result<void> Agent::open_cluster() {
  if (config_.encrypts()) {
    WEFT_TRY(encryption_,
             Encryption::open({loop_, config_, *netlink_, *datapath_, faults_}, [this] { encryption_changed(); }));
  }
  WEFT_TRY(
      cluster_,
      ClusterLink::open(
          loop_, config_, *store_, faults_, node_,
          {.blocks = [this] { blocks_changed(); },
           .others = [this] { others_changed(); },
           .identities = [this](const cluster::IdentityDifference& difference,
                                bool whole) { compiler().learn(difference.set, difference.gone, whole); },
           .announcers =
               [this] {
                 if (duties_) duties_->agreed();
               },
           .own_reason = [this](const std::vector<std::string>& servers) { return own_reason(*netlink_, servers); }},
          encryption_ ? encryption_->offer() : EncryptionOffer()));
  cluster_->set_pools(pools_);
  node_routes_.emplace(*netlink_, faults_);
  overlay_.emplace(*netlink_, *datapath_, config_, faults_);
  attach_gate_.emplace(loop_, *cluster_);
  take_blocks();
  publisher_->set_others(cluster_->pods());
  publisher_->set_cluster({.clustered = true, .wireguard = encryption_devices()});
  if (config_.store == Config::Store::etcd)
    etcd_space_.emplace(cluster_->client(), cluster_->scheduler(), faults_,
                        fmt::format("{}", fmt::join(config_.etcd_endpoints, ", ")));
  node_health_.emplace(loop_, [this] { notice_silence(); });
  if (auto started = node_health_->start(); !started) note("asking the other nodes: " + started.error().message);
  return {};
}

void Agent::blocks_changed() {
  take_blocks();
  ask_for_blocks();
  const auto now = ipam_->gateways();
  if (now != prepared_gateways_) {
    if (auto prepared = prepare_node(*netlink_, now); !prepared)
      return faults_.set("node", "gateway addresses: " + prepared.error().message);
    prepared_gateways_ = now;
    // Pods' routes name the gateway, and the kernel drops those of one that goes: that is no repair of somebody's
    // doing.
    if (attachment_)
      for (const auto& text : attachment_->heal_hosts().repaired) spdlog::debug("with the new gateway: {}", text);
    publisher_->set_base(base_config());
    refresh_node();
    cluster_->tell(node_);
  }
  compile_due_ = true;
  others_changed();
}

void Agent::ask_for_blocks() {
  if (!cluster_->joined()) return;
  const auto now = ipam_now();
  for (const auto& cidr : config_.pod_cidrs) {
    const auto family = cidr.family();
    const std::string pool(model::default_address_pool);
    const auto about = fmt::format("cluster pool {}", family == Family::v4 ? "IPv4" : "IPv6");
    if (ipam_->available(family, now) > few_addresses) {
      faults_.clear(about);
      continue;
    }
    if (cluster_->claims(pool, family)) continue;
    cluster_->claim(pool, family, [this, about](const Result<void>& claimed) {
      if (claimed) return faults_.clear(about);
      faults_.set(about, claimed.error().text());
    });
  }
}

void Agent::others_changed() {
  if (std::exchange(others_due_, true)) return;
  others_timer_.expires_after(others_pace);
  others_timer_.async_wait([this](const std::error_code& error) {
    if (error) return;
    others_due_ = false;
    take_others();
  });
}

void Agent::encryption_changed() {
  if (!cluster_) return;
  cluster_->tell(node_, encryption_->offer());
  others_changed();
}

std::vector<std::uint32_t> Agent::encryption_devices() const {
  return encryption_ ? encryption_->ifindexes() : std::vector<std::uint32_t>();
}

// Than those that the view was made with.
bool Agent::other_devices(const ClusterView& view) const {
  return view.overlay_ifindex != overlay_->ifindex() || view.wireguard != encryption_devices();
}

void Agent::take_others() {
  // Who is encrypted to follows from what is told of nodes, and from this one.
  if (encryption_ && cluster_->synced() && (compile_due_ || cluster_->nodes_told()))
    encryption_->take(node_, cluster_->encryption_peers());
  const NodesSeen seen{encryption_ ? encryption_->ways() : std::map<std::string, std::uint32_t>(), silent_nodes_,
                       cut_off_};
  auto news = cluster_->news(node_, seen, publisher_->cluster());
  if (!watchers_.empty())
    for (const auto& pod : news.pods.pods) tell_pod_modified(pod);
  const bool ways = news.view.has_value();
  if (ways) greet_returned(*news.view);
  if (ways || other_devices(publisher_->cluster())) {
    compile_due_ = true;
    auto view = ways ? ClusterView(std::move(*news.view)) : publisher_->cluster();
    view.overlay_ifindex = overlay_->ifindex();
    view.wireguard = encryption_devices();
    publisher_->set_cluster(std::move(view));
  }
  const bool many = news.pods.all || news.pods.addresses.size() >= many_items;
  publisher_->others_changed(std::move(news.pods));
  parties_elsewhere_.clear();
  if (!taken_over_) return;
  const bool known = publisher_->cluster().known;
  if (ways && known) node_routes_->add(publisher_->cluster().plan.routes, node_);
  trim_owed_ = trim_owed_ || many;
  const bool compile = std::exchange(compile_due_, false);
  auto published = compile ? publish() : publish_others();
  if (!published) return faults_.set("publish", "what other nodes told: " + published.error().text());
  faults_.clear("publish");
  tell_left_out();
  if (ways && known) node_routes_->prune();
  if (compile || news.nodes) watch_health();
}

Result<void> Agent::publish_others() {
  if (publisher_->others_need_compile()) return publish();
  auto published = publisher_->publish_others();
  tell_services_fault();
  if (duties_) duties_->refresh();
  refresh_bgp();
  return published;
}

void Agent::tell_left_out() {
  const auto& tables = datapath_->tables();
  if (tables.remotes_left_out() == 0) return faults_.clear("other nodes' pods");
  faults_.set(
      "other nodes' pods",
      fmt::format("{} addresses of other nodes' pods are not known here, as the table has room for {}: policies "
                  "treat them as pods without labels; raise remote_table_entries and restart weftd",
                  tables.remotes_left_out(), tables.remotes_capacity()));
}

void Agent::watch_health() {
  HealthTargets targets;
  const auto own = shared_settings(config_);
  for (const auto& [name, node] : cluster_->member().registry().nodes()) {
    const auto reach = publisher_->cluster().plan.reach.find(name);
    if (!node.record || reach == publisher_->cluster().plan.reach.end()) continue;
    const auto addresses = cluster_->others().find(name);
    if (addresses == cluster_->others().end()) continue;
    auto& target = targets[name];
    target.addresses = addresses->second.underlay;
    target.gateways = addresses->second.gateways;
    target.way = reach->second.way;
    target.alive = node.alive.has_value();
    target.edge = node.record->keep;
    const auto otherwise = differences(own, *node.record);
    target.differences = losing(otherwise);
    target.settings = in_words(otherwise);
    target.tunnel_port = config_.tunnel_port;
    target.wireguard_port = config_.wireguard_port;
    const auto row = publisher_->cluster().plan.nodes.find(reach->second.number);
    if (row != publisher_->cluster().plan.nodes.end()) target.mtu = std::min(mtu_to(row->second), node_.pod_mtu);
  }
  node_health_->set_targets(std::move(targets));
}

// Without an address of an uplink nobody finds this node, and it may not find etcd either.
void Agent::watch_underlay() {
  if (!node_.underlay().empty()) return faults_.clear("underlay");
  std::string names;
  for (const auto& [index, uplink] : node_.uplinks) names += (names.empty() ? "" : ", ") + uplink.name;
  faults_.set("underlay",
              names.empty()
                  ? std::string("this node has no address at which others could reach it: it has no uplink")
                  : fmt::format("this node has no address at which others could reach it: none of its uplinks "
                                "({}) has one that is valid beyond its link",
                                names),
              "give an uplink an address (ip addr add), or name the device that has one in devices: (weftd.yaml)");
}

std::string Agent::silent_since() const {
  if (!cluster_) return {};
  const auto cluster = cluster_->status_json();
  std::string since;
  const auto silent = [&](const nlohmann::json& of, bool well) {
    if (const auto text = of.at("since").get<std::string>(); !well && (since.empty() || text < since)) since = text;
  };
  if (cluster_objects_) {
    const auto store = cluster_objects_->status_json();
    silent(store, store.at("connected").get<bool>());
  }
  // Whom another agent keeps out hears of everything.
  silent(cluster, cluster.at("joined").get<bool>() || !cluster.at("refused").get<std::string>().empty());
  if (since.empty() && unheard()) since = utc_text(started_);
  return since;
}

bool Agent::unheard() const { return cluster_ && cluster_->member().registry().nodes().empty(); }

api::Answer Agent::dated(api::Answer answer) const {
  if (!answer) return answer;
  if (const auto since = silent_since(); !since.empty()) (*answer)["as_of"] = since;
  if (unheard()) (*answer)["unheard"] = true;
  if (answer->contains("as_of")) (*answer)["kept_in"] = config_.store_name();
  return answer;
}

// The datapath goes by what routers say at once; this is for those who look, and for probes that are to fit.
void Agent::watch_path_mtus() {
  auto* map = datapath_->map("weft_pmtu_v1");
  if (map == nullptr) return;
  auto paths = read_path_mtus(*map, std::chrono::steady_clock::now().time_since_epoch());
  if (!paths) return faults_.set("path MTU", paths.error().text());
  faults_.clear("path MTU");
  const bool changed = !std::ranges::equal(*paths, path_mtus_, [](const auto& one, const auto& other) {
    return one.first == other.first && one.second.outer == other.second.outer;
  });
  path_mtus_ = std::move(*paths);
  if (changed && taken_over_) watch_health();
}

std::uint32_t Agent::mtu_to(const weft_node& row) const {
  return path_mtu_inside(row, path_mtus_, config_.tunnel_overhead(datapath::from_abi(row.addr).is_v4()));
}

nlohmann::json Agent::nodes_json() const {
  const auto& view = publisher_->cluster();
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  auto items = cluster_->nodes_json(view);
  const auto own = shared_settings(config_);
  const auto& known = cluster_->member().registry().nodes();
  for (auto& item : items) {
    item["mtu"] = nullptr;
    item["path_mtu"] = nullptr;
    item["differences"] = nlohmann::json::array();
    if (const auto node = known.find(item["name"].get_ref<const std::string&>());
        node != known.end() && node->second.record && !item["self"].get<bool>())
      for (const auto& one : differences(own, *node->second.record))
        item["differences"].push_back({{"setting", one.key}, {"here", one.here}, {"there", one.there}});
    const auto reach = view.plan.reach.find(item["name"].get<std::string>());
    const auto row =
        reach == view.plan.reach.end() ? view.plan.nodes.end() : view.plan.nodes.find(reach->second.number);
    if (row == view.plan.nodes.end()) continue;
    item["mtu"] = row->second.mtu;
    const auto path = path_mtus_.find(datapath::from_abi(row->second.addr));
    if (path == path_mtus_.end() || mtu_to(row->second) == row->second.mtu) continue;
    item["path_mtu"] = {
        {"packet", path->second.outer},
        {"inside", mtu_to(row->second)},
        {"seconds_left", std::max<std::int64_t>(
                             0, std::chrono::duration_cast<std::chrono::seconds>(path->second.until - now).count())}};
  }
  return items;
}

void Agent::tell_endpoints() {
  if (!cluster_ || !taken_over_) return;
  auto labels = compiled().labels;
  cluster::SharedEndpoints pods;
  // Nobody could read a list with one name in it that is none; without a number it is told once it has one.
  const auto add = [&](const model::ObjectKey& key, cluster::SharedEndpoint told) {
    if (told.identity >= WEFT_IDENTITY_FIRST && cluster::check_name("namespace", key.namespace_) &&
        cluster::check_name("pod", key.name))
      pods.insert_or_assign({key.namespace_, key.name}, std::move(told));
  };
  for (const auto& live : compiled().endpoints)
    add(live.pod(), shared(live, live.record.addresses, live.identity, live.ports));
  for (const auto& [key, pod] : objects_->pods()) {
    if (!pod.spec.host_network || !runs_here(pod, config_)) continue;
    const auto of_pod = identity_labels_of(*objects_, key, {});
    labels.insert(of_pod);
    auto told =
        shared(pod, node_.main_addresses(), compiler().identities().number_of(of_pod).value_or(0), ports_of(pod));
    told.host_network = true;
    add(key, std::move(told));
  }
  cluster_->need(labels);
  cluster_->tell(std::move(pods));
}

void Agent::register_nodes() {
  server_->handle("node.list", [this](const nlohmann::json&) -> api::Answer {
    if (!cluster_) return weft::fail(by_itself());
    return dated(nlohmann::json{{"items", nodes_json()}});
  });
  server_->handle_async("store.push", [this](const nlohmann::json& params, const api::Responder& responder) {
    if (kubernetes_) return responder.answer(weft::fail(not_here()));
    if (!cluster_objects_) return responder.answer(weft::fail(by_itself()));
    push_store(params, responder);
  });
  server_->handle_async("node.delete", [this](const nlohmann::json& params, const api::Responder& responder) {
    if (!cluster_) return responder.answer(weft::fail(by_itself()));
    const auto name = api::required_text(params, "name");
    if (!name) return responder.answer(weft::fail(name.error()));
    cluster_->forget_node(*name, [responder](const Result<void>& done) {
      responder.answer(done ? api::Answer(nlohmann::json::object()) : weft::fail(done.error()));
    });
  });
  server_->handle("operator.status", [this](const nlohmann::json&) -> api::Answer {
    if (!cluster_) return weft::fail(by_itself());
    return dated(cluster_->operators_json());
  });
  server_->handle("node.health", [this](const nlohmann::json&) -> api::Answer {
    if (!cluster_) return weft::fail(by_itself());
    return dated(nlohmann::json{{"items", node_health_->to_json()}});
  });
  server_->handle("encryption.status", [this](const nlohmann::json&) -> api::Answer {
    if (!encryption_) return weft::fail(no_encryption());
    return dated(encryption_->status_json());
  });
  server_->handle("encryption.rotate", [this](const nlohmann::json&) -> api::Answer {
    if (!encryption_) return weft::fail(no_encryption());
    if (!cluster_->joined())
      return weft::fail(ErrorCode::unavailable,
                        fmt::format("{} is away: the other nodes would not hear of the new key", config_.store_name()),
                        "try again when weft status says that it is joined");
    WEFT_CHECK(encryption_->rotate());
    return encryption_->status_json();
  });
}

}  // namespace weft::agent
