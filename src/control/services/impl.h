// Inside of ServiceCompiler. The files: tables.cpp (what was told, and what depends on it), build.cpp (a Service as
// it should be), place.cpp (ids and slots), fit.cpp (who has no room), commit.cpp (frontends, the difference),
// adopt.cpp, views.cpp.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "control/services/assigner.h"
#include "control/services/hash_index.h"
#include "control/services/ids.h"
#include "control/services/maglev.h"
#include "control/services/names.h"
#include "control/services/port_words.h"
#include "control/services/records.h"
#include "control/services/services.h"
#include "control/services/share.h"
#include "control/services/slots.h"

namespace weft::control {

struct ServiceKeyHash {
  std::size_t operator()(const weft_service_key& key) const noexcept;
};
struct ServiceKeyEqual {
  bool operator()(const weft_service_key& a, const weft_service_key& b) const noexcept;
};
template <class T>
using FrontendMap = std::unordered_map<weft_service_key, T, ServiceKeyHash, ServiceKeyEqual>;

class ServiceCompiler::Impl {
 public:
  Impl(ServiceOptions options, ServiceAssignments restored);

  // tables.cpp
  Result<ServiceAssignment> assign(const model::Service& service, const std::vector<IpAddress>& preferred);
  void speak_for(const std::vector<const model::Service*>& services);
  std::vector<IpAddress> own_status(const model::Service& service);
  void forget(const model::ObjectKey& service);
  void restore(const model::ObjectKey& service, const ServiceAssignment& assignment);
  [[nodiscard]] ServiceAssignment held(const model::ObjectKey& service) const;
  [[nodiscard]] const ServiceAssignments& assignments() const;
  [[nodiscard]] std::string pending_reason(const model::ObjectKey& service) const;
  [[nodiscard]] std::map<model::ObjectKey, std::string> pending() const;
  void keep_waiting(const model::ObjectKey& service, const ServiceAssignment& assignment, const std::string& reason);
  std::vector<model::ObjectKey> assign_pending();
  ServiceAssignments plan_pending();
  // Services that hold something else now.
  struct Reassigned {
    model::ObjectKey service;
    ServiceAssignment before;
  };
  std::vector<Reassigned> reassign();
  void upsert(const model::Service& service);
  void upsert(const model::EndpointSlice& slice);
  void upsert(const ServicePod& pod);
  void upsert_pool(const model::LoadBalancerPool& pool) { assigner_.upsert(pool); }
  void erase_service(const model::ObjectKey& key);
  void erase_slice(const model::ObjectKey& key);
  void erase_pod(const model::ObjectKey& key);
  [[nodiscard]] bool any_selects(const std::string& namespace_, const LabelMap& labels);
  void erase_pool(const std::string& name) { assigner_.erase_pool(name); }
  void set_node(const ServiceNode& node);
  void set_unheard(std::unordered_set<IpAddress> addresses);
  void set_healthy(const IpAddress& address, std::uint16_t port, Protocol protocol, bool healthy);

  // adopt.cpp
  void adopt(const std::vector<std::pair<weft_service_key, weft_service>>& frontends,
             std::span<const weft_backend> backends, std::span<const std::uint32_t> slots);

  // fit.cpp
  Result<ServiceDelta> compile(Fit fit);
  [[nodiscard]] std::vector<LeftOut> left_out() const;
  [[nodiscard]] bool may_fit_more() const;
  [[nodiscard]] bool waits_for_numbers() const;

  // commit.cpp
  void hold_replaced() { hold_ = true; }
  void release_ids(const std::function<bool(std::uint32_t)>& backend_in_use,
                   const std::function<bool(std::uint32_t)>& service_in_use);

  // views.cpp
  [[nodiscard]] std::vector<const ServicePort*> ports_of(const model::ObjectKey& service) const;
  [[nodiscard]] const ServicePort* by_id(std::uint32_t service_id) const;
  [[nodiscard]] const ServicePort* backend_owner(std::uint32_t backend_id) const;
  [[nodiscard]] const ServicePort* find(const IpAddress& address, std::uint16_t port, Protocol protocol) const;
  void for_each(const std::function<void(const ServicePort&)>& visit) const;
  [[nodiscard]] std::vector<model::ObjectKey> slices_of(const model::ObjectKey& service) const;
  [[nodiscard]] std::vector<std::uint32_t> run(std::uint32_t first, std::uint32_t count) const;
  [[nodiscard]] std::vector<Shadowed> shadowed() const;
  [[nodiscard]] Usage usage() const;
  [[nodiscard]] const std::map<std::uint16_t, HealthPort>& health_ports() const { return health_ports_; }
  [[nodiscard]] const std::map<model::ObjectKey, std::uint32_t>& redirect_targets() const { return redirect_targets_; }
  [[nodiscard]] const Work& work() const { return work_; }
  [[nodiscard]] bool has_external() const { return external_frontends_ != 0; }
  [[nodiscard]] bool has_host_backends() const { return host_backends_ != 0; }

