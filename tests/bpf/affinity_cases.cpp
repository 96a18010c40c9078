// Whom session affinity remembers: clients whose flow was admitted.
#include <arpa/inet.h>

#include "fixture.h"

namespace weft::test {
namespace {

const EventWant kCreated{.type = WEFT_EVENT_NEW};

weft_affinity_key key_of(const IpAddress& client) { return {to_abi(client), kService, 0}; }
// A pod is known by its endpoint.
weft_affinity_key key_of(std::uint32_t endpoint) {
  weft_affinity_key key{};
  key.client.word[3] = htonl(endpoint);
  key.service_id = kService;
  return key;
}

Step remembered(const weft_affinity_key& key, bool want) {
  return then([=](Datapath& d) {
    const auto found = d.get<weft_affinity>("weft_affin_v2", key);
    if (found.has_value() != want) throw std::runtime_error(want ? "not remembered" : "remembered");
    if (found && found->backend_id != 3) throw std::runtime_error("another backend");
    return Steps{};
  });
}

}  // namespace

Cases affinity_cases(const Net& net) {
  const auto inside = tcp(net.a, 40000, net.service, 80, kSyn);
  const auto outside = tcp(net.client, 50000, net.service, 80, kSyn);
  const auto rows = [&](const IpAddress& address) {
    return Rows{standard(net), serving_outside(), backend(3, address, 8080, kTcp),
                frontend(net.service, 80, kTcp, {.backends = {3}, .affinity_seconds = 600})};
  };
  const auto closed_b = [&](std::uint32_t rule) {
    return pod(net, 'b', {.policy_class = 5, .ingress_enforced = true, .default_rule = {rule, 71}});
  };
  const auto with = [](Rows all, const Row& more) {
    all.push_back(more);
    return all;
  };
  const auto one_port = configure([](weft_config& c) { c.lb_port_min = c.lb_port_max = 61000; });
  const auto sent = send(Hook::from_pod, kPodA, inside).redirected().becomes(inside.to(net.b, 8080)).event(kCreated);
  const auto came =
      send(Hook::from_device, kUplink, outside).redirected().becomes(outside.to(net.b, 8080)).event(kCreated);
  return {
      {"affinity: a pod that policy denies is not remembered, and is once it may",
       with(rows(net.b), closed_b(70)),
       {send(Hook::from_pod, kPodA, inside).dropped(WEFT_DROP_POLICY_DENIED), remembered(key_of(11), false),
        change(pod(net, 'b')), change(bump()), sent, remembered(key_of(11), true)}},
      {"affinity: a client outside that policy denies is not remembered",
       with(rows(net.b), closed_b(70)),
       {send(Hook::from_device, kUplink, outside).dropped(WEFT_DROP_POLICY_DENIED),
        remembered(key_of(net.client), false), change(pod(net, 'b')), change(bump()), came,
        remembered(key_of(net.client), true)}},
      {"affinity: a client outside that XDP denies is not remembered",
       with(rows(net.b), closed_b(70)),
       {send(Hook::xdp, kUplink, outside).dropped(WEFT_DROP_POLICY_DENIED), remembered(key_of(net.client), false),
        change(pod(net, 'b')), change(bump()), send(Hook::xdp, kUplink, outside).event(kCreated),
        remembered(key_of(net.client), true)}},
      {"affinity: who finds no source port is not remembered",
       with(rows(net.remote), one_port),
       {send(Hook::from_device, kUplink, outside)
            .redirected()
            .becomes(outside.to(net.remote, 8080).from(net.nat, 61000).with_hop_limit(63))
            .event(kCreated),
        remembered(key_of(net.client), true),
        send(Hook::from_device, kUplink, outside.from(net.client.plus(1), 50000)).dropped(WEFT_DROP_NAT_EXHAUSTED),
        send(Hook::xdp, kUplink, outside.from(net.client.plus(2), 50000)).dropped(WEFT_DROP_NAT_EXHAUSTED),
        remembered(key_of(net.client.plus(1)), false), remembered(key_of(net.client.plus(2)), false)}},
      {"affinity: a reset that starts nothing binds nobody",
       rows(net.b),
       {send(Hook::from_device, kUplink, outside.with_flags(kRst))
            .redirected()
            .becomes(outside.with_flags(kRst).to(net.b, 8080))
            .event(kCreated)
            .event({.type = WEFT_EVENT_CLOSED}),
        remembered(key_of(net.client), false)}},
      {"affinity: what is admitted next, of a service without, remembers nobody",
       with(with(with(rows(net.b), closed_b(70)), backend(4, net.remote, 8080, kTcp, WEFT_BACKEND_ACTIVE, 8)),
            frontend(net.service, 81, kTcp, {.backends = {4}, .id = 8, .first_slot = 30})),
       {send(Hook::from_device, kUplink, outside).dropped(WEFT_DROP_POLICY_DENIED), change(one_port),
        send(Hook::from_device, kUplink, outside.to(net.service, 81))
            .redirected()
            .becomes(outside.to(net.remote, 8080).from(net.nat, 61000).with_hop_limit(63))
            .event(kCreated),
        remembered(key_of(net.client), false)}},
  };
}

}  // namespace weft::test
