// The node agent: builds the modules, wires them left to right, and answers the API. All state belongs to one
// thread, the io_context's; the reaper, the flow sweeper and the background thread post to it what they did.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/attach_gate.h"
#include "agent/attachment.h"
#include "agent/background.h"
#include "agent/cluster_link.h"
#include "agent/cluster_objects.h"
#include "agent/egress_addresses.h"
#include "agent/elsewhere.h"
#include "agent/enforcement.h"
#include "agent/etcd_space.h"
#include "agent/event_reader.h"
#include "agent/flow_sweep.h"
#include "agent/heal.h"
#include "agent/kubernetes_source.h"
#include "agent/node.h"
#include "agent/node_health.h"
#include "agent/node_life.h"
#include "agent/node_routes.h"
#include "agent/objects.h"
#include "agent/overlay.h"
#include "agent/path_mtus.h"
#include "agent/publisher.h"
#include "agent/recent_drops.h"
#include "agent/service_duties.h"
#include "agent/service_trace.h"
#include "agent/source_ports.h"
#include "agent/unattached.h"
#include "agent/uplinks.h"
#include "api/answer.h"
#include "api/server.h"
#include "bpfrt/ring_buffer.h"
#include "config/agent/config.h"
#include "control/ipam/ipam.h"
#include "control/policy/explain.h"
#include "datapath/datapath.h"
#include "flow/store.h"
#include "sources/cluster/enforcement_view.h"
#include "sources/store/store.h"
#include "sys/netlink.h"

namespace weft::agent {

class Bgp;
class Encryption;

class Agent {
 public:
  // Opens the store, takes over or builds the datapath, recovers what was cut short, and serves.
  static Result<std::unique_ptr<Agent>> start(asio::io_context& loop, Config config,
                                              Attachment::Checkpoint checkpoint = {});
  ~Agent();

 private:
  struct Watcher {
    api::Stream stream;
    model::Kind kind;
  };

  Agent(asio::io_context& loop, Config config, Attachment::Checkpoint checkpoint);
  Result<void> open_state();
  Result<void> open_node();
  Result<void> open_cluster();
  Result<void> open_datapath();
  Result<void> open_attachment();
  Result<void> serve();
  void register_objects();
  void register_attachment();
  void register_views();
  void register_policy();
  void register_services();
  void register_bpf();
  void register_observe();
  void register_nodes();
  void open_bgp();
  void refresh_bgp();
  void register_bgp();
  void register_egress();

  // Compiles the tables and brings the kernel to it. An error leaves the last good state.
  Result<void> publish();
  [[nodiscard]] weft_config base_config() const;
  [[nodiscard]] Compiler& compiler() { return publisher_->compiler(); }
  [[nodiscard]] const Compiler& compiler() const { return publisher_->compiler(); }
  [[nodiscard]] const Compiled& compiled() const { return publisher_->compiled(); }
  [[nodiscard]] const control::ServiceCompiler& services() const { return publisher_->services(); }
  // Publishes all that is known and attaches the programs; a fault says why not, and it is tried again. Programs that
  // were attached before would meet maps without rows: until then the kernel goes on as the last agent left it.
  void take_over();
  void tell_services_fault();
  void serve_outside();
  void note(const std::string& problem);

  // The cluster.
  void blocks_changed();
  void ask_for_blocks();
  // Pools of addresses.
  void pools_changed();
  void take_blocks();
  std::string pool_users(const std::string& pool) const;
  std::string held_in(const Cidr& block, const std::string& node) const;
  [[nodiscard]] std::string user_of(const IpAddress& address) const;
  [[nodiscard]] std::vector<std::string> ambiguous_pools() const;
  [[nodiscard]] nlohmann::json pools_json() const;
  Result<AttachGate::Needs> attach_needs(const AttachRequest& request) const;
  Result<void> need_addresses(AttachGate::Needs& needs, const control::AddressRequest& wish) const;
  Result<void> need_named(AttachGate::Needs& needs, const IpAddress& address) const;
  void attach(const nlohmann::json& params, const api::Responder& responder,
              std::chrono::steady_clock::time_point until);
  void attach_known(const nlohmann::json& params, const api::Responder& responder,
                    std::chrono::steady_clock::time_point until);
  void others_changed();
  void take_others();
  void encryption_changed();
  [[nodiscard]] std::vector<std::uint32_t> encryption_devices() const;
  [[nodiscard]] bool other_devices(const ClusterView& view) const;
  Result<void> publish_others();
  void tell_left_out();
  void watch_health();
  void watch_underlay();
  // Since when etcd tells nothing; empty: it does, or there is none.
  [[nodiscard]] std::string silent_since() const;
  // Etcd has told nothing since the start: of the cluster's nodes, not even of this one.
  [[nodiscard]] bool unheard() const;
  // Says in the answer since when etcd tells nothing of what it is about.
  [[nodiscard]] api::Answer dated(api::Answer answer) const;
  void watch_path_mtus();
  [[nodiscard]] std::uint32_t mtu_to(const weft_node& row) const;
  [[nodiscard]] nlohmann::json nodes_json() const;
  void tell_endpoints();
  // The policies that this node enforces (policy_status.cpp); once a second.
  void tell_enforcement();
  [[nodiscard]] std::uint64_t policies_seen() const;
  [[nodiscard]] std::uint64_t revision_of(const model::ObjectKey& policy) const;
  [[nodiscard]] std::map<model::ObjectKey, std::string> misread_policies() const;
  void policy_status(const nlohmann::json& params, const api::Responder& responder);
  [[nodiscard]] nlohmann::json policy_status_json(const cluster::EnforcementView& view,
                                                  const model::ObjectKey& wanted) const;
  // What the plan for egress gateways asks of this node's devices, and of the cluster. `again`: also where it is the
  // same.
  void tend_egress(bool again = false);
  void notice_silence();
  void greet_returned(const ClusterView& view);

