#include "agent/agent.h"
#include "agent/bgp.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <asio/post.hpp>
#include <nlohmann/json.hpp>
#include <ranges>
#include <utility>

#include "agent/address_pools.h"
#include "agent/encryption.h"
#include "agent/flow_rate.h"
#include "agent/host_ports.h"
#include "agent/ipam_time.h"
#include "agent/memory.h"
#include "agent/spoken_for.h"
#include "agent/start_check.h"
#include "sys/netns.h"
#include "sys/system.h"

namespace weft::agent {
namespace {

constexpr auto event_poll = std::chrono::milliseconds(25);
constexpr auto slow_poll = std::chrono::seconds(1);
// From one reading of the node's devices, addresses and routes to the next, while they change.
constexpr auto node_read_pause = std::chrono::milliseconds(50);
// A rule falls out of use together with a new epoch, so a flow entry that still names it has had no
// packet since: the sweeper ends it after the longest idle time and half a minute at most.
constexpr auto rule_rest = std::chrono::seconds(IdleTimes{}.tcp) + std::chrono::minutes(5);

// A quarter of a percent of the node's memory for both families' tables, within reason: an entry
// takes about 200 bytes of kernel memory.
std::uint32_t flow_entries(const Config& config) {
  if (config.flow_table_entries != 0) return config.flow_table_entries;
  const auto pages = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES));
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGE_SIZE));
  std::uint64_t entries = 16384;
  while (entries < 524288 && entries * 2 * 200 * 800 <= pages * page) entries *= 2;
  return static_cast<std::uint32_t>(entries);
}

control::PoolOptions pool_options(const Config& config) {
  control::PoolOptions options;
  if (!config.clustered()) options.cidrs = config.pod_cidrs;  // else blocks of them
  for (const auto& cidr : config.pod_cidrs) options.families.push_back(cidr.family());
  options.quarantine = std::chrono::seconds(config.quarantine_seconds);
  return options;
}

}  // namespace

Agent::Agent(asio::io_context& loop, Config config, Attachment::Checkpoint checkpoint)
    : loop_(loop),
      config_(std::move(config)),
      checkpoint_(std::move(checkpoint)),
      others_timer_(loop),
      slow_timer_(loop),
      node_timer_(loop) {}

Agent::~Agent() = default;

void Agent::note(const std::string& problem) {
  spdlog::warn("{}", problem);
  problems_.push_back(problem);
  if (problems_.size() > 100) problems_.erase(problems_.begin());
}

Result<std::unique_ptr<Agent>> Agent::start(asio::io_context& loop, Config config, Attachment::Checkpoint checkpoint) {
  std::unique_ptr<Agent> agent(new Agent(loop, std::move(config), std::move(checkpoint)));
  WEFT_CHECK(agent->open_state());
  WEFT_CHECK(agent->open_datapath());  // first, as it is refused to a second agent
  WEFT_CHECK(agent->open_node());
  WEFT_CHECK(agent->open_attachment());
  WEFT_CHECK(agent->serve());
  give_memory_back(loop);  // every object was read, the first compile made all rows at once
  return agent;
}

Result<void> Agent::open_state() {
  WEFT_CHECK(sys::make_directories(config_.run_dir, 0755));
  WEFT_TRY(auto opened, store::Store::open(config_.store_path()));
  store_.emplace(std::move(opened));
  std::vector<std::string> problems;
  WEFT_TRY(auto objects, Objects::load(*store_, problems));
  objects_.emplace(std::move(objects));
  for (const auto& problem : problems) note(problem);
  objects_->on_change([this](const ObjectChange& change) {
    // Applied again or deleted: what was stored of it is no problem any more.
    std::erase_if(problems_,
                  [stored = Objects::problem_of(change.key)](const auto& text) { return text.starts_with(stored); });
    publisher_->object_changed(change);
    if (change.key.kind == model::Kind::pod_address_pool) pools_changed();
    if (change.key.kind == model::Kind::pod && change.type == ChangeType::deleted) unattached_.forget(change.key.key);
    tell_watchers(change);
  });

  std::vector<control::Allocation> allocations;
  std::vector<control::Quarantined> quarantined;
  WEFT_TRY(const auto allocation_rows, store_->allocations());
  for (const auto& row : allocation_rows) allocations.push_back({row.address, row.owner});
  WEFT_TRY(const auto quarantine_rows, store_->quarantine());
  // A clock that was set back would keep addresses out of use for as long as it was ahead.
  const auto longest = ipam_now() + std::chrono::seconds(config_.quarantine_seconds);
  for (const auto& row : quarantine_rows) quarantined.push_back({row.address, std::min(row.until, longest)});
  recall_node_facts();
  ipam_.emplace(pool_options(config_), std::move(allocations), std::move(quarantined));
  pools_changed();
  return {};
}

