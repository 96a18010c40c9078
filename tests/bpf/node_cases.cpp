// Addresses of other nodes: whose they are, and the direct way to them, by the kernel's routes.
#include "fixture.h"

namespace weft::test {
namespace {

const EventWant kCreated{.type = WEFT_EVENT_NEW};

Packet hop(const Packet& packet) { return packet.with_hop_limit(63); }

Row all(Rows rows) {
  return [rows = std::move(rows)](Datapath& d) {
    for (const auto& row : rows) row(d);
  };
}

Row base(const Net& net) { return all({standard(net), far_node(net, WEFT_WAY_DIRECT)}); }
Row without_nodes() {
  return configure([](weft_config& config) { config.flags &= ~static_cast<std::uint32_t>(WEFT_CONFIG_NODES); });
}

Cases whose(const Net& net) {
  const auto syn = tcp(net.a, 40000, net.far, 80, kSyn);
  const auto egress_to = [&](std::uint32_t identity) {
    return all({pod(net, 'a', {.policy_class = 5, .egress_enforced = true, .prefix_mask = 1u << 16}),
                policy(5, WEFT_EGRESS, identity, kTcp, 80, 16, 33)});
  };
  const std::string far_range = net.v4 ? "10.3.0.0/30" : "fd00:3::/126";
  return {
      {"a pod of another node has its own identity",
       {base(net), egress_to(kFarIdentity)},
       {send(Hook::from_pod, kPodA, syn)
            .redirected()
            .becomes(hop(syn))
            .event({.type = WEFT_EVENT_NEW,
                    .source_identity = 1001,
                    .destination_identity = kFarIdentity,
                    .egress_rule = 33,
                    .source_endpoint = 11,
                    .destination_endpoint = 0}),
        send(Hook::from_pod, kPodA, syn.to(net.far_unknown, 80))
            .dropped(WEFT_DROP_POLICY_DENIED,
                     {.type = WEFT_EVENT_DENIED, .destination_identity = WEFT_IDENTITY_INIT})}},
      {"and that of the CIDR that holds it",
       {base(net), egress_to(1 << 24), remote(net.far, kFarIdentity, kFarNode, 0, 1 << 24)},
       {send(Hook::from_pod, kPodA, syn)
            .redirected()
            .becomes(hop(syn))
            .event({.type = WEFT_EVENT_NEW, .destination_identity = kFarIdentity, .egress_rule = 33})}},
      {"the longest prefix does not know better than the address",
       {base(net), prefix(far_range, 1 << 24, WEFT_IP_NATIVE)},
       {send(Hook::from_pod, kPodA, syn)
            .redirected()
            .becomes(hop(syn))
            .event({.type = WEFT_EVENT_NEW, .destination_identity = kFarIdentity})}},
      {"another node's own addresses",
       {base(net), prefix(net.v4 ? "192.0.2.0/24" : "2001:db8::/64", 1 << 24, 0)},
       {send(Hook::from_pod, kPodA, syn.to(net.far_gateway, 80))
            .redirected()
            .becomes(hop(syn.to(net.far_gateway, 80)))
            .event({.type = WEFT_EVENT_NEW, .destination_identity = WEFT_IDENTITY_REMOTE_NODE}),
        // the one it is reached by is like any outside: translated
        send(Hook::from_pod, kPodA, syn.to(net.remote, 80))
            .redirected()
            .becomes(hop(syn.from(net.nat, 40000).to(net.remote, 80)))
            .event({.type = WEFT_EVENT_NEW, .destination_identity = WEFT_IDENTITY_REMOTE_NODE})}},
      {"an address of its block that nobody is known at: asked again until somebody is",
       {base(net)},
       {send(Hook::from_pod, kPodA, syn.to(net.far_unknown, 80))
            .redirected()
            .becomes(hop(syn.to(net.far_unknown, 80)))
            .event({.type = WEFT_EVENT_NEW, .destination_identity = WEFT_IDENTITY_INIT}),
        send(Hook::from_pod, kPodA, syn.to(net.far_unknown, 80).with_flags(kAck))
            .redirected()
            .becomes(hop(syn.to(net.far_unknown, 80).with_flags(kAck)))
            .counts(WEFT_STAT_REDECIDED),
        change(remote(net.far_unknown, 1888, kFarNode)),
        send(Hook::from_pod, kPodA, syn.to(net.far_unknown, 80).with_flags(kAck))
            .redirected()
            .becomes(hop(syn.to(net.far_unknown, 80).with_flags(kAck)))
            .counts(WEFT_STAT_REDECIDED),
        flow(syn.to(net.far_unknown, 80), {.epoch = 1, .destination_identity = 1888})}},
      {"without other nodes their tables are not looked at",
       {base(net), without_nodes()},
       {send(Hook::from_pod, kPodA, syn)
            .dropped(WEFT_DROP_UNKNOWN_ENDPOINT,
                     {.type = WEFT_EVENT_DENIED, .destination_identity = WEFT_IDENTITY_INIT})}},
      {"a node whose way is not known",
       {base(net), remote(net.far, kFarIdentity, 9)},
       {send(Hook::from_pod, kPodA, syn).dropped(WEFT_DROP_NODE_UNKNOWN), no_flow(syn)}},
      {"an address here is nobody's elsewhere",
       {base(net), remote(net.b, kFarIdentity, kFarNode)},
       {send(Hook::from_pod, kPodA, syn.to(net.b, 80))
            .redirected()
            .event({.type = WEFT_EVENT_NEW, .destination_identity = 1002, .destination_endpoint = 12})}},
  };
}

Cases direct(const Net& net) {
  const auto out = tcp(net.a, 40000, net.far, 80, kSyn);
  const auto back = out.reversed().with_flags(kSyn | kAck);
  const auto in = tcp(net.far, 50000, net.b, 8080, kSyn);
  const auto answer = in.reversed().with_flags(kSyn | kAck);
  const auto datagram = udp(net.far, 50000, net.b, 53);
  const auto ping = echo_request(net.far, net.b, 7);
  const Row isolated = pod(net, 'b', {.policy_class = 5, .ingress_enforced = true, .prefix_mask = 1u << 16});
  const auto far_end = policy(5, WEFT_INGRESS, kFarIdentity, kTcp, 8080, 16, 33);
  return {
      {"to a pod of another node and back: as it is, past the stack",
       {base(net)},
       {send(Hook::from_pod, kPodA, out).redirected().becomes(hop(out)).event(kCreated),
        flow(out, {.exit = WEFT_EXIT_NEIGH,
                   .out_ifindex = kUplink,
                   .in_ifindex = kPodA,
                   .mtu = 1500,
                   .flags_clear = WEFT_FLOW_SNAT | WEFT_FLOW_DNAT}),
        flow(back, {.exit = WEFT_EXIT_PEER, .out_ifindex = kPodA, .in_ifindex = 0, .flags_set = WEFT_FLOW_REPLY}),
        send(Hook::to_device, kUplink, hop(out)).entering(kPodA), send(Hook::from_device, kUplink, back).redirected(),
        send(Hook::from_pod, kPodA, out.with_flags(kAck)).redirected().becomes(hop(out.with_flags(kAck))),
        send(Hook::from_device, kUplink, back.with_flags(kAck)).redirected(), flow(out, {.packets = 2}),
        flow(back, {.packets = 2})}},
      {"from a pod of another node and back: decided at the uplink",
       {base(net)},
       {send(Hook::from_device, kUplink, in)
            .redirected()
            .event({.type = WEFT_EVENT_NEW,
                    .source = net.far,
                    .destination = net.b,
                    .source_identity = kFarIdentity,
                    .destination_identity = 1002,
                    .source_endpoint = 0,
                    .destination_endpoint = 12,
                    .hook = WEFT_HOOK_FROM_DEVICE}),
        flow(in, {.exit = WEFT_EXIT_PEER,
                  .out_ifindex = kPodB,
                  .in_ifindex = 0,
                  .packets = 1,
                  .flags_clear = WEFT_FLOW_EXTERNAL}),
        flow(answer, {.exit = WEFT_EXIT_NEIGH, .out_ifindex = kUplink, .in_ifindex = kPodB, .mtu = 1500}),
        send(Hook::from_pod, kPodB, answer).redirected().becomes(hop(answer)),
        send(Hook::from_device, kUplink, in.with_flags(kAck)).redirected(),
        send(Hook::from_pod, kPodB, answer.with_flags(kAck)).redirected().becomes(hop(answer.with_flags(kAck))),
        flow(in, {.packets = 2}), flow(answer, {.packets = 2})}},
      {"datagrams and echoes",
       {base(net)},
       {send(Hook::from_device, kUplink, datagram).redirected().event(kCreated),
        send(Hook::from_pod, kPodB, datagram.reversed()).redirected().becomes(hop(datagram.reversed())),
        send(Hook::from_device, kUplink, ping).redirected().event(kCreated),
        send(Hook::from_pod, kPodB, echo_reply(net.b, net.far, 7))
            .redirected()
            .becomes(hop(echo_reply(net.b, net.far, 7))),
        send(Hook::from_pod, kPodA, echo_request(net.a, net.far, 8))
            .redirected()
            .becomes(hop(echo_request(net.a, net.far, 8)))
            .event(kCreated),
        send(Hook::from_device, kUplink, echo_reply(net.far, net.a, 8)).redirected()}},
      {"policy sees who it is",
       {base(net), isolated, far_end},
       {send(Hook::from_device, kUplink, in)
            .redirected()
            .event({.type = WEFT_EVENT_NEW, .source_identity = kFarIdentity, .ingress_rule = 33}),
        send(Hook::from_device, kUplink, in.from(net.far_gateway, 50000))
            .dropped(WEFT_DROP_POLICY_DENIED, {.type = WEFT_EVENT_DENIED,
                                               .source_identity = WEFT_IDENTITY_REMOTE_NODE,
                                               .ingress_rule = 70,
                                               .direction = WEFT_INGRESS}),
        send(Hook::from_device, kUplink, in.from(net.far_unknown, 50000))
            .dropped(WEFT_DROP_POLICY_DENIED, {.type = WEFT_EVENT_DENIED, .source_identity = WEFT_IDENTITY_INIT}),
        change(remote(net.far, 1999, kFarNode)), change(bump()),
        send(Hook::from_device, kUplink, in.with_flags(kAck))
            .dropped(WEFT_DROP_POLICY_REVOKED, {.type = WEFT_EVENT_DENIED, .source_identity = 1999})}},
      {"what the uplink has nothing to do with passes",
       {base(net)},
       {send(Hook::from_device, kUplink, in.to(net.host, 22)), send(Hook::from_device, kUplink, in.to(net.world, 80)),
        send(Hook::from_device, kUplink, in.from(net.remote, 9)),
        send(Hook::from_device, kUplink, in.from(net.client, 9)),
        send(Hook::from_device, kUplink, ping.from(net.client, 0)), no_flow(in.from(net.client, 9))}},
      {"an address of ours is nobody's there",
       {base(net)},
       {send(Hook::from_device, kUplink, in.from(net.a, 9)).dropped(WEFT_DROP_SPOOFED_SOURCE),
        send(Hook::from_device, kUplink, in.from(net.host, 9)).dropped(WEFT_DROP_SPOOFED_SOURCE)}},
      {"decided again, whoever asks first",
       {base(net)},
       {send(Hook::from_device, kUplink, in).redirected().event(kCreated),
        send(Hook::from_pod, kPodB, answer).redirected().becomes(hop(answer)), change(bump()),
        send(Hook::from_pod, kPodB, answer.with_flags(kAck))
            .redirected()
            .becomes(hop(answer.with_flags(kAck)))
            .counts(WEFT_STAT_REDECIDED),
        send(Hook::from_device, kUplink, in.with_flags(kAck)).redirected(), change(bump()),
        send(Hook::from_device, kUplink, in.with_flags(kAck)).redirected().counts(WEFT_STAT_REDECIDED),
        flow(answer, {.exit = WEFT_EXIT_NEIGH, .out_ifindex = kUplink, .in_ifindex = kPodB, .epoch = 3}),
        flow(in, {.exit = WEFT_EXIT_PEER, .out_ifindex = kPodB, .in_ifindex = 0, .epoch = 3})}},
      {"the way changes under a flow",
       {base(net)},
       {send(Hook::from_pod, kPodA, out).redirected().becomes(hop(out)).event(kCreated),
        change(far_node(net, WEFT_WAY_VXLAN)), change(bump()),
        send(Hook::from_pod, kPodA, out.with_flags(kAck)).redirected().becomes(hop(out.with_flags(kAck))),
        flow(out,
             {.exit = WEFT_EXIT_TUNNEL, .out_ifindex = kOther, .in_ifindex = kPodA, .mtu = 1450, .node = kFarNode}),
        flow(back, {.exit = WEFT_EXIT_PEER, .in_ifindex = WEFT_IN_TUNNEL}), change(far_node(net, WEFT_WAY_DIRECT)),
        change(bump()), send(Hook::from_device, kUplink, back.with_flags(kAck)).redirected(),
        flow(out, {.exit = WEFT_EXIT_NEIGH, .out_ifindex = kUplink, .mtu = 1500}), flow(back, {.in_ifindex = 0})}},
      {"a pod's packet may be too large for the uplink, and is the stack's then",
       {base(net)},
       {send(Hook::from_pod, kPodA, out.with_flags(kAck).with_payload(1600))
            .event(kCreated)
            .counts(WEFT_STAT_TO_STACK_MTU)}},
  };
}

Cases served(const Net& net) {
  const auto syn = tcp(net.a, 40000, net.service, 80, kSyn);
  const auto inside = syn.to(net.far, 8080);
  const auto client = tcp(net.client, 50000, net.service, 80, kSyn);
  const auto outward = client.to(net.far, 8080).from(net.nat, 61000);
  const Row rows = all({base(net), serving_outside(), backend(3, net.far, 8080, kTcp),
                        frontend(net.service, 80, kTcp, {.backends = {3}}),
                        configure([](weft_config& config) { config.lb_port_min = config.lb_port_max = 61000; })});
  return {
      {"a pod's service with a backend on another node",
       {rows},
       {send(Hook::from_pod, kPodA, syn)
            .redirected()
            .becomes(hop(inside))
            .event({.type = WEFT_EVENT_NEW,
                    .backend = net.far,
                    .destination_identity = kFarIdentity,
                    .service_id = kService}),
        send(Hook::from_device, kUplink, inside.reversed().with_flags(kSyn | kAck))
            .redirected()
            .becomes(syn.reversed().with_flags(kSyn | kAck))}},
      {"a client's service with a backend on another node: as with any elsewhere",
       {rows},
       {send(Hook::from_device, kUplink, client)
            .redirected()
            .becomes(hop(outward))
            .event({.type = WEFT_EVENT_NEW, .destination_identity = kFarIdentity, .service_id = kService}),
        send(Hook::from_device, kUplink, outward.reversed().with_flags(kSyn | kAck))
            .redirected()
            .becomes(hop(client.reversed().with_flags(kSyn | kAck))),
        send(Hook::xdp, kUplink, client.from(net.far, 5))}},
  };
}

}  // namespace

Cases node_cases(const Net& net) {
  Cases all;
  for (const auto& part : {whose(net), direct(net), served(net)})
    for (const auto& one : part) {
      all.push_back(one);
      all.back().name = "nodes: " + one.name;
    }
  return all;
}

}  // namespace weft::test
