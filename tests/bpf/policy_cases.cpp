// Verdicts: default deny with its rule, allow by identity, protocol, port prefix, CIDR identity, in
// both directions; what policy never applies to.
#include "fixture.h"

namespace weft::test {
namespace {

constexpr std::uint32_t kClass = 5;

PodOptions isolated_ingress(std::uint32_t mask) {
  return {.policy_class = kClass, .ingress_enforced = true, .prefix_mask = mask};
}

PodOptions isolated_egress(std::uint32_t mask) {
  return {.policy_class = kClass, .egress_enforced = true, .prefix_mask = mask};
}

Cases ingress(const Net& net) {
  const auto syn = tcp(net.a, 40000, net.b, 80, kSyn);
  const auto isolated = pod(net, 'b', isolated_ingress(1u << 16 | 1u << 12 | 1));
  const auto allowed_by = [](std::uint32_t rule) {
    return EventWant{.type = WEFT_EVENT_NEW, .egress_rule = 0, .ingress_rule = rule};
  };
  const EventWant denied{.type = WEFT_EVENT_DENIED,
                         .source_identity = 1001,
                         .destination_identity = 1002,
                         .ingress_rule = 70,
                         .source_endpoint = 11,
                         .destination_endpoint = 12,
                         .direction = WEFT_INGRESS};
  return {
      {"ingress default deny names its rule",
       {standard(net), isolated},
       {send(Hook::from_pod, kPodA, syn).dropped(WEFT_DROP_POLICY_DENIED, denied), no_flow(syn),
        no_flow(syn.reversed())}},
      {"ingress allowed by port",
       {standard(net), isolated, policy(kClass, WEFT_INGRESS, 1001, kTcp, 80, 16, 20)},
       {send(Hook::from_pod, kPodA, syn).redirected().event(allowed_by(20)),
        flow(syn, {.ingress_rule = 20, .source_identity = 1001, .destination_identity = 1002}),
        // replies need no rule
        send(Hook::from_pod, kPodB, syn.reversed().with_flags(kSyn | kAck)).redirected(),
        send(Hook::from_pod, kPodA, syn.to(net.b, 81)).dropped(WEFT_DROP_POLICY_DENIED, denied),
        send(Hook::from_pod, kPodA, udp(net.a, 40000, net.b, 80)).dropped(WEFT_DROP_POLICY_DENIED, denied)}},
      {"ingress allowed by a port range",
       {standard(net), isolated, policy(kClass, WEFT_INGRESS, 1001, kTcp, 0x1230, 12, 21)},
       {send(Hook::from_pod, kPodA, syn.to(net.b, 0x1230)).redirected().event(allowed_by(21)),
        send(Hook::from_pod, kPodA, syn.to(net.b, 0x123f)).redirected().event(allowed_by(21)),
        send(Hook::from_pod, kPodA, syn.to(net.b, 0x1240)).dropped(WEFT_DROP_POLICY_DENIED, denied),
        send(Hook::from_pod, kPodA, syn.to(net.b, 0x122f)).dropped(WEFT_DROP_POLICY_DENIED, denied)}},
      {"ingress allowed by protocol, then by any",
       {standard(net), isolated, policy(kClass, WEFT_INGRESS, 1001, kTcp, 0, 0, 22),
        policy(kClass, WEFT_INGRESS, 1001, 0, 0, 0, 23)},
       {send(Hook::from_pod, kPodA, syn).redirected().event(allowed_by(22)),
        send(Hook::from_pod, kPodA, udp(net.a, 1, net.b, 2)).redirected().event(allowed_by(23)),
        send(Hook::from_pod, kPodA, echo_request(net.a, net.b, 3)).redirected().event(allowed_by(23))}},
      {"the narrowest port decides, a deny included",
       {standard(net), isolated, policy(kClass, WEFT_INGRESS, 1001, kTcp, 80, 16, 24, WEFT_POLICY_DENY),
        policy(kClass, WEFT_INGRESS, 1001, kTcp, 80 & 0xfff0, 12, 25), policy(kClass, WEFT_INGRESS, 0, 0, 0, 0, 26)},
       {send(Hook::from_pod, kPodA, syn)
            .dropped(WEFT_DROP_POLICY_DENIED, {.type = WEFT_EVENT_DENIED, .ingress_rule = 24}),
        send(Hook::from_pod, kPodA, syn.to(net.b, 81)).redirected().event(allowed_by(25)),
        send(Hook::from_pod, kPodA, syn.to(net.b, 200)).redirected().event(allowed_by(26))}},
      {"another class's rules do not count",
       {standard(net), isolated, policy(kClass + 1, WEFT_INGRESS, 1001, kTcp, 80, 16, 27),
        policy(kClass, WEFT_EGRESS, 1001, kTcp, 80, 16, 28)},
       {send(Hook::from_pod, kPodA, syn).dropped(WEFT_DROP_POLICY_DENIED, denied)}},
      {"a prefix length that the mask leaves out is not looked up",
       {standard(net), pod(net, 'b', isolated_ingress(1u << 16)), policy(kClass, WEFT_INGRESS, 1001, 0, 0, 0, 29)},
       {send(Hook::from_pod, kPodA, syn).dropped(WEFT_DROP_POLICY_DENIED, denied)}},
      {"a pod by the CIDR that holds it",
       {standard(net), isolated, pod(net, 'a', {.cidr_identity = WEFT_IDENTITY_FIRST_CIDR + 3}),
        policy(kClass, WEFT_INGRESS, WEFT_IDENTITY_FIRST_CIDR + 3, kTcp, 80, 16, 30)},
       {send(Hook::from_pod, kPodA, syn).redirected().event(allowed_by(30))}},
      {"the node always reaches its pods",
       {standard(net), isolated},
       {send(Hook::to_pod, kPodB, tcp(net.host, 50000, net.b, 80, kSyn)).event(allowed_by(1)),
        send(Hook::from_pod, kPodB, tcp(net.b, 80, net.host, 50000, kSyn | kAck))}},
      {"the outside needs a rule",
       {standard(net), isolated, prefix(net.v4 ? "8.8.8.0/24" : "2620:fe::/64", WEFT_IDENTITY_FIRST_CIDR + 4, 0),
        policy(kClass, WEFT_INGRESS, WEFT_IDENTITY_FIRST_CIDR + 4, kTcp, 80, 16, 31)},
       {send(Hook::to_pod, kPodB, tcp(net.world, 50000, net.b, 80, kSyn)).event(allowed_by(31)),
        send(Hook::to_pod, kPodB, tcp(net.other_subnet, 50000, net.b, 80, kSyn))
            .dropped(WEFT_DROP_POLICY_DENIED,
                     {.type = WEFT_EVENT_DENIED, .source_identity = WEFT_IDENTITY_WORLD, .ingress_rule = 70})}},
  };
}

Cases egress(const Net& net) {
  const auto syn = tcp(net.a, 40000, net.b, 80, kSyn);
  const auto isolated = pod(net, 'a', isolated_egress(1u << 16 | 1));
  const EventWant denied{.type = WEFT_EVENT_DENIED, .egress_rule = 71, .direction = WEFT_EGRESS};
  return {
      {"egress default deny names its rule",
       {standard(net), isolated},
       {send(Hook::from_pod, kPodA, syn).dropped(WEFT_DROP_POLICY_DENIED, denied),
        send(Hook::from_pod, kPodA, syn.to(net.world, 80)).dropped(WEFT_DROP_POLICY_DENIED, denied),
        send(Hook::from_pod, kPodA, syn.to(net.host, 80)).dropped(WEFT_DROP_POLICY_DENIED, denied),
        // what comes in is none of egress policy's business, nor are its replies
        send(Hook::from_pod, kPodB, tcp(net.b, 1, net.a, 2, kSyn)).redirected().event({.type = WEFT_EVENT_NEW}),
        send(Hook::from_pod, kPodA, tcp(net.a, 2, net.b, 1, kSyn | kAck)).redirected()}},
      {"egress and ingress both need a rule",
       {standard(net), isolated, pod(net, 'b', {.policy_class = 6, .ingress_enforced = true, .prefix_mask = 1u << 16}),
        policy(kClass, WEFT_EGRESS, 1002, kTcp, 80, 16, 40), policy(kClass, WEFT_EGRESS, 1002, kTcp, 81, 16, 41),
        policy(6, WEFT_INGRESS, 1001, kTcp, 80, 16, 42)},
       {send(Hook::from_pod, kPodA, syn)
            .redirected()
            .event({.type = WEFT_EVENT_NEW, .egress_rule = 40, .ingress_rule = 42}),
        send(Hook::from_pod, kPodB, syn.reversed().with_flags(kSyn | kAck)).redirected(),
        flow(syn, {.egress_rule = 40, .ingress_rule = 42}),
        flow(syn.reversed(), {.egress_rule = 40, .ingress_rule = 42}),
        send(Hook::from_pod, kPodA, syn.to(net.b, 81))
            .dropped(WEFT_DROP_POLICY_DENIED,
                     {.type = WEFT_EVENT_DENIED, .egress_rule = 41, .ingress_rule = 70, .direction = WEFT_INGRESS})}},
      {"egress to a CIDR with an exception",
       {standard(net), isolated, prefix(net.v4 ? "8.0.0.0/8" : "2620:fe::/32", WEFT_IDENTITY_FIRST_CIDR + 1, 0),
        prefix(net.v4 ? "8.8.8.8/32" : "2620:fe::fe/128", WEFT_IDENTITY_FIRST_CIDR + 2, 0),
        configure(
            [](weft_config& config) { config.flags &= ~(WEFT_CONFIG_MASQUERADE_V4 | WEFT_CONFIG_MASQUERADE_V6); }),
        policy(kClass, WEFT_EGRESS, WEFT_IDENTITY_FIRST_CIDR + 1, 0, 0, 0, 43)},
       {send(Hook::from_pod, kPodA, syn.to(net.world, 80)).dropped(WEFT_DROP_POLICY_DENIED, denied),
        send(Hook::from_pod, kPodA, syn.to(net.v4 ? IpAddress::parse("8.1.1.1").value() : net.world2, 80))
            .redirected()
            .becomes(syn.to(net.v4 ? IpAddress::parse("8.1.1.1").value() : net.world2, 80).with_hop_limit(63))
            .event({.type = WEFT_EVENT_NEW, .destination_identity = WEFT_IDENTITY_FIRST_CIDR + 1, .egress_rule = 43})}},
      {"a pod always reaches itself",
       {standard(net),
        pod(net, 'a',
            {.policy_class = kClass, .ingress_enforced = true, .egress_enforced = true, .prefix_mask = 1u << 16})},
       {send(Hook::from_pod, kPodA, syn.to(net.a, 80))
            .redirected()
            .becomes(syn.to(net.a, 80).from(net.gateway, 40000))
            .event({.type = WEFT_EVENT_NEW}),
        flow(syn.to(net.a, 80), {.exit = WEFT_EXIT_PEER, .out_ifindex = kPodA})}},
      {"denied tuples are muted for a while",
       {standard(net), isolated},
       {send(Hook::from_pod, kPodA, syn).dropped(WEFT_DROP_POLICY_DENIED, denied),
        send(Hook::from_pod, kPodA, syn).dropped(WEFT_DROP_POLICY_DENIED).silently().counts(WEFT_STAT_EVENT_MUTED),
        send(Hook::from_pod, kPodA, syn.from(net.a, 40001)).dropped(WEFT_DROP_POLICY_DENIED, denied),
        change(configure([](weft_config& config) { config.deny_event_interval = 0; })),
        send(Hook::from_pod, kPodA, syn).dropped(WEFT_DROP_POLICY_DENIED, denied)}},
      {"a reset is delivered but starts nothing",
       {standard(net)},
       {send(Hook::from_pod, kPodA, syn.with_flags(kRst | kAck))
            .redirected()
            .event({.type = WEFT_EVENT_NEW})
            .event({.type = WEFT_EVENT_CLOSED}),
        no_flow(syn), no_flow(syn.reversed())}},
  };
}

}  // namespace

Cases policy_cases(const Net& net) {
  auto all = ingress(net);
  for (auto& each : egress(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