 private:
  using Key = services::Key;
  using Owner = services::Owner;
  using PodEntry = services::PodEntry;
  using PortState = services::PortState;
  using Run = services::Run;
  using ServiceEntry = services::ServiceEntry;
  using ServiceRecord = services::ServiceRecord;
  using SliceNode = services::SliceNode;
  using SliceRecord = services::SliceRecord;

  // How much of what it asks for an owner is given: less where there is no room.
  enum class Extent : std::uint8_t {
    all,
    known,   // of its ports, frontends and backends those that it has: needs no number, at most slots
    inside,  // its ClusterIPs alone
    bare,    // what is known, without slots: its runs are freed, its connections stay
    none,
  };
  // Who has no room, how much of it was planned last, and why not more.
  struct NoRoom {
    Extent extent = Extent::none;
    Error error;
    std::optional<services::Table> lacks;  // first
  };
  using NoRooms = std::unordered_map<Owner*, NoRoom>;
  // What an owner shall be, beside what it is. Nothing of it is visible before commit.
  struct Plan {
    Owner* owner = nullptr;
    Extent extent = Extent::all;
    bool measured = false;  // only to know what it asks for
    std::vector<PortState> ports;
    std::vector<services::Name> redirect_pods;
    std::uint32_t local_ready = 0;
  };
  struct Transaction {
    std::vector<Plan> plans;
    std::unordered_map<const Owner*, std::size_t> planned;  // -> index in plans
    std::vector<std::uint32_t> new_services;
    std::vector<std::uint32_t> new_backends;
    std::vector<std::uint32_t> taken_from_maps;  // adopted service ids
    std::vector<SlotRun> new_runs;
    FrontendMap<std::uint32_t> won;       // frontends that get an owner, or another one
    FrontendMap<std::uint32_t> released;  // frontends whose owner wants them no more
    Fit fit = Fit::all;
    std::uint64_t freed = 0;               // when it began
    std::optional<services::Table> lacks;  // of the last error
    NoRooms left_out;
    NoRooms rejected;  // by the contest for frontends, or for source ranges: to be planned again with less
  };
  // What of a transaction there was before an owner was built.
  struct Mark {
    std::size_t services = 0, backends = 0, taken = 0, runs = 0;
  };
  // A Service that is left out, and whether somebody has changed it since: then it is like any other.
  struct Left {
    Error error;
    std::uint64_t since = 0;
    bool changed = false;
    services::Claim claim{};  // all it asks for
    std::optional<services::Table> lacks;
    bool awaited = false;  // others give way to it: nobody who has its share already takes the room before
  };
  // From the maps: what the first compile takes over. Each service has its id and backends in `state`.
  struct Adopted {
    struct Service {
      PortState state;
      std::vector<Run> runs;
      bool taken = false;
    };
    FrontendMap<std::uint32_t> frontends;
    std::unordered_map<std::uint32_t, Service> services;
    std::vector<std::uint32_t> idle_backends;
  };

  // tables.cpp
  [[nodiscard]] Key intern(const model::ObjectKey& key);
  [[nodiscard]] std::optional<Key> find_key(const model::ObjectKey& key) const;
  ServiceEntry& entry_of(const Key& key);
  [[nodiscard]] const ServiceEntry* entry_of(const model::ObjectKey& key) const;
  void touch(Owner& owner);
  void touch_changed(Owner& owner);
  void touch_address(const IpAddress& address);
  void touch_selecting(const Key& pod, const services::Labels& labels);
  void index_selectors(ServiceEntry& entry);
  [[nodiscard]] services::HashIndex::Handle file_selector(ServiceEntry& entry, const services::Labels& selector);
  void drop_slice(const model::ObjectKey& key);
  void detach(SliceNode& node);
  void index_pod(PodEntry& pod);
  void unindex_pod(PodEntry& pod);
  void remember_assignment(ServiceEntry& entry, const ServiceAssignment& assignment);

