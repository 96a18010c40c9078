// Declarative cases for the datapath: rows, then packets one after the other with what must come of
// each. A case is written once for both families, in terms of the addresses in Net.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "datapath.h"
#include "packet.h"

namespace weft::test {

// Who is who. Pods a, b and c sit behind kPodA, kPodB, kPodC with identities 1001, 1002, 1003 and
// endpoint ids 11, 12, 13; the node has `host`.
struct Net {
  bool v4 = true;
  IpAddress a, b, c, host, gateway, nat, world, world2, service, nobody, unreachable, other_subnet, link_local;
  IpAddress client, remote;  // outside: a client, and a backend on another node
  // Another node, kFarNode, which sends and is reached by `remote`: its gateway, a pod of identity kFarIdentity, an
  // address of its block that nothing is known of.
  IpAddress far_gateway, far, far_unknown;
  IpAddress egress;  // by which pods leave the cluster here
  [[nodiscard]] const char* name() const { return v4 ? "v4" : "v6"; }
  [[nodiscard]] std::uint8_t icmp() const { return v4 ? 1 : 58; }
};
const Net& net_v4();
const Net& net_v6();

using Row = std::function<void(Datapath&)>;
using Rows = std::vector<Row>;

struct PodOptions {
  std::uint32_t policy_class = 0;
  bool ingress_enforced = false;
  bool egress_enforced = false;
  std::uint32_t prefix_mask = 0;  // both directions
  std::uint32_t cidr_identity = 0;
  std::uint32_t default_rule[2] = {70, 71};  // ingress, egress
  std::uint32_t ifindex = 0;                 // 0: the pod's own of Net
  std::uint32_t identity = 0;                // 0: the pod's own
};
// `letter` is a, b or c.
Row pod(const Net& net, char letter, PodOptions options = {});
Row no_pod(const Net& net, char letter);
Row host(const Net& net);
Row host_at(const IpAddress& address);
Row policy(std::uint32_t policy_class, weft_direction direction, std::uint32_t identity, std::uint8_t protocol,
           std::uint16_t port, unsigned prefix_length, std::uint32_t rule,
           weft_policy_verdict verdict = WEFT_POLICY_ALLOW);
Row no_policy(std::uint32_t policy_class, weft_direction direction, std::uint32_t identity, std::uint8_t protocol,
              std::uint16_t port, unsigned prefix_length);
Row prefix(const std::string& cidr, std::uint32_t identity, std::uint32_t flags);
inline constexpr std::uint32_t kFarNode = 3;
inline constexpr std::uint32_t kFarIdentity = 1777;
// The far node: its block, gateway, pod and the address it sends by. `underlay`: the family of that one.
Row far_node(const Net& net, weft_way way, const Net& underlay, std::uint32_t mtu = 1450);
Row far_node(const Net& net, weft_way way);
Row remote(const IpAddress& address, std::uint32_t identity, std::uint32_t node, std::uint32_t flags = 0,
           std::uint32_t cidr_identity = 0);
Row no_remote(const IpAddress& address);
// Pods of `identity` leave for `cidr` by these nodes, the first `spread` of them; `address`: this one is among them.
struct EgressOptions {
  std::uint32_t identity = 1001;
  std::vector<std::uint16_t> nodes{};
  std::uint8_t spread = 1;
  std::optional<IpAddress> address{};
  std::uint32_t ifindex = 0;
  bool excluded = false;
};
Row egress(const Net& net, const EgressOptions& options);  // everywhere
Row egress(const std::string& cidr, const EgressOptions& options);
Row no_egress(const Net& net, std::uint32_t identity);
Row way_to(std::uint32_t index, weft_way way, const Net& underlay, std::uint32_t mtu = 1450);
// A frontend with the slots first_slot.. holding `backends`.
Row service(const IpAddress& address, std::uint16_t port, std::uint8_t protocol, std::uint32_t id,
            const std::vector<std::uint32_t>& backends, std::uint32_t affinity_seconds = 0,
            std::uint32_t first_slot = 10);
// Of service kService unless told otherwise.
inline constexpr std::uint32_t kService = 7;
// More than the above. `backends` stand in the run at first_slot, `outside` in that at first_slot + 100 unless it is
// empty: then clients outside take the same run.
struct ServiceOptions {
  std::vector<std::uint32_t> backends{};
  std::optional<std::vector<std::uint32_t>> outside{};
  std::uint16_t flags = WEFT_SERVICE_EXTERNAL;
  weft_algorithm algorithm = WEFT_ALGORITHM_RANDOM;
  weft_forwarding forwarding = WEFT_FORWARD_SNAT;
  std::uint32_t affinity_seconds = 0;
  std::uint32_t id = 7;
  std::uint32_t first_slot = 10;
};
Row frontend(const IpAddress& address, std::uint16_t port, std::uint8_t protocol, const ServiceOptions& options);
// At every address of the node, and known to the port set.
Row node_port(const Net& net, std::uint16_t port, std::uint8_t protocol, const ServiceOptions& options);
Row port_in(weft_port_set set, std::uint8_t protocol, std::uint16_t port);
Row source_range(std::uint32_t service_id, const std::string& cidr);
Row announced(const IpAddress& address, std::uint32_t ifindex, const std::array<std::uint8_t, 6>& mac);
Row l2_watch(std::uint64_t until);  // an agent is there, CLOCK_MONOTONIC in nanoseconds
// Services for clients outside are on: with the flags of `more` too.
Row serving_outside(std::uint32_t more = 0);
Row backend(std::uint32_t id, const IpAddress& address, std::uint16_t port, std::uint8_t protocol,
            weft_backend_state state = WEFT_BACKEND_ACTIVE, std::uint32_t service_id = kService);
Row no_backend(std::uint32_t id);
Row uplink(const Net& net, std::uint32_t mtu = 1500, bool with_address = true);
Row hint(std::uint32_t endpoint, const IpAddress& address, std::uint16_t port, std::uint8_t protocol,
         std::uint32_t service_id, std::uint32_t backend_id = 0);
Row configure(std::function<void(weft_config&)> change);
Row bump();
// Pods a and b and the node, the pod and service ranges reserved, the uplink with addresses.
Row standard(const Net& net);

weft_flow_key_v6 tuple_of(const Packet& packet);
// `packet` keys the entry: as it arrives at the hook.
std::optional<weft_flow> find_flow(const Datapath& datapath, const Packet& packet);
void erase_flow(Datapath& datapath, const Packet& packet);
weft_backend_stats backend_stats(const Datapath& datapath, std::uint32_t id);
weft_service_state service_state(const Datapath& datapath, std::uint32_t id);
void change_flow(Datapath& datapath, const Packet& packet, const std::function<void(weft_flow&)>& change);

struct EventWant {
  weft_event_type type;
  std::optional<IpAddress> source{}, destination{}, backend{};
  std::optional<std::uint16_t> source_port{}, destination_port{}, backend_port{};
  std::optional<std::uint32_t> source_identity{}, destination_identity{}, egress_rule{}, ingress_rule{};
  std::optional<std::uint32_t> service_id{}, source_endpoint{}, destination_endpoint{}, egress_node{};
  std::optional<weft_direction> direction{};
  std::optional<weft_event_hook> hook{};
  std::optional<std::uint64_t> packets{}, bytes{}, reply_packets{}, reply_bytes{};
};

struct FlowWant {
  bool absent = false;
  std::optional<weft_exit> exit{};
  std::optional<std::uint32_t> out_ifindex{}, in_ifindex{}, epoch{}, egress_rule{}, ingress_rule{}, service_id{},
      backend_id{}, mtu{}, node{};
  std::optional<std::uint32_t> source_identity{}, destination_identity{};
  std::optional<std::uint64_t> packets{}, bytes{};
  std::uint16_t flags_set = 0;
  std::uint16_t flags_clear = 0;
};

struct Step {
  // One of: a packet, a change of rows, a look at a flow entry, more steps made when their time comes.
  std::optional<Packet> packet{};
  Row change{};
  std::optional<Packet> flow_key{};
  std::function<std::vector<Step>(Datapath&)> then{};