  // Timers and descriptors.
  void poll_slow();
  void watch_netlink();
  void refresh_node();
  void refresh_node_soon();
  void forget_abandoned();
  void refresh_source_ports();
  void watch_announced();
  void consume_events();
  void swept(const FlowSweeper::Report& report);
  void refresh_enrichment();
  std::shared_ptr<const flow::ServiceInfo> service_name(std::uint32_t id);
  std::shared_ptr<const flow::Party> party_elsewhere(const IpAddress& address);

  // API: objects
  using Apply = std::function<void(const nlohmann::json& params, model::ParseOutcome outcome, const api::Responder&)>;
  // Reads the documents and calls `apply` on the loop with them and what else is in `params`; it answers.
  void with_documents(nlohmann::json params, const api::Responder& responder, Apply apply);
  api::Answer apply_objects(const nlohmann::json& params, model::ParseOutcome outcome);
  void warn_of_targets(const std::vector<model::Document>& documents, nlohmann::json& warnings) const;
  static Result<std::vector<store::StoredKey>> named_keys(const nlohmann::json& params);
  api::Answer delete_objects(const std::vector<store::StoredKey>& keys);
  struct Keys {
    std::vector<store::StoredKey> keys;
    bool more = false;
  };
  [[nodiscard]] Result<Keys> wanted_keys(const nlohmann::json& params) const;
  api::Answer get_objects(const nlohmann::json& params) const;
  void watch_objects(const nlohmann::json& params, const api::Stream& stream);
  // Store: etcd. The same, answered once etcd has it and this node publishes it.
  void open_cluster_objects();
  Intake::Handlers intake_handlers(std::string what);
  // Of a Kubernetes API server.
  Result<void> open_kubernetes();
  void check_kubernetes();
  [[nodiscard]] Error not_here() const;
  Result<void> publish_brought(Publisher::Changed changed);
  void apply_in_cluster(const nlohmann::json& params, model::ParseOutcome outcome, const api::Responder& responder);
  void delete_in_cluster(const std::vector<store::StoredKey>& keys, const api::Responder& responder);
  void push_store(const nlohmann::json& params, const api::Responder& responder);
  struct Doomed {
    std::set<store::StoredKey> keys;
    nlohmann::json deleted;
  };
  Result<Doomed> doomed(const std::vector<store::StoredKey>& keys) const;
  std::vector<model::Problem> admit(std::vector<model::Document>& documents);
  api::Answer commit(const std::vector<model::Document>& documents, const Publisher::Held& before,
                     nlohmann::json result);
  Result<nlohmann::json> object_json(const store::StoredKey& key) const;
  Result<nlohmann::json> stored_json(const store::StoredKey& key) const;
  Result<nlohmann::json> pod_object(const model::Pod& pod) const;
  void tell_watchers(const ObjectChange& change);
  void tell_pod_modified(const model::ObjectKey& pod);
  // API: attachment
  Result<void> can_attach();
  // The same without a write to the disk, as far as is known.
  Result<void> attach_ability();
  // The node as runtimes and Kubernetes see it (node_life_agent.cpp).
  void tend_life();
  void tell_of_objects();
  void take_node_facts(const NodeFacts& facts);
  void recall_node_facts();
  bool apply_node_facts(const NodeFacts& facts);
  Result<void> probe_store();
  api::Answer cni_add(const nlohmann::json& params);
  api::Answer cni_gc(const nlohmann::json& params);
  // API: views
  nlohmann::json status();
  nlohmann::json drops_json();
  // What is wrong, and what to be known beside it.
  struct Findings {
    std::vector<Fault> all;
    bool degraded = false;
  };
  [[nodiscard]] Findings findings() const;
  nlohmann::json cluster_json() const;
  nlohmann::json kubernetes_json() const;
  [[nodiscard]] std::vector<std::string> unserved() const;
  [[nodiscard]] std::vector<std::string> closed_policies() const;
  [[nodiscard]] std::vector<std::string> outside_ranges() const;
  nlohmann::json announced_json() const;
  nlohmann::json announcers_json() const;
  // The node that announces it; empty: none, as far as is known.
  [[nodiscard]] std::string announcer_of(const IpAddress& address) const;
  nlohmann::json list_endpoints();
  nlohmann::json list_identities() const;
  nlohmann::json list_policies() const;
  nlohmann::json list_ipam() const;
  nlohmann::json list_egress() const;
  nlohmann::json egress_pods(const model::ObjectKey& gateway, const control::EgressStatus& status) const;
  // By which gateway the pod reaches somebody outside; null: by none.
  nlohmann::json egress_way(const control::ExplainSide& from, const control::ExplainSide& to) const;
  std::string egress_node_name(std::uint16_t number) const;
  const LiveEndpoint* live(const model::ObjectKey& pod) const;
  const LiveEndpoint* live(const IpAddress& address) const;
  // API: services
  api::Answer list_services(const nlohmann::json& params) const;
  struct ServiceProblems;
  void add_frontends(nlohmann::json& items, const control::ServicePort& port, const ServiceProblems& problems) const;
  void add_left_out(nlohmann::json& items, const ServiceProblems& problems, const std::string& space) const;
  api::Answer get_service(const nlohmann::json& params) const;
  nlohmann::json service_port_json(const control::ServicePort& port,
                                   const std::map<IpAddress, std::string>& zones) const;
  std::vector<std::string> service_warnings(const model::ObjectKey& key, const model::Service& service) const;
  struct TraceQuestion;
  api::Answer trace_service(const nlohmann::json& params) const;
  Result<TraceQuestion> trace_question(const nlohmann::json& params) const;
  Result<void> trace_address(TraceQuestion& question, const IpAddress& address, const PortProtocol& wanted) const;
  Result<void> trace_named(TraceQuestion& question, const std::string& text,
                           const std::optional<PortProtocol>& wanted) const;
  nlohmann::json trace_choice(const TraceQuestion& question) const;
  nlohmann::json trace_flows(const TracedFlows& traced) const;
  // API: policy
  struct Target {
    control::ExplainSide side;
    std::optional<control::ExplainService> service;
    std::optional<PortProtocol> port;  // the backend's, when reached through a service
    std::string missing;               // why there is nobody: a service without backends
    std::string remedy;                // what would have to change then
    bool unknown = false;              // nobody has the address: the datapath drops what a pod sends there
  };
  std::string lost_interface(const std::string& text) const;
  Result<std::vector<Target>> resolve(const std::string& text, const PortProtocol& port) const;
  // The pairs of `from` and `to`, both ends in one family.
  struct Pair {
    control::ExplainSide from;
    Target to;
  };
  Result<std::vector<Pair>> resolve_pairs(const std::string& from, const std::string& to,
                                          const PortProtocol& port) const;
  std::optional<Target> nobody_at(const IpAddress& address, const PortProtocol& port) const;
  std::optional<control::ExplainSide> in_family(const control::ExplainSide& side, Family family) const;
  control::ExplainSide side_of(const LiveEndpoint& endpoint, const IpAddress& address) const;
  control::ExplainSide side_of(const IpAddress& address) const;
  control::ExplainSide side_of(const cluster::ToldPod& pod, const IpAddress& address) const;
  [[nodiscard]] std::optional<cluster::ToldPod> remote(const IpAddress& address) const;
  // What an earlier agent wrote of an address of another node, until etcd has told what there is; null: nothing.
  [[nodiscard]] const weft_remote* kept_remote(const IpAddress& address) const;
  std::vector<Target> through_service(const control::ServicePort& port) const;
  [[nodiscard]] control::PolicyEndpoint policed(const control::ExplainSide& side) const;
  [[nodiscard]] bool is_translated(const control::ExplainSide& source, const Target& target) const;
  struct Explained {
    control::Explanation answer;
    bool translated = false;  // the destination sees this node in the source's place
  };
  [[nodiscard]] bool is_elsewhere(const control::ExplainSide& side) const;
  [[nodiscard]] std::optional<Elsewhere> elsewhere_of(const std::vector<Pair>& pairs) const;
  // `there`: elsewhere_of() the pair, and of whatever others.
  [[nodiscard]] Explained explain_pair(const Pair& pair, const PortProtocol& port,
                                       const std::optional<Elsewhere>& there) const;
  [[nodiscard]] nlohmann::json verdict_of(const Pair& pair, const PortProtocol& port,
                                          const std::optional<Elsewhere>& there) const;
  api::Answer explain_policy(const nlohmann::json& params) const;
  api::Answer policy_verdicts(const nlohmann::json& params) const;

