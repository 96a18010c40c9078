// From objects, endpoints and the node to the kernel's maps: compiles, remembers numbers, writes. What
// cannot be applied leaves the last good state. One owner thread; no kernel but the maps it is given.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/announce.h"
#include "agent/compile.h"
#include "agent/external_claims.h"
#include "agent/node.h"
#include "agent/objects.h"
#include "agent/service_facts.h"
#include "base/result.h"
#include "config/agent/config.h"
#include "control/services/services.h"
#include "datapath/tables.h"
#include "model/parse.h"
#include "sources/store/store.h"

namespace weft::agent {

class Publisher {
 public:
  using Records = std::map<store::EndpointKey, store::EndpointRecord>;
  struct Parts {
    const Config& config;
    store::Store& store;
    Objects& objects;
    datapath::Tables& tables;
  };

  // Takes the numbers of the last run from the store and the maps. Nothing is written until publish().
  // Notes say what the store held that could not be used.
  static Result<std::unique_ptr<Publisher>> open(Parts parts, std::uint32_t highest_class,
                                                 std::vector<std::string>& notes);

  // What the agent knows beside its objects.
  void set_base(const weft_config& base) { base_ = base; }  // flags of services are added
  void set_node(const Node& node) { node_ = &node; }        // outlives the publisher
  void set_records(const Records& records) { records_ = &records; }
  // Of a cluster: the pods of other nodes, which outlive the publisher, as they are now. Who changes what is in there,
  // or how nodes are reached, says so; rows are made of what was told since the last publish that succeeded.
  void set_others(const cluster::PodTable& others) { others_ = &others; }
  void set_cluster(ClusterView cluster);
  void others_changed(OthersChange change) { changed_.merge(std::move(change)); }
  [[nodiscard]] const Config& config() const { return parts_.config; }
  [[nodiscard]] const Node& node() const { return *node_; }
  [[nodiscard]] const ClusterView& cluster() const { return cluster_; }
  [[nodiscard]] const cluster::PodTable* others() const { return others_; }

  // Objects tells every change, in order.
  void object_changed(const ObjectChange& change);

  // Everything. An `io` error: written later, by Tables::retry(). Services that find no room in the maps are left out,
  // services().left_out() says which, and tried again when something is freed; what is somebody's own request, to be
  // refused where it does not fit, is published with Fit::all.
  using Fit = control::ServiceCompiler::Fit;
  Result<void> publish(Fit fit = Fit::what_fits);
  // Host ports of pods here that the node does not serve, and why: a sentence each.
  [[nodiscard]] const std::vector<std::string>& withheld_host_ports() const { return withheld_host_ports_; }
  // Whoever looked at Services one by one left a view of each in memory, until the next compile: this one.
  void forget_views();
  // Changes of Services, EndpointSlices, pools and announcements: costs what they change.
  Result<void> publish_services(Fit fit = Fit::what_fits);
  // Changes of other nodes' pods: costs what they change, unless policies may have other peers by it.
  Result<void> publish_others();
  [[nodiscard]] bool others_need_compile() const {
    return changed_.all || changed_.peers || (compiled_.peers_by_address && !changed_.addresses.empty());
  }

  // What the Services among the documents hold, and which pools are among them: to be given back.
  struct Held {
    std::map<model::ObjectKey, control::ServiceAssignment> services;
    std::vector<model::ObjectKey> pools;
  };
  [[nodiscard]] Held held(const std::vector<model::Document>& documents) const;
  void give_back(const Held& before);
  // Assigns addresses and ports to the Services, out of the pools among the documents too; a status that only says
  // what our pools gave is taken off. Those that only the whole node can refuse, by index.
  struct Refusal {
    std::size_t document = 0;
    Error error;
  };
  std::vector<Refusal> admit(std::vector<model::Document>& documents);

  // Who has addresses, or blocks, of a pool of pods' addresses; empty: nobody. Without it nobody ever does.
  using PoolUsers = std::function<std::string(const std::string& pool)>;
  void set_pool_users(PoolUsers users) { pool_users_ = std::move(users); }
  // Whether these may be deleted: a pool that is in use may not.
  Result<void> may_remove(const std::vector<store::StoredKey>& keys) const;

  // Applies admitted documents whole: objects are stored, the kernel is brought to them. An error that is
  // not `io` has changed nothing, and what the Services held `before` they were admitted they hold again.
  struct Applied {
    std::vector<Objects::Action> actions;
    std::optional<Error> owed;  // an io error: on its way
  };
  Result<Applied> apply(const std::vector<model::Document>& documents, const Held& before);
  Result<std::optional<Error>> remove(const std::vector<store::StoredKey>& keys);

  // What the cluster says that there is, from whichever node: stored and told to the compilers, not published. What
  // Services hold is not decided here. After an error it is to be brought again.
  struct Brought {
    std::vector<Objects::Brought> objects;
    std::vector<store::StoredKey> gone;
    std::map<model::ObjectKey, control::ServiceAssignment> assignments;  // an empty one: it holds nothing
  };
  enum class Changed { nothing, services, all };  // what is to be published
  Result<Changed> bring(const Brought& brought);
  // Publishes what was brought.
  Result<void> publish_brought(Changed changed) { return publish_kinds(changed == Changed::services); }

  // Backends the agent's own checks found out about.
  Result<void> set_healthy(const IpAddress& address, std::uint16_t port, Protocol protocol, bool healthy);

