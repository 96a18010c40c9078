#include "fixture.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>

namespace weft::test {
namespace {

IpAddress address(const char* text) { return IpAddress::parse(text).value(); }

Net make_net(bool v4) {
  Net net;
  net.v4 = v4;
  net.a = address(v4 ? "10.1.0.2" : "fd00:1::2");
  net.b = address(v4 ? "10.1.0.3" : "fd00:1::3");
  net.c = address(v4 ? "10.1.0.4" : "fd00:1::4");
  net.host = address(v4 ? "10.9.0.1" : "fd00:9::10");
  net.gateway = address(v4 ? "169.254.1.1" : "fd00:9::1");
  net.nat = address(v4 ? "192.0.2.1" : "2001:db8::1");
  net.world = address(v4 ? "8.8.8.8" : "2620:fe::fe");
  net.world2 = address(v4 ? "9.9.9.9" : "2620:fe::9");
  net.service = address(v4 ? "10.2.0.10" : "fd00:2::10");
  net.nobody = address(v4 ? "10.1.0.77" : "fd00:1::77");
  net.unreachable = address(v4 ? "203.0.113.9" : "2001:db8:bad::9");
  net.other_subnet = address(v4 ? "198.51.100.9" : "2001:db8:5::9");
  net.client = address(v4 ? "203.0.114.50" : "2001:db8:c::50");
  net.remote = address(v4 ? "192.0.2.77" : "2001:db8::77");
  net.far_gateway = address(v4 ? "10.3.0.1" : "fd00:3::1");
  net.far = address(v4 ? "10.3.0.2" : "fd00:3::2");
  net.far_unknown = address(v4 ? "10.3.0.77" : "fd00:3::77");
  net.egress = address(v4 ? "192.0.2.200" : "2001:db8::200");
  net.link_local = address(v4 ? "169.254.7.7" : "fe80::7");
  return net;
}

const IpAddress& pod_address(const Net& net, char letter) {
  return letter == 'a' ? net.a : letter == 'b' ? net.b : net.c;
}

std::uint8_t direction_prefix(weft_direction direction, unsigned length) {
  return static_cast<std::uint8_t>(static_cast<unsigned>(direction) << 7 | length);
}

weft_policy_key policy_key(std::uint32_t policy_class, weft_direction direction, std::uint32_t identity,
                           std::uint8_t protocol, std::uint16_t port, unsigned prefix_length) {
  return {policy_class, identity, port, protocol, direction_prefix(direction, prefix_length)};
}

weft_flow_key_v4 key_v4(const weft_flow_key_v6& tuple) {
  return {tuple.saddr.word[3], tuple.daddr.word[3], tuple.sport, tuple.dport, tuple.protocol, {}};
}

std::uint64_t jiffies() {
  std::ifstream timers("/proc/timer_list");
  for (std::string word; timers >> word;)
    if (word == "jiffies:") {
      std::uint64_t value = 0;
      timers >> value;
      return value;
    }
  throw std::runtime_error("no jiffies in /proc/timer_list");
}

template <class T, class U>
void expect_field(const char* field, const std::optional<T>& want, const U& got) {
  if (want) {
    EXPECT_EQ(*want, static_cast<T>(got)) << "field " << field;
  }
}

IpAddress from_abi(const weft_addr& addr) {
  IpAddress::Bytes bytes{};
  std::memcpy(bytes.data(), &addr, sizeof addr);
  return IpAddress(bytes);
}

void expect_address(const char* field, const std::optional<IpAddress>& want, const weft_addr& got) {
  if (want) {
    EXPECT_EQ(want->to_string(), from_abi(got).to_string()) << "field " << field;
  }
}

void check_event(const EventWant& want, const weft_event& got, weft_drop_reason reason) {
  EXPECT_EQ(want.type, got.type) << "event type";
  if (want.type == WEFT_EVENT_DENIED) {
    EXPECT_EQ(reason, got.drop_reason) << "event drop_reason";
  }
  expect_address("source", want.source, got.saddr);
  expect_address("destination", want.destination, got.daddr);
  expect_address("backend", want.backend, got.backend_addr);
  expect_field("source_port", want.source_port, ntohs(got.sport));
  expect_field("destination_port", want.destination_port, ntohs(got.dport));
  expect_field("backend_port", want.backend_port, ntohs(got.backend_port));
  expect_field("source_identity", want.source_identity, got.src_identity);
  expect_field("destination_identity", want.destination_identity, got.dst_identity);
  expect_field("egress_rule", want.egress_rule, got.egress_rule);
  expect_field("ingress_rule", want.ingress_rule, got.ingress_rule);
  expect_field("service_id", want.service_id, got.service_id);
  expect_field("source_endpoint", want.source_endpoint, got.src_endpoint);
  expect_field("destination_endpoint", want.destination_endpoint, got.dst_endpoint);
  expect_field("egress_node", want.egress_node, got.egress_node);
  expect_field("direction", want.direction, got.direction);
  expect_field("hook", want.hook, got.hook);
  expect_field("packets", want.packets, got.packets);
  expect_field("bytes", want.bytes, got.bytes);
  expect_field("reply_packets", want.reply_packets, got.reply_packets);
  expect_field("reply_bytes", want.reply_bytes, got.reply_bytes);
  EXPECT_NE(0u, got.time);
}

void check_flow(const Datapath& datapath, const Packet& key, const FlowWant& want) {
  const auto found = find_flow(datapath, key);
  EXPECT_EQ(!want.absent, found.has_value()) << "flow entry";
  if (!found || want.absent) return;
  expect_field("exit", want.exit, found->exit);
  expect_field("out_ifindex", want.out_ifindex, found->out_ifindex);
  expect_field("in_ifindex", want.in_ifindex, found->in_ifindex);
  expect_field("epoch", want.epoch, found->epoch);
  expect_field("egress_rule", want.egress_rule, found->egress_rule);
  expect_field("ingress_rule", want.ingress_rule, found->ingress_rule);
  expect_field("service_id", want.service_id, found->service_id);
  expect_field("backend_id", want.backend_id, found->backend_id);
  expect_field("mtu", want.mtu, found->mtu);
  expect_field("node", want.node, found->node);
  expect_field("source_identity", want.source_identity, found->src_identity);
  expect_field("destination_identity", want.destination_identity, found->dst_identity);
  expect_field("packets", want.packets, found->packets);
  expect_field("bytes", want.bytes, found->bytes);
  EXPECT_EQ(want.flags_set, found->flags & want.flags_set) << "flags " << found->flags;
  EXPECT_EQ(0, found->flags & want.flags_clear) << "flags " << found->flags;
}

void check_drops(const std::array<std::uint64_t, WEFT_DROP_REASON_COUNT>& before,
                 const std::array<std::uint64_t, WEFT_DROP_REASON_COUNT>& after, weft_drop_reason want) {
  static constexpr const char* names[] = {
#define WEFT_TEST_NAME(name, text, meaning) text,
      WEFT_DROP_REASONS(WEFT_TEST_NAME)
#undef WEFT_TEST_NAME
  };
  for (std::size_t reason = 1; reason < WEFT_DROP_REASON_COUNT; ++reason)
    EXPECT_EQ(static_cast<int>(reason) == static_cast<int>(want) ? 1u : 0u, after[reason] - before[reason])
        << "drops counted as " << names[reason];
}

void check_packet(Datapath& datapath, const Step& step) {
  const auto drops = datapath.drops();
  const auto stats = datapath.stats();
  const auto result = datapath.run(step.hook, *step.packet, step.options);
  EXPECT_EQ(step.want_verdict, result.verdict) << "verdict";
  if (step.want_verdict != kActShot) {
    const auto want = step.want_packet.value_or(*step.packet).bytes();
    EXPECT_EQ(dump(want), dump(result.packet)) << "packet";
  }
  check_drops(drops, datapath.drops(), step.want_reason);
  if (step.want_stat) {
    EXPECT_EQ(1u, datapath.stats()[*step.want_stat] - stats[*step.want_stat]) << "stat " << *step.want_stat;
  }
  const auto events = datapath.events();
  ASSERT_EQ(step.want_events.size(), events.size()) << "events";
  for (std::size_t i = 0; i < events.size(); ++i) check_event(step.want_events[i], events[i], step.want_reason);
}

void run_steps(Datapath& datapath, const std::vector<Step>& steps, const std::string& prefix) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto where = fmt::format("{}step {}", prefix, i + 1);
    SCOPED_TRACE(where);
    const auto& step = steps[i];
    if (step.packet)
      check_packet(datapath, step);
    else if (step.flow_key)
      check_flow(datapath, *step.flow_key, step.want_flow);
    else if (step.change)
      step.change(datapath);
    else
      run_steps(datapath, step.then(datapath), where + ", ");
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace

const Net& net_v4() {
  static const Net net = make_net(true);
  return net;
}

const Net& net_v6() {
  static const Net net = make_net(false);
  return net;
}

Row pod(const Net& net, char letter, PodOptions options) {
  const auto number = static_cast<std::uint32_t>(letter - 'a');
  weft_endpoint endpoint{};
  endpoint.ifindex = options.ifindex ? options.ifindex : kPodA + number;
  endpoint.endpoint_id = 11 + number;
  endpoint.identity = options.identity ? options.identity : 1001 + number;
  endpoint.cidr_identity = options.cidr_identity;
  endpoint.policy_class = options.policy_class;
  if (options.ingress_enforced) endpoint.flags |= WEFT_ENDPOINT_INGRESS_ENFORCED;
  if (options.egress_enforced) endpoint.flags |= WEFT_ENDPOINT_EGRESS_ENFORCED;
  for (int direction : {0, 1}) {
    endpoint.prefix_mask[direction] = options.prefix_mask;
    endpoint.default_rule[direction] = options.default_rule[direction];
  }
  endpoint.mtu = 1500;
  return [addr = to_abi(pod_address(net, letter)), endpoint](Datapath& d) { d.put("weft_ep_v1", addr, endpoint); };
}

Row no_pod(const Net& net, char letter) {
  return [addr = to_abi(pod_address(net, letter))](Datapath& d) { d.erase("weft_ep_v1", addr); };
}

Row host(const Net& net) { return host_at(net.host); }

Row host_at(const IpAddress& address) {
  weft_endpoint endpoint{};
  endpoint.endpoint_id = WEFT_ENDPOINT_ID_HOST;
  endpoint.identity = WEFT_IDENTITY_HOST;
  endpoint.flags = WEFT_ENDPOINT_HOST;
  return [addr = to_abi(address), endpoint](Datapath& d) { d.put("weft_ep_v1", addr, endpoint); };
}

Row policy(std::uint32_t policy_class, weft_direction direction, std::uint32_t identity, std::uint8_t protocol,
           std::uint16_t port, unsigned prefix_length, std::uint32_t rule, weft_policy_verdict verdict) {
  const auto key = policy_key(policy_class, direction, identity, protocol, port, prefix_length);
  const weft_policy_entry entry{rule, static_cast<std::uint8_t>(verdict), {}};
  return [key, entry](Datapath& d) { d.put("weft_policy_v1", key, entry); };
}

Row no_policy(std::uint32_t policy_class, weft_direction direction, std::uint32_t identity, std::uint8_t protocol,
              std::uint16_t port, unsigned prefix_length) {
  const auto key = policy_key(policy_class, direction, identity, protocol, port, prefix_length);
  return [key](Datapath& d) { d.erase("weft_policy_v1", key); };
}

Row prefix(const std::string& cidr, std::uint32_t identity, std::uint32_t flags) {
  const auto parsed = Cidr::parse(cidr).value();
  const weft_lpm_key key{parsed.mapped_length(), to_abi(parsed.address())};
  const weft_ip_identity value{identity, flags};
  return [key, value](Datapath& d) { d.put("weft_ipid_v2", key, value); };
}

Row remote(const IpAddress& address, std::uint32_t identity, std::uint32_t node, std::uint32_t flags,
           std::uint32_t cidr_identity) {
  const weft_remote value{identity, cidr_identity, node, flags};
  return [addr = to_abi(address), value](Datapath& d) { d.put("weft_remote_v1", addr, value); };
}

Row no_remote(const IpAddress& address) {
  return [addr = to_abi(address)](Datapath& d) { d.erase("weft_remote_v1", addr); };
}

namespace {

weft_egress_key egress_key(const std::string& cidr, std::uint32_t identity) {
  const auto parsed = Cidr::parse(cidr).value();
  return {32 + parsed.mapped_length(), identity, to_abi(parsed.address())};
}
const char* everywhere(const Net& net) { return net.v4 ? "0.0.0.0/0" : "::/0"; }

}  // namespace

Row egress(const std::string& cidr, const EgressOptions& options) {
  weft_egress row{};
  row.count = static_cast<std::uint8_t>(options.nodes.size());
  row.spread = options.spread;
  for (std::size_t i = 0; i < options.nodes.size(); ++i) row.node[i] = options.nodes[i];
  if (options.excluded) row.flags |= WEFT_EGRESS_EXCLUDED;
  if (options.address) {
    row.flags |= WEFT_EGRESS_GATEWAY;
    row.address = to_abi(*options.address);
  }
  row.ifindex = options.ifindex;
  return [key = egress_key(cidr, options.identity), row](Datapath& d) {
    d.put("weft_egress_v1", key, row);
    d.config().flags |= WEFT_CONFIG_EGRESS;
    d.write_config();
  };
}

Row egress(const Net& net, const EgressOptions& options) { return egress(everywhere(net), options); }

Row no_egress(const Net& net, std::uint32_t identity) {
  return [key = egress_key(everywhere(net), identity)](Datapath& d) { d.erase("weft_egress_v1", key); };
}

Row way_to(std::uint32_t index, weft_way way, const Net& underlay, std::uint32_t mtu) {
  weft_node value{};
  value.addr = to_abi(underlay.remote);
  value.source = to_abi(underlay.nat);
  value.mtu = mtu;
  value.way = static_cast<std::uint8_t>(way);
  if (way == WEFT_WAY_WIREGUARD) value.ifindex = kOther;
  return [index, value](Datapath& d) { d.put("weft_node_v1", index, value); };
}

Row far_node(const Net& net, weft_way way, const Net& underlay, std::uint32_t mtu) {
  const auto block = Cidr::parse(net.v4 ? "10.3.0.0/24" : "fd00:3::/64").value();
  const weft_lpm_key key{block.mapped_length(), to_abi(block.address())};
  const weft_ip_identity value{WEFT_IDENTITY_INIT, WEFT_IP_RESERVED, kFarNode, 0};
  const Rows rows{way_to(kFarNode, way, underlay, mtu), remote(net.far, kFarIdentity, kFarNode),
                  remote(net.far_gateway, WEFT_IDENTITY_REMOTE_NODE, kFarNode, WEFT_REMOTE_NODE),
                  remote(underlay.remote, WEFT_IDENTITY_REMOTE_NODE, 0, WEFT_REMOTE_NODE),
                  configure([way](weft_config& config) {
                    config.flags |= WEFT_CONFIG_NODES | (way == WEFT_WAY_DIRECT ? 0 : WEFT_CONFIG_TUNNEL) |
                                    (way == WEFT_WAY_VXLAN ? WEFT_CONFIG_VXLAN : 0) |
                                    (way == WEFT_WAY_GENEVE ? WEFT_CONFIG_GENEVE : 0);
                    config.overlay_ifindex = kOther;
                    config.overlay_port = htons(4789);
                  })};
  return [=](Datapath& d) {
    d.put("weft_ipid_v2", key, value);
    for (const auto& row : rows) row(d);
  };
}

Row far_node(const Net& net, weft_way way) { return far_node(net, way, net); }

Row service(const IpAddress& address, std::uint16_t port, std::uint8_t protocol, std::uint32_t id,
            const std::vector<std::uint32_t>& backends, std::uint32_t affinity_seconds, std::uint32_t first_slot) {
  const weft_service_key key{to_abi(address), htons(port), protocol, 0};
  weft_service value{};
  value.service_id = id;
  value.first_slot = first_slot;
  value.slot_count = static_cast<std::uint32_t>(backends.size());
  value.affinity_seconds = affinity_seconds;
  return [key, value, backends](Datapath& d) {
    for (std::uint32_t i = 0; i < backends.size(); ++i) d.put("weft_slot_v2", value.first_slot + i, backends[i]);
    d.put("weft_svc_v2", key, value);
  };
}

Row frontend(const IpAddress& address, std::uint16_t port, std::uint8_t protocol, const ServiceOptions& options) {
  const weft_service_key key{to_abi(address), htons(port), protocol, 0};
  weft_service value{};
  value.service_id = options.id;
  value.first_slot = value.external_first_slot = options.first_slot;
  value.slot_count = value.external_slot_count = static_cast<std::uint32_t>(options.backends.size());
  value.affinity_seconds = options.affinity_seconds;
  if (options.outside) {
    value.external_first_slot = options.first_slot + 100;
    value.external_slot_count = static_cast<std::uint32_t>(options.outside->size());
  }
  value.flags = options.flags;
  value.algorithm = static_cast<std::uint8_t>(options.algorithm);
  value.forwarding = static_cast<std::uint8_t>(options.forwarding);
  return [=](Datapath& d) {
    for (std::uint32_t i = 0; i < options.backends.size(); ++i)
      d.put("weft_slot_v2", value.first_slot + i, options.backends[i]);
    if (options.outside)
      for (std::uint32_t i = 0; i < options.outside->size(); ++i)
        d.put("weft_slot_v2", value.external_first_slot + i, (*options.outside)[i]);
    d.put("weft_svc_v2", key, value);
    if ((options.flags & WEFT_SERVICE_EXTERNAL) != 0) port_in(WEFT_PORTS_DEVICE, protocol, port)(d);
  };
}

Row node_port(const Net& net, std::uint16_t port, std::uint8_t protocol, const ServiceOptions& options) {
  const auto row = frontend(IpAddress::parse(net.v4 ? "0.0.0.0" : "::").value(), port, protocol, options);
  return [=](Datapath& d) {
    row(d);
    port_in(WEFT_PORTS_NODE, protocol, port)(d);
  };
}

Row port_in(weft_port_set set, std::uint8_t protocol, std::uint16_t port) {
  const auto word = weft_port_word(set, weft_port_protocol(protocol), port);
  return [=](Datapath& d) {
    d.put("weft_ports_v1", word, d.get<std::uint64_t>("weft_ports_v1", word).value() | std::uint64_t{1} << (port & 63));
  };
}

Row source_range(std::uint32_t service_id, const std::string& cidr) {
  const auto parsed = Cidr::parse(cidr).value();
  const weft_source_range_key key{32 + parsed.mapped_length(), service_id, to_abi(parsed.address())};
  return [key](Datapath& d) { d.put("weft_srange_v1", key, std::uint32_t{1}); };
}

Row announced(const IpAddress& address, std::uint32_t ifindex, const std::array<std::uint8_t, 6>& mac) {
  weft_l2 value{};
  std::memcpy(value.mac, mac.data(), mac.size());
  return [key = weft_l2_key{to_abi(address), ifindex}, value](Datapath& d) { d.put("weft_l2_v1", key, value); };
}

Row l2_watch(std::uint64_t until) {
  return [until](Datapath& d) { d.put("weft_l2watch_v1", std::uint32_t{0}, until); };
}

Row serving_outside(std::uint32_t more) {
  return configure([more](weft_config& config) { config.flags |= WEFT_CONFIG_EXTERNAL | more; });
}

weft_backend_stats backend_stats(const Datapath& datapath, std::uint32_t id) {
  return datapath.get<weft_backend_stats>("weft_bstat_v1", id).value();
}

weft_service_state service_state(const Datapath& datapath, std::uint32_t id) {
  return datapath.get<weft_service_state>("weft_svcstate_v1", id).value();
}

Row backend(std::uint32_t id, const IpAddress& address, std::uint16_t port, std::uint8_t protocol,
            weft_backend_state state, std::uint32_t service_id) {
  weft_backend value{};
  value.addr = to_abi(address);
  value.port = htons(port);
  value.protocol = protocol;
  value.state = static_cast<std::uint8_t>(state);
  value.service_id = service_id;
  return [id, value](Datapath& d) { d.put("weft_backend_v2", id, value); };
}

Row no_backend(std::uint32_t id) {
  return [id](Datapath& d) { d.put("weft_backend_v2", id, weft_backend{}); };
}

Row uplink(const Net& net, std::uint32_t mtu, bool with_address) {
  (void)net;
  weft_device device{};
  if (with_address) {
    device.nat_v4 = to_abi(net_v4().nat);
    device.nat_v6 = to_abi(net_v6().nat);
  }
  device.mtu = mtu;
  return [device](Datapath& d) { d.put("weft_dev_v1", std::uint32_t{kUplink}, device); };
}

Row hint(std::uint32_t endpoint, const IpAddress& address, std::uint16_t port, std::uint8_t protocol,
         std::uint32_t service_id, std::uint32_t backend_id) {
  const weft_hint_key key{endpoint, to_abi(address), htons(port), protocol, 0};
  return [=](Datapath& d) { d.put("weft_hint_v2", key, weft_hint{service_id, backend_id, jiffies()}); };
}

Row configure(std::function<void(weft_config&)> change) {
  return [change = std::move(change)](Datapath& d) {
    change(d.config());
    d.write_config();
  };
}

Row bump() {
  return [](Datapath& d) { d.bump_epoch(); };
}

Row standard(const Net& net) {
  const Rows rows{pod(net, 'a'),
                  pod(net, 'b'),
                  host(net),
                  uplink(net),
                  prefix(net.v4 ? "10.1.0.0/16" : "fd00:1::/64", WEFT_IDENTITY_WORLD, WEFT_IP_RESERVED),
                  prefix(net.v4 ? "10.2.0.0/16" : "fd00:2::/64", WEFT_IDENTITY_WORLD, WEFT_IP_RESERVED)};
  return [rows](Datapath& d) {
    for (const auto& row : rows) row(d);
  };
}

weft_flow_key_v6 tuple_of(const Packet& packet) {
  weft_flow_key_v6 tuple{};
  tuple.saddr = to_abi(packet.source);
  tuple.daddr = to_abi(packet.destination);
  tuple.protocol = packet.protocol;
  tuple.sport = htons(packet.source_port);
  tuple.dport = htons(packet.destination_port);
  if (packet.protocol == 1 || packet.protocol == 58) {
    const bool request = packet.icmp_type == 8 || packet.icmp_type == 128;
    (request ? tuple.sport : tuple.dport) = htons(packet.icmp_id);
  }
  return tuple;
}

std::optional<weft_flow> find_flow(const Datapath& datapath, const Packet& packet) {
  const auto tuple = tuple_of(packet);
  return packet.is_v4() ? datapath.get<weft_flow>("weft_flow4_v2", key_v4(tuple))
                        : datapath.get<weft_flow>("weft_flow6_v2", tuple);
}

void erase_flow(Datapath& datapath, const Packet& packet) {
  const auto tuple = tuple_of(packet);
  if (packet.is_v4())
    datapath.erase("weft_flow4_v2", key_v4(tuple));
  else
    datapath.erase("weft_flow6_v2", tuple);
}

void change_flow(Datapath& datapath, const Packet& packet, const std::function<void(weft_flow&)>& change) {
  auto entry = find_flow(datapath, packet).value();
  change(entry);
  const auto tuple = tuple_of(packet);
  if (packet.is_v4())
    datapath.put("weft_flow4_v2", key_v4(tuple), entry);
  else
    datapath.put("weft_flow6_v2", tuple, entry);
}

Step& Step::redirected() {
  want_verdict = kActRedirect;
  return *this;
}

Step& Step::becomes(Packet output) {
  want_packet = std::move(output);
  return *this;
}

Step& Step::event(const EventWant& want) {
  want_events.push_back(want);
  return *this;
}

Step& Step::dropped(weft_drop_reason reason, const EventWant& details) {
  want_verdict = kActShot;
  want_reason = reason;
  want_events.push_back(details);
  return *this;
}

Step& Step::answered(weft_drop_reason reason, Packet answer, const EventWant& details) {
  dropped(reason, details);
  want_verdict = kActRedirect;
  return becomes(std::move(answer));
}

Step& Step::silently() {
  want_events.clear();
  return *this;
}

Step& Step::counts(weft_stat stat) {
  want_stat = stat;
  return *this;
}

Step& Step::entering(std::uint32_t ifindex) {
  options.ingress_ifindex = ifindex;
  return *this;
}

Step& Step::sent_by(const IpAddress& node, std::uint32_t vni) {
  options.tunnel = Tunnel{to_abi(node), vni, node.is_v4()};
  return *this;
}

Step send(Hook hook, std::uint32_t ifindex, Packet packet) {
  Step step;
  step.packet = std::move(packet);
  step.hook = hook;
  step.options.ifindex = ifindex;
  return step;
}

Step flow(Packet key, FlowWant want) {
  Step step;
  step.flow_key = std::move(key);
  step.want_flow = want;
  return step;
}

Step no_flow(Packet key) { return flow(std::move(key), {.absent = true}); }

Step change(Row row) {
  Step step;
  step.change = std::move(row);
  return step;
}

Step then(std::function<std::vector<Step>(Datapath&)> more) {
  Step step;
  step.then = std::move(more);
  return step;
}

void run(Datapath& datapath, const Case& fixture) {
  datapath.clear();
  for (const auto& row : fixture.setup) row(datapath);
  run_steps(datapath, fixture.steps, "");
}

Cases all_cases(const Net& net) {
  Cases all;
  for (const CaseTable table : {forward_cases,    policy_cases,      epoch_cases,
                                service_cases,    external_cases,    algorithm_cases,
                                bereaved_cases,   announce_cases,    nat_cases,
                                icmp_error_cases, fragment_cases,    tcp_cases,
                                reset_cases,      affinity_cases,    from_pod_cases,
                                neighbour_cases,  host_cases,        malformed_cases,
                                xdp_cases,        xdp_dsr_cases,     xdp_decapsulate_cases,
                                hostile_cases,    forged_node_cases, flood_cases,
                                loop_cases,       node_cases,        tunnel_cases,
                                egress_cases}) {
    for (auto& each : table(net)) all.push_back(std::move(each));
  }
  return all;
}

}  // namespace weft::test