  asio::io_context& loop_;
  Config config_;
  SourcePorts source_ports_{config_};
  Attachment::Checkpoint checkpoint_;
  std::chrono::system_clock::time_point started_ = std::chrono::system_clock::now();
  std::vector<std::string> problems_;  // stay until the agent is started again
  Faults faults_;                      // as they are now

  std::optional<store::Store> store_;
  std::optional<Objects> objects_;
  std::unique_ptr<sys::Netlink> netlink_;
  std::optional<sys::NetlinkMonitor> monitor_;
  Node node_;
  std::unique_ptr<datapath::Datapath> datapath_;
  std::optional<control::Ipam> ipam_;
  std::vector<cluster::Pool> pools_;  // of addresses; "default" first
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<PodKernel> pod_kernel_;
  std::optional<Attachment> attachment_;
  std::optional<Uplinks> uplinks_;
  std::optional<Healer> healer_;
  Unattached unattached_;
  bool taken_over_ = false;
  // Of store: etcd only.
  std::unique_ptr<ClusterLink> cluster_;
  std::unique_ptr<ClusterObjects> cluster_objects_;  // its changes are answered by the server; not with Kubernetes'
  // Of objects: kubernetes only.
  std::unique_ptr<KubernetesSource> kubernetes_;
  std::optional<NodeLife> life_;
  std::string given_zone_;  // of the configuration file, before the Node object was heard of
  LabelMap given_labels_;
  std::optional<NodeRoutes> node_routes_;
  std::optional<Overlay> overlay_;
  std::unique_ptr<Encryption> encryption_;
  std::optional<AttachGate> attach_gate_;
  std::optional<NodeHealth> node_health_;
  std::optional<EtcdSpace> etcd_space_;
  PathMtus path_mtus_;  // as of the last second
  SilentNodes silent_nodes_;
  bool cut_off_ = false;  // as of the last look
  std::set<std::string> living_nodes_;
  std::optional<EgressAddresses> egress_addresses_;
  std::optional<sys::PacketSocket> egress_socket_;
  struct TendedEgress {
    std::set<control::EgressAddress> addresses;
    std::set<IpAddress> present;  // on the node
    bool operator==(const TendedEgress&) const = default;
  };
  std::optional<TendedEgress> tended_egress_;
  std::vector<IpAddress> prepared_gateways_;
  asio::steady_timer others_timer_;
  bool others_due_ = false;
  EnforcementReport enforcement_report_;
  cluster::Enforcement enforcement_;  // as it was told last
  bool compile_due_ = false;          // with the next news: more than other nodes' pods has changed