Result<void> Agent::open_node() {
  WEFT_TRY(netlink_, sys::open_netlink());
  WEFT_TRY(const auto netns, sys::current_netns());
  WEFT_TRY(const auto cookie, sys::netns_cookie(netns.get()));
  if (!config_.encrypts()) Encryption::remove(*netlink_, config_);
  WEFT_TRY(node_, read_node(*netlink_, config_, cookie));
  WEFT_CHECK(check_machine(config_, node_));
  if (config_.clustered()) WEFT_CHECK(open_cluster());
  prepared_gateways_ = ipam_->gateways();
  WEFT_CHECK(prepare_node(*netlink_, prepared_gateways_));
  WEFT_TRY(node_, read_node(*netlink_, config_, cookie));
  if (overlay_) overlay_->prepare(node_);
  publisher_->set_base(base_config());
  WEFT_TRY(auto monitor, sys::NetlinkMonitor::open());
  monitor_.emplace(std::move(monitor));
  if (auto reserved = source_ports_.reserve(); !reserved)
    note("reserving the translation's ports: " + reserved.error().message);
  return {};
}

Result<void> Agent::open_datapath() {
  datapath::Options options;
  options.pin_directory = config_.pin_path();
  options.cgroup = config_.cgroup_root;
  if (options.cgroup.empty()) {
    if (auto mount = sys::cgroup2_mount())
      options.cgroup = *mount;
    else
      note("no socket hook: " + mount.error().message);
  }
  options.flow_entries = flow_entries(config_);
  options.service_entries = config_.service_table_entries;
  options.backend_entries = config_.backend_table_entries;
  options.slot_entries = config_.slot_table_entries;
  options.remote_entries = config_.clustered() ? config_.remote_table_entries : 64;
  WEFT_TRY(datapath_, datapath::Datapath::open(options));
  for (const auto& kept : datapath_->features().kept_sizes) note(kept);
  std::vector<std::string> notes;
  WEFT_TRY(publisher_, Publisher::open({config_, *store_, *objects_, datapath_->tables()},
                                       datapath_->highest_policy_class(), notes));
  for (const auto& text : notes) note(text);
  publisher_->set_base(base_config());
  publisher_->set_node(node_);
  publisher_->set_pool_users([this](const std::string& pool) { return pool_users(pool); });
  return {};
}

Result<void> Agent::open_attachment() {
  pod_kernel_ = real_pod_kernel(*datapath_);
  attachment_.emplace(*store_, *netlink_, *pod_kernel_, *ipam_, [this] { return publish(); });
  attachment_->set_checkpoint(checkpoint_);
  attachment_->set_node_netns(node_.netns_cookie);
  attachment_->set_pod_mtu(node_.pod_mtu);
  attachment_->set_admit([this](const AttachRequest& request) {
    for (const auto& mapping : request.port_mappings)
      if (const auto why = port_spoken_for(config_, mapping.host_port, mapping.protocol); !why.empty())
        return Result<void>(weft::fail(ErrorCode::invalid,
                                       fmt::format("runtimeConfig.portMappings: host port {}/{} {}", mapping.host_port,
                                                   to_string(mapping.protocol), why),
                                       "choose another host port"));
    return admit_port_mappings(request, attachment_->records(), services());
  });
  attachment_->set_choose([this](const AttachRequest& request) -> Result<control::AddressRequest> {
    WEFT_TRY(auto choice, choose_addresses(request, pools_, *objects_));
    if (!choice.ambiguity.empty()) spdlog::warn("pod {}/{}: {}", request.namespace_, request.pod, choice.ambiguity);
    return std::move(choice.request);
  });
  WEFT_TRY(auto reaper_netlink, sys::open_netlink());
  attachment_->set_reaper(std::make_unique<Reaper>(std::move(reaper_netlink), [this](store::EndpointKey key) {
    asio::post(loop_, [this, key = std::move(key)] {
      attachment_->reaped(key);
      // Another node may wait for a block of one address.
      if (cluster_ && cluster_->release_unused(*ipam_)) take_blocks();
    });
  }));
  std::vector<std::string> notes;
  WEFT_CHECK(attachment_->recover(notes));
  for (const auto& text : notes) spdlog::warn("{}", text);
  uplinks_.emplace(*datapath_, config_, faults_);
  healer_.emplace(Healer::Parts{*netlink_, *datapath_, *attachment_, *uplinks_, *ipam_, config_, faults_,
                                overlay_ ? &*overlay_ : nullptr, encryption_.get(),
                                node_routes_ ? &*node_routes_ : nullptr});
  take_over();
  return {};
}