  // build.cpp
  Result<void> build(Transaction& transaction, Owner& owner);
  Result<void> build_plan(Transaction& transaction, Owner& owner, Plan& plan);
  Result<void> build_service(Transaction& transaction, ServiceEntry& entry, Plan& plan);
  Result<void> build_host_ports(Transaction& transaction, PodEntry& pod, Plan& plan);
  [[nodiscard]] std::vector<services::Frontend> frontends_of(const ServiceEntry& entry, const ServiceAssignment& held,
                                                             const services::RecordPort& port, Family family) const;
  [[nodiscard]] std::vector<Family> families_of(const ServiceRecord& record, const ServiceAssignment& held) const;
  void collect(const ServiceEntry& entry, const services::RecordPort& port, const std::vector<const PodEntry*>& pods,
               const std::vector<const PodEntry*>& redirect, PortState& state);
  void keep_unheard(PortState& state, const PortState* previous) const;
  void collect_slices(const ServiceEntry& entry, const services::RecordPort& port, PortState& state) const;
  [[nodiscard]] services::Backend backend_of(const PodEntry& pod, const IpAddress& address, std::uint16_t port) const;
  [[nodiscard]] std::vector<const PodEntry*> selected(const Key& service, const services::Labels& selector) const;
  [[nodiscard]] std::uint16_t locality(const IpAddress& address, const services::Name& node) const;
  [[nodiscard]] bool is_healthy(const IpAddress& address, std::uint16_t port, Protocol protocol) const;

  // place.cpp
  [[nodiscard]] static const PortState* counterpart(const Owner& owner, const PortState& state);
  [[nodiscard]] const PortState* previous_of(const Owner& owner, PortState& state, Transaction& transaction,
                                             std::vector<Run>& runs);
  Result<void> identify(Transaction& transaction, const Owner& owner, PortState& state, const PortState* previous);
  Result<void> place(Transaction& transaction, const Owner& owner, PortState& state, const PortState* previous,
                     const std::vector<Run>& runs, std::uint32_t table_size);
  Result<Run> place_run(Transaction& transaction, const Owner& owner, const PortState& state, const PortState* previous,
                        const std::vector<Run>& runs, std::uint16_t bit, std::uint32_t table_size);
  [[nodiscard]] std::string where(const Owner& owner, const PortState& state) const;
  [[nodiscard]] static Mark mark_of(const Transaction& transaction);
  void roll_back(Transaction& transaction, const Mark& mark);

  // fit.cpp
  [[nodiscard]] bool may_leave_out(const Transaction& transaction, Owner& owner) const;
  [[nodiscard]] Extent less_than(Extent extent, const Owner& owner) const;
  [[nodiscard]] std::vector<Owner*> to_build(Fit fit) const;
  bool keep_known(const Owner& owner, const PortState* previous, PortState& state) const;
  static void keep_known_backends(const PortState& previous, PortState& state);
  void note_left_out(Transaction& transaction);

  // share.cpp
  [[nodiscard]] static bool goes_first(const Owner& owner);
  [[nodiscard]] static bool is_present(const Owner& owner);
  void measure(const Owner& owner, PortState& state, std::uint32_t table_size) const;
  [[nodiscard]] services::Claim ask_of(Owner& owner);
  void account_use(const Owner& owner, bool taken);
  [[nodiscard]] services::Claim sizes() const;
  [[nodiscard]] services::Claim room() const;
  [[nodiscard]] bool must_wait(const Transaction& transaction, Owner& owner) const;
  void share();
  bool give_way(services::Table table, std::uint64_t needed, std::uint64_t least);
  [[nodiscard]] static std::pair<Extent, std::uint64_t> less_of(const Owner& owner, services::Table table,
                                                                std::uint64_t claim);