  Hook hook = Hook::from_pod;
  RunOptions options{};
  int want_verdict = kActOk;
  std::optional<Packet> want_packet{};  // unset: as sent; not looked at when dropped
  weft_drop_reason want_reason = WEFT_DROP_NONE;
  std::vector<EventWant> want_events{};
  std::optional<weft_stat> want_stat{};
  FlowWant want_flow{};

  // What should come of the packet; the default is the host's stack, unchanged, no event.
  Step& redirected();
  Step& becomes(Packet output);
  Step& event(const EventWant& want);
  // With its event unless silently() follows.
  Step& dropped(weft_drop_reason reason, const EventWant& details = {.type = WEFT_EVENT_DENIED});
  Step& silently();
  // Dropped, but told so by this packet.
  Step& answered(weft_drop_reason reason, Packet answer, const EventWant& details = {.type = WEFT_EVENT_DENIED});
  Step& counts(weft_stat stat);
  Step& entering(std::uint32_t ifindex);                    // options.ingress_ifindex
  Step& sent_by(const IpAddress& node, std::uint32_t vni);  // options.tunnel
};
Step send(Hook hook, std::uint32_t ifindex, Packet packet);
Step flow(Packet key, FlowWant want);
Step no_flow(Packet key);
Step change(Row row);
Step then(std::function<std::vector<Step>(Datapath&)> more);

using Steps = std::vector<Step>;

struct Case {
  std::string name;
  Rows setup;
  std::vector<Step> steps;
};
// Made for one family; a case of one family only is left out of the other's list.
using Cases = std::vector<Case>;
using CaseTable = Cases (*)(const Net& net);

void run(Datapath& datapath, const Case& fixture);

// The tables, one a file.
Cases forward_cases(const Net& net);
Cases policy_cases(const Net& net);
Cases epoch_cases(const Net& net);
Cases service_cases(const Net& net);
Cases nat_cases(const Net& net);
Cases external_cases(const Net& net);
Cases algorithm_cases(const Net& net);
Cases bereaved_cases(const Net& net);
Cases announce_cases(const Net& net);
Cases icmp_error_cases(const Net& net);
Cases fragment_cases(const Net& net);
Cases affinity_cases(const Net& net);
Cases tcp_cases(const Net& net);
Cases reset_cases(const Net& net);
Cases from_pod_cases(const Net& net);
Cases neighbour_cases(const Net& net);
Cases host_cases(const Net& net);
Cases malformed_cases(const Net& net);
Cases xdp_cases(const Net& net);
Cases xdp_dsr_cases(const Net& net);
Cases hostile_cases(const Net& net);
Cases forged_node_cases(const Net& net);
Cases flood_cases(const Net& net);
Cases loop_cases(const Net& net);
Cases xdp_decapsulate_cases(const Net& net);
Cases node_cases(const Net& net);
Cases tunnel_cases(const Net& net);
Cases egress_cases(const Net& net);
Cases all_cases(const Net& net);

inline constexpr std::uint8_t kTcp = 6;
inline constexpr std::uint8_t kUdp = 17;
inline constexpr std::uint8_t kSctp = 132;

}  // namespace weft::test