void Agent::take_over() {
  if (auto published = publish(); !published)
    return faults_.set("publish", "the datapath goes on as the last agent left it, nothing is attached or applied: " +
                                      published.error().text());
  faults_.clear("publish");
  taken_over_ = true;
  tend_egress();
  std::vector<std::string> notes;
  attachment_->adopt(notes);
  for (const auto& text : notes) spdlog::warn("{}", text);
  serve_outside();
  uplinks_->attach(node_);
  if (auto sockets = datapath_->attach_sockets(); !sockets)
    faults_.set("socket hook", "socket hook: " + sockets.error().message);
  std::vector<std::uint32_t> uplinks;
  for (const auto& [index, uplink] : node_.uplinks) uplinks.push_back(index);
  if (overlay_) {
    overlay_->attach();
    if (encryption_) encryption_->attach();
    datapath_->prune(uplinks, overlay_->ifindex(), overlay_->host_ifindex(),
                     encryption_ ? encryption_->ifindexes() : std::vector<std::uint32_t>());
  } else {
    datapath_->prune(uplinks);
  }
  healer_->check(node_);
}

void Agent::tell_services_fault() {
  const auto left_out = services().left_out();
  if (left_out.empty()) return faults_.clear("services");
  if (sweeper_ && services().waits_for_numbers()) sweeper_->hurry();
  constexpr std::size_t named = 5;
  std::vector<std::string> names;
  for (const auto& one : left_out | std::views::take(named)) names.push_back(one.owner.to_string());
  if (left_out.size() > named) names.push_back(fmt::format("and {} more", left_out.size() - named));
  faults_.set("services", fmt::format("a table is too small for all Services: {} of them are not served, or not with "
                                      "all that they ask for ({}): {}",
                                      left_out.size(), fmt::join(names, ", "), left_out.front().error.text()));
}

void Agent::serve_outside() {
  if (taken_over_ && publisher_->serves_outside()) uplinks_->serve_outside(node_);
}

weft_config Agent::base_config() const {
  weft_config config{};
  config.flags = config_.events ? WEFT_CONFIG_EVENTS : 0;
  if (config_.masquerade) config.flags |= WEFT_CONFIG_MASQUERADE_V4 | WEFT_CONFIG_MASQUERADE_V6;
  if (source_ports_.exclusive()) config.flags |= WEFT_CONFIG_LB_PORTS_RESERVED;
  if (const auto gateway = ipam_->gateway(Family::v4)) config.gateway_v4 = datapath::to_abi(*gateway).word[3];
  if (const auto gateway = ipam_->gateway(Family::v6)) config.gateway_v6 = datapath::to_abi(*gateway);
  const MacAddress mac = gateway_mac;
  std::copy(mac.bytes.begin(), mac.bytes.end(), config.gateway_mac);
  config.nat_port_min = config_.nat_port_min;
  config.nat_port_max = config_.nat_port_max;
  config.event_wakeup_bytes = 256 * 1024;
  config.deny_event_interval = 1'000'000'000;
  config.new_flow_rate = new_flow_rate(static_cast<unsigned>(std::max(::sysconf(_SC_NPROCESSORS_ONLN), 1L)));
  return config;
}

Result<void> Agent::publish() {
  publisher_->set_records(attachment_->records());
  auto published = publisher_->publish();
  tell_services_fault();
  enrichment_stale_ = true;
  if (duties_) duties_->refresh();
  refresh_bgp();
  if (published) {
    tell_endpoints();
    tend_egress();
  }
  return published;
}