  // Which of the wanted announcements may stand: nobody else on the link has the address. Until it is told, those the
  // maps held at the start. Asked at each publish_services() and publish().
  using MayAnnounce = std::function<bool(const weft_l2_key&)>;
  void set_may_announce(MayAnnounce may_announce) { may_announce_ = std::move(may_announce); }

  // Numbers that changed since they were stored last.
  Result<void> store_numbers(bool force);

  [[nodiscard]] const Compiled& compiled() const { return compiled_; }
  [[nodiscard]] Compiler& compiler() { return *compiler_; }
  [[nodiscard]] const Compiler& compiler() const { return *compiler_; }
  [[nodiscard]] control::ServiceCompiler& services() { return *services_; }
  [[nodiscard]] const control::ServiceCompiler& services() const { return *services_; }
  [[nodiscard]] const ServiceFacts& service_facts() const { return facts_; }
  // Whether packets of clients outside are this node's business.
  [[nodiscard]] bool serves_outside() const {
    return services_->has_external() || !parts_.config.load_balancer_peers.empty();
  }
  // Services that held something outside the ranges at the start: they alone may.
  [[nodiscard]] const std::vector<model::ObjectKey>& held_out_of_range() const { return held_out_of_range_; }
  // How often all was compiled, or was to be.
  [[nodiscard]] std::uint64_t compiles() const { return compiles_; }
  // Grows with every difference of services that was handed to the maps.
  [[nodiscard]] std::uint64_t service_revision() const { return service_revision_; }
  // What is announced, and what shall be.
  [[nodiscard]] const datapath::Rows<weft_l2_key, weft_l2>& announced() const { return compiled_.rows.announced; }
  [[nodiscard]] const Announcements& announcements() const { return announcements_; }

  // Of the pools of pods' addresses, but "default".
  [[nodiscard]] std::vector<Cidr> pod_pools() const;

 private:
  explicit Publisher(Parts parts) : parts_(parts) {}
  Result<control::ServiceAssignments> stored_assignments(std::vector<std::string>& notes) const;
  Result<void> read_services(std::vector<std::string>& notes);
  Result<void> store_assignments(const std::set<model::ObjectKey>& services);
  Result<void> publish_kinds(bool services_only, Fit fit = Fit::what_fits);
  Result<control::ServiceDelta> compile_services(Fit fit);
  Result<void> publish_services_once(Fit fit);
  Result<void> serve_left_out(Result<void> published);
  Result<void> serve_waiting();
  struct Pools {
    std::vector<const model::LoadBalancerPool*> balancers;
    std::vector<Cidr> pods;  // of the pools of pods' addresses, but "default"
  };
  [[nodiscard]] std::string users_of(const std::string& pool) const;
  Result<void> admit(model::Document& document, const Pools& pools, ExternalClaims& claims);
  [[nodiscard]] Pools admit_pools(const std::vector<model::Document>& documents, std::vector<Refusal>& refusals);
  void keep_waiting(const model::ObjectKey& service, const std::string& reason);
  void read_services_pods();
  void upsert_service(const model::Service& service) {
    selectors_changed_ = true;
    services_->upsert(service);
  }
  void erase_service(const model::ObjectKey& key) {
    selectors_changed_ = true;
    services_->erase_service(key);
  }
  void tell_remote_pod(const model::ObjectKey& key);
  void tell_remote_pod(const cluster::ToldPod& pod);
  void tell_walked_pod(const cluster::ToldPod& pod);
  void tell_changed_pods();
  void tell_remote_pods();
  void look_at_selectors();
  void note_own(const Compiled& before, const Compiled& now);
  datapath::RemoteRows remote_rows() const;
  datapath::RemoteRows all_remote_rows() const;
  void keep_of_nodes(datapath::DesiredRows& rows);
  void compile_announcements();
  [[nodiscard]] weft_config config_now() const;
  void mark_redirect_targets(datapath::DesiredRows& rows) const;

  Parts parts_;
  weft_config base_{};
  const Node* node_ = nullptr;
  const Records* records_ = nullptr;
  std::optional<Compiler> compiler_;
  std::unique_ptr<control::ServiceCompiler> services_;
  ServiceFacts facts_;
  Compiled compiled_;
  std::set<model::ObjectKey> service_pods_;
  std::vector<std::string> withheld_host_ports_;
  ClusterView cluster_;
  const cluster::PodTable* others_ = nullptr;
  OthersChange changed_;
  bool selectors_changed_ = true;
  std::set<control::IdentityId> selected_;  // of other nodes' pods, those that some Service selects
  bool unheard_told_ = false;
  std::vector<model::ObjectKey> held_out_of_range_;
  std::vector<model::ObjectKey> served_at_start_;               // until the first compile
  std::map<model::ObjectKey, std::uint32_t> redirect_targets_;  // as in the maps
  Announcements announcements_;
  MayAnnounce may_announce_;
  PoolUsers pool_users_;
  Changed brought_ = Changed::nothing;  // of a bring that was cut short
  bool services_compiled_ = false;      // once, since the start
  std::uint64_t service_revision_ = 0;
  std::uint64_t compiles_ = 0;
  store::NumberSet stored_numbers_;
  std::uint64_t numbers_mark_ = 0;
  std::uint64_t stored_class_revision_ = 0;
  std::optional<std::string> stored_classes_;
};

}  // namespace weft::agent