  std::unique_ptr<flow::FlowStore> flows_;
  std::optional<bpfrt::RingBuffer> ring_;
  std::unique_ptr<EventReader> event_reader_;
  bool enrichment_stale_ = true;
  struct ServiceName {
    std::shared_ptr<const flow::ServiceInfo> info;
    bool stale = true;
  };
  std::unordered_map<std::uint32_t, ServiceName> service_names_;                         // of those that flows name
  std::unordered_map<IpAddress, std::shared_ptr<const flow::Party>> parties_elsewhere_;  // likewise
  std::optional<std::uint64_t> lost_told_;

  asio::steady_timer slow_timer_;
  asio::steady_timer node_timer_;
  std::chrono::steady_clock::time_point node_read_;
  bool node_read_due_ = false;
  std::uint64_t slow_polls_ = 0;
  RecentDrops recent_drops_;
  bool trim_owed_ = false;
  std::chrono::steady_clock::time_point watched_until_;  // the datapath leaves conflicts to this agent until then
  std::optional<asio::posix::stream_descriptor> netlink_descriptor_;
  std::map<std::uint64_t, Watcher> watchers_;
  std::uint64_t next_watcher_ = 1;
  std::unique_ptr<ServiceDuties> duties_;
  std::unique_ptr<Bgp> bgp_;
  std::optional<std::uint64_t> bgp_seen_;  // Publisher::service_revision()
  ReleaseGate backends_gate_;
  ReleaseGate services_gate_;
  std::unique_ptr<FlowSweeper> sweeper_;
  std::optional<Background> background_;
  std::unique_ptr<api::Server> server_;  // last: its handlers use everything above
};

}  // namespace weft::agent