void Agent::refresh_node() {
  auto node = read_node(*netlink_, config_, node_.netns_cookie);
  if (!node) return faults_.set("devices", "reading the node's devices: " + node.error().message);
  faults_.clear("devices");
  healer_->changed();
  const bool lost = attachment_->notice_lost_devices();
  if (*node == node_ && !lost && !faults_.has("publish")) return;
  node_ = std::move(*node);
  attachment_->set_pod_mtu(node_.pod_mtu);
  if (cluster_) cluster_->tell(node_);
  if (!taken_over_) return take_over();
  if (cluster_) {
    // With what others have told meanwhile, so that all is compiled once.
    compile_due_ = true;
    take_others();
  } else if (auto published = publish(); !published) {
    faults_.set("publish", "the node changed: " + published.error().message);
  } else {
    faults_.clear("publish");
  }
  uplinks_->attach(node_);
}

void Agent::forget_abandoned() {
  const auto keys = attachment_->abandoned([this](const store::EndpointRecord& record) {
    return kubernetes_ && kubernetes_->objects().taken() && objects_->pod({record.namespace_, record.pod}) == nullptr;
  });
  for (const auto& key : keys) {
    spdlog::warn("{} is gone and nobody called DEL for it: its addresses are free", key.owner());
    if (auto removed = attachment_->remove(key); !removed) note(removed.error().text());
  }
}

void Agent::refresh_source_ports() {
  if (!source_ports_.refresh()) return;
  publisher_->set_base(base_config());
  if (auto published = publish(); !published)
    faults_.set("publish", "the source ports changed: " + published.error().message);
}

// A node by itself is the only one that answers for its addresses: the datapath goes on for as long as it takes. In a
// cluster another node takes over when this one's lease ends, which is two thirds of it at the earliest after the agent
// was there last.
void Agent::watch_announced() {
  const auto now = std::chrono::steady_clock::now();
  auto until = std::chrono::steady_clock::time_point::max();
  if (cluster_) until = now + std::chrono::milliseconds(config_.lease_seconds * 2000 / 3);
  const bool late = watched_until_ < now && watched_until_ != std::chrono::steady_clock::time_point{};
  if (until == watched_until_) return;
  if (auto told = datapath_->watch_until(until.time_since_epoch()); !told)
    return faults_.set("announced", "telling the datapath that an agent is there: " + told.error().message);
  faults_.clear("announced");
  watched_until_ = until;
  if (!late) return;
  if (auto restored = datapath_->tables().restore_announced(); !restored)
    spdlog::warn("announced addresses: {}", restored.error().message);
}

void Agent::watch_netlink() {
  netlink_descriptor_->async_wait(asio::posix::stream_descriptor::wait_read, [this](const std::error_code& error) {
    if (error) return;
    const auto changed = monitor_->drain();
    if (!changed || *changed) refresh_node_soon();
    watch_netlink();
  });
}

// At once when it has been quiet; of a burst, as of pods that start together, the node is read once for many.
void Agent::refresh_node_soon() {
  const auto now = std::chrono::steady_clock::now();
  if (now >= node_read_ + node_read_pause) {
    refresh_node();
    node_read_ = std::chrono::steady_clock::now();
    return;
  }
  if (std::exchange(node_read_due_, true)) return;
  node_timer_.expires_at(node_read_ + node_read_pause);
  node_timer_.async_wait([this](const std::error_code& error) {
    node_read_due_ = false;
    if (!error) refresh_node_soon();
  });
}

void Agent::poll_slow() {
  slow_timer_.expires_after(slow_poll);
  slow_timer_.async_wait([this](const std::error_code& error) {
    if (error) return;
    datapath_->tables().retry();
    watch_announced();
    serve_outside();
    duties_->refresh();
    refresh_bgp();
    bgp_->check();
    attachment_->finish_removals();
    attachment_->expire_quarantine();
    unattached_.expire(std::chrono::system_clock::now());
    // A container that got none may have come before, or beside, the one that has it.
    if (unattached_.size() != 0)
      for (const auto& [key, record] : attachment_->records())
        if (record.state == store::EndpointState::ready) unattached_.forget({record.namespace_, record.pod});
    if (cluster_) {
      cluster_->check();
      if (etcd_space_) etcd_space_->check();
      watch_underlay();
      node_health_->set_forgotten(cluster_->forgotten());
      faults_.replace("node health ", node_health_->problems());
      watch_path_mtus();
      notice_silence();
      if (encryption_) encryption_->check();
      ask_for_blocks();
      if (cluster_->release_unused(*ipam_)) take_blocks();
    }
    if (cluster_objects_) {
      cluster_objects_->check();
      const auto missing = cluster_objects_->unfounded();
      cluster_->hold_pools(!missing.empty());
      if (missing.empty())
        faults_.clear("cluster data");
      else
        faults_.set("cluster data", missing);
    }
    if (kubernetes_) check_kubernetes();
    if (slow_polls_ % 5 == 0) (void)drops_json();
    ++slow_polls_;
    if (!tended_egress_) tend_egress();
    if (std::exchange(trim_owed_, false)) give_memory_back(loop_);
    // All of it is compiled again: less often where a start has failed already.
    if ((faults_.has("publish") && (taken_over_ || slow_polls_ % 10 == 0)) || faults_.has("devices")) refresh_node();
    if (taken_over_) forget_abandoned();
    if (taken_over_) healer_->check(node_);
    if (overlay_ && other_devices(publisher_->cluster())) others_changed();
    tell_services_fault();
    tell_enforcement();
    tend_life();
    if (slow_polls_ % 30 == 0) {
      (void)store_->checkpoint();
      (void)probe_store();
    }
    if (slow_polls_ % 60 == 0) refresh_source_ports();
    if (slow_polls_ % 60 == 0 && compiler().forget_rules(std::chrono::steady_clock::now() - rule_rest) > 0)
      if (auto stored = publisher_->store_numbers(false); !stored) note(stored.error().message);
    poll_slow();
  });
}