  // commit.cpp
  Result<void> plan(Transaction& transaction);
  std::vector<Owner*> find_released(Transaction& transaction, const Plan& plan) const;
  Result<void> contend(Transaction& transaction);
  void keep_adopted_frontends(Transaction& transaction) const;
  Result<void> contend(Transaction& transaction, Plan& plan, std::size_t& count) const;
  Result<void> check_ranges(Transaction& transaction) const;
  ServiceDelta commit(Transaction& transaction);
  void commit_plan(Plan& plan, ServiceDelta& delta);
  void commit_port(const PortState* old, const PortState* now, ServiceDelta& delta);
  void commit_backends(const PortState* old, const PortState* now, ServiceDelta& delta);
  void commit_ranges(const PortState* old, const PortState* now, ServiceDelta& delta);
  void commit_waiting(const PortState* old, const PortState* now);
  void commit_frontends(const Transaction& transaction, ServiceDelta& delta);
  void account(const PortState& state, bool add);
  void account_owner(const Plan& plan);
  void retire_runs(const Plan& plan);
  void finish_adoption(ServiceDelta& delta);
  void collect_garbage();

  // views.cpp
  [[nodiscard]] const PortState* state_of(std::uint32_t service_id) const;
  [[nodiscard]] ServicePort view_of(const Owner& owner, const PortState& state) const;
  [[nodiscard]] Owner* owner_by_id(std::uint32_t service_id) const;

  services::NamePool names_;  // first: everything below holds its names
  ServiceOptions options_;
  services::Assigner assigner_;

  std::unordered_map<Key, ServiceEntry, services::KeyHash> services_;
  std::unordered_map<Key, SliceRecord, services::KeyHash> slices_;
  std::unordered_map<Key, PodEntry, services::KeyHash> pods_;
  std::vector<ServiceEntry*> services_by_index_;  // null: free
  std::vector<PodEntry*> pods_by_index_;
  std::vector<std::uint32_t> free_service_indexes_;
  std::vector<std::uint32_t> free_pod_indexes_;
  services::HashIndex services_by_label_;    // a pair of the selector, of the redirect's selector
  services::HashIndex services_by_address_;  // of an endpoint in a slice
  services::HashIndex pods_by_label_;
  std::unordered_multimap<IpAddress, PodEntry*> pods_by_address_;
  ServiceNode node_;
  services::Name node_name_;
  services::Name zone_;
  std::unordered_set<IpAddress> node_addresses_;
  std::unordered_set<IpAddress> withheld_;
  std::unordered_map<IpAddress, std::vector<std::pair<std::uint16_t, Protocol>>> unhealthy_;
  std::unordered_set<IpAddress> unheard_;
  std::vector<Owner*> dirty_;
  std::unordered_map<Owner*, Left> left_out_;
  std::uint64_t ever_left_out_ = 0;
  std::uint64_t freed_ = 0;  // grows whenever there is more room
  std::uint64_t tried_ = 0;  // `freed_` when those left out were tried last
  std::uint64_t tried_awaited_ = 0;
  std::unordered_map<services::Name, services::Claim, services::NameHash> use_;  // by namespace
  services::Claim shares_{};                                                     // when somebody was left out last
  NoRooms giving_way_;                                                           // in the next compile
  std::size_t awaited_ = 0;
  unsigned turns_ = 0;  // of giving way, since somebody changed something

  services::IdSpace service_ids_;
  services::IdSpace backend_ids_;
  services::SlotSpace slot_space_;
  std::vector<std::uint32_t> slots_;  // as in the map, as far as runs reach
  std::vector<Run> retiring_;         // still read by what the maps may hold
  bool hold_ = false;
  bool compiled_ = false;
  std::unique_ptr<Adopted> adopted_;

  std::vector<Owner*> owner_of_service_;             // by service id
  std::vector<std::uint32_t> service_of_backend_;    // by backend id
  FrontendMap<std::uint32_t> frontends_;             // -> service id
  FrontendMap<std::vector<std::uint32_t>> waiting_;  // service ids that came too late, in that order
  services::PortWords port_words_;
  std::uint32_t source_ranges_ = 0;
  std::uint32_t external_frontends_ = 0;
  std::uint32_t host_backends_ = 0;
  std::map<std::uint16_t, HealthPort> health_ports_;
  std::unordered_map<const Owner*, std::uint16_t> health_port_of_;
  std::map<model::ObjectKey, std::uint32_t> redirect_targets_;
  std::unordered_map<const Owner*, std::vector<services::Name>> redirect_pods_;
  Work work_;
  mutable std::unordered_map<std::uint32_t, std::unique_ptr<ServicePort>> views_;
  mutable ServiceAssignments assignments_;  // made when asked for
};

}  // namespace weft::control