void Agent::swept(const FlowSweeper::Report& report) {
  if (!report.events.empty()) {
    refresh_enrichment();
    for (const auto& event : report.events) flows_->add(event);
    flows_->notify();
  }
  backends_gate_.begin(report.use.backends);
  services_gate_.begin(report.use.services);
  publisher_->services().release_ids([this](std::uint32_t id) { return backends_gate_.in_use(id); },
                                     [this](std::uint32_t id) { return services_gate_.in_use(id); });
  if (!taken_over_ || !services().may_fit_more()) return;
  if (auto published = publisher_->publish_services(); !published) note(published.error().message);
  tell_services_fault();
}

Result<void> Agent::serve() {
  flow::FlowStoreOptions options;
  options.capacity = config_.flow_history;
  flows_ = std::make_unique<flow::FlowStore>(options);
  auto* events = datapath_->map("weft_events_v1");
  if (events == nullptr) return fail(ErrorCode::internal, "the event ring is missing");
  WEFT_TRY(auto ring, bpfrt::RingBuffer::open(
                          events->fd(), [this](std::span<const std::byte> record) { (void)flows_->add(record); }));
  ring_.emplace(std::move(ring));
  netlink_descriptor_.emplace(loop_, ::dup(monitor_->fd()));
  auto* v4 = datapath_->map("weft_flow4_v2");
  auto* v6 = datapath_->map("weft_flow6_v2");
  if (v4 != nullptr && v6 != nullptr)
    sweeper_ =
        std::make_unique<FlowSweeper>(*v4, *v6, datapath_->map("weft_bstat_v1"), [this](FlowSweeper::Report report) {
          asio::post(loop_, [this, report = std::move(report)] { swept(report); });
        });
  duties_ = std::make_unique<ServiceDuties>(
      loop_, *publisher_, [this] { return datapath_->tables().status().failed == 0; },
      [this](const std::string& problem) { note(problem); });
  if (cluster_)
    duties_->set_cluster(config_.node, cluster_->member().announcers(),
                         [this](const MacAddress& mac) { return cluster_->is_node(mac); });
  watch_announced();
  duties_->refresh();
  api::ServerOptions server;
  server.path = config_.socket_path();
  WEFT_TRY(server_, api::Server::listen(loop_, server));
  background_.emplace(loop_);
  register_objects();
  register_attachment();
  register_views();
  register_policy();
  register_services();
  register_bpf();
  register_observe();
  register_nodes();
  open_bgp();
  register_bgp();
  register_egress();
  if (cluster_) {
    if (config_.objects == Config::ObjectSource::applied) open_cluster_objects();
    others_changed();
  }
  life_.emplace(
      NodeLife::Parts{config_, faults_, *netlink_, [this](const std::string& what) { healer_->repaired(what); }});
  if (config_.objects == Config::ObjectSource::kubernetes) WEFT_CHECK(open_kubernetes());
  watch_netlink();
  WEFT_TRY(event_reader_, EventReader::start(loop_, ring_->epoll_fd(), event_poll, [this] { consume_events(); }));
  poll_slow();
  (void)probe_store();
  tend_life();
  return {};
}

}  // namespace weft::agent
