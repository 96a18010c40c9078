// Resets that a stranger may have written: he knows a connection's addresses and ports, and no sequence number.
#include "fixture.h"

namespace weft::test {
namespace {

const EventWant kCreated{.type = WEFT_EVENT_NEW};
// Jiffies that a doubtful reset must have gone unanswered for (bpf/lib/enter.h).
constexpr std::uint64_t kIdleReset = 60000;

Packet hop(const Packet& packet) { return packet.with_hop_limit(63); }

Step expect(const char* what, std::function<bool(Datapath&)> holds) {
  return then([=](Datapath& d) {
    if (!holds(d)) throw std::runtime_error(what);
    return Steps{};
  });
}

Step active(std::uint32_t want) {
  return expect("another number of open connections", [=](Datapath& d) { return backend_stats(d, 3).active == want; });
}

Step doubted(const Packet& key) { return flow(key, {.flags_set = WEFT_FLOW_RESET, .flags_clear = WEFT_FLOW_CLOSED}); }
Step trusted(const Packet& key) {
  return flow(key, {.flags_clear = WEFT_FLOW_RESET | WEFT_FLOW_CLOSED | WEFT_FLOW_FIN});
}
Step ended(const Packet& key) { return flow(key, {.flags_set = WEFT_FLOW_CLOSED}); }

Step silent_for(const Packet& key, std::uint64_t jiffies) {
  return change([=](Datapath& d) { change_flow(d, key, [=](weft_flow& entry) { entry.last_seen -= jiffies; }); });
}

Steps operator+(Steps steps, const Steps& more) {
  steps.insert(steps.end(), more.begin(), more.end());
  return steps;
}

// A client outside and a pod behind a service.
Cases of_a_client(const Net& net) {
  const auto syn = tcp(net.client, 50000, net.service, 80, kSyn);
  const auto ack = syn.with_flags(kAck);
  const auto reset = syn.with_flags(kRst);
  const auto inside = syn.to(net.b, 8080);
  const auto answer = tcp(net.b, 8080, net.client, 50000, kAck);
  const Row setup = [rows = Rows{standard(net), serving_outside(), backend(3, net.b, 8080, kTcp),
                                 frontend(net.service, 80, kTcp, {.backends = {3}})}](Datapath& d) {
    for (const auto& row : rows) row(d);
  };
  const Steps open{send(Hook::from_device, kUplink, syn).redirected().becomes(inside).event(kCreated),
                   send(Hook::from_pod, kPodB, answer.with_flags(kSyn | kAck))
                       .redirected()
                       .becomes(hop(answer.with_flags(kSyn | kAck).from(net.service, 80))),
                   send(Hook::from_device, kUplink, ack).redirected().becomes(inside.with_flags(kAck))};
  // It is delivered: only the pod can tell.
  const auto forged = send(Hook::from_device, kUplink, reset).redirected().becomes(inside.with_flags(kRst));
  const auto goes_on = send(Hook::from_device, kUplink, ack).redirected().becomes(inside.with_flags(kAck));
  const auto answers = send(Hook::from_pod, kPodB, answer).redirected().becomes(hop(answer.from(net.service, 80)));
  return {
      {"reset: a client's, forged, and the client goes on",
       {setup},
       open + Steps{forged, doubted(syn), doubted(answer), active(0), goes_on, trusted(syn), answers, trusted(answer),
                    active(1), flow(syn, {.flags_set = WEFT_FLOW_COUNTED})}},
      {"reset: a client's, forged, and the pod answers first",
       {setup},
       open + Steps{forged, answers, trusted(answer), doubted(syn), goes_on, trusted(syn)}},
      {"reset: a client's, forged, with data and FIN in it",
       {setup},
       open + Steps{send(Hook::from_device, kUplink, syn.with_flags(kRst | kFin | kPsh | kAck))
                        .redirected()
                        .becomes(inside.with_flags(kRst | kFin | kPsh | kAck)),
                    doubted(syn), goes_on, trusted(syn), active(1)}},
      // XDP leaves to tc what goes to a pod.
      {"reset: a client's, forged, where XDP sees it first",
       {setup},
       open + Steps{send(Hook::xdp, kUplink, reset), trusted(syn), forged, doubted(syn)}},
      {"reset: a SYN of the client's goes on along its entry",
       {setup},
       open + Steps{forged, send(Hook::from_device, kUplink, syn).redirected().becomes(inside), trusted(syn),
                    flow(syn, {.packets = 4}), active(1)}},
      {"reset: a SYN of the client's begins anew once the backend takes nobody new",
       {setup},
       open + Steps{forged, doubted(syn), change(backend(3, net.b, 8080, kTcp, WEFT_BACKEND_DRAINING)),
                    change(backend(4, net.a, 8080, kTcp)), change(frontend(net.service, 80, kTcp, {.backends = {4}})),
                    send(Hook::from_device, kUplink, syn).redirected().becomes(syn.to(net.a, 8080)).event(kCreated)}},
      // On another CPU: the pod, which has nothing more to say, never takes the note back.
      {"reset: a SYN begins anew there, too, when the reset has overtaken an acknowledgement",
       {setup},
       open + Steps{forged, goes_on, trusted(syn), doubted(answer), active(1),
                    change(backend(3, net.b, 8080, kTcp, WEFT_BACKEND_DRAINING)), change(backend(4, net.a, 8080, kTcp)),
                    change(frontend(net.service, 80, kTcp, {.backends = {4}})),
                    send(Hook::from_device, kUplink, syn).redirected().becomes(syn.to(net.a, 8080)).event(kCreated),
                    active(0)}},
      {"reset: a SYN goes on when both ends have been heard since",
       {setup},
       open + Steps{forged, goes_on, answers, change(backend(3, net.b, 8080, kTcp, WEFT_BACKEND_DRAINING)),
                    change(backend(4, net.a, 8080, kTcp)), change(frontend(net.service, 80, kTcp, {.backends = {4}})),
                    send(Hook::from_device, kUplink, syn).redirected().becomes(inside), active(1)}},
      {"reset: a reset does not pass for the answer to a SYN's answer",
       {setup},
       {open[0], forged, flow(syn, {.flags_set = WEFT_FLOW_OPENING | WEFT_FLOW_RESET})}},
      {"reset: the pod's own ends the connection at once",
       {setup},
       open + Steps{send(Hook::from_pod, kPodB, answer.with_flags(kRst))
                        .redirected()
                        .becomes(hop(answer.with_flags(kRst).from(net.service, 80)))
                        .event({.type = WEFT_EVENT_CLOSED, .packets = 2, .reply_packets = 2}),
                    ended(syn), ended(answer), active(0)}},
      {"reset: the pod's own after a doubtful one",
       {setup},
       open + Steps{forged,
                    send(Hook::from_pod, kPodB, answer.with_flags(kRst))
                        .redirected()
                        .becomes(hop(answer.with_flags(kRst).from(net.service, 80)))
                        .event({.type = WEFT_EVENT_CLOSED}),
                    ended(syn), active(0)}},
  };
}

// A pod and a server outside, which knows the pod by a port of the node's.
Cases of_a_server(const Net& net) {
  const auto mine = tcp(net.a, 40000, net.world, 443, kSyn);
  const auto theirs = tcp(net.b, 40000, net.world, 443, kSyn);
  const auto out = [&](const Packet& packet) { return hop(packet.from(net.nat, 40000)); };
  const auto back = mine.from(net.nat, 40000).reversed();
  const auto answer = [&](const Packet& of, std::uint8_t flags) {
    return send(Hook::from_device, kUplink, back.with_flags(flags))
        .redirected()
        .becomes(of.reversed().with_flags(flags));
  };
  const Row one_port = configure([](weft_config& config) { config.nat_port_min = config.nat_port_max = 40000; });
  const auto go_on =
      send(Hook::from_pod, kPodA, mine.with_flags(kAck)).redirected().becomes(out(mine.with_flags(kAck)));
  const Steps open{send(Hook::from_pod, kPodA, mine).redirected().becomes(out(mine)).event(kCreated),
                   answer(mine, kSyn | kAck), go_on, answer(mine, kAck)};
  const auto turned_away = send(Hook::from_pod, kPodB, theirs).dropped(WEFT_DROP_NAT_EXHAUSTED);
  return {
      {"reset: a server's, forged, takes nobody's port",
       {standard(net), one_port},
       open + Steps{answer(mine, kRst), doubted(mine), doubted(back), turned_away, go_on, trusted(mine),
                    answer(mine, kAck), trusted(back)}},
      {"reset: a server's, real, gives the port back after a while of silence",
       {standard(net), one_port},
       open + Steps{answer(mine, kRst | kAck), silent_for(mine, kIdleReset - 1000), silent_for(back, kIdleReset - 1000),
                    turned_away, silent_for(mine, 2000),
                    send(Hook::from_pod, kPodB, theirs).dropped(WEFT_DROP_NAT_EXHAUSTED).silently(),
                    silent_for(back, 2000),
                    send(Hook::from_pod, kPodB, theirs).redirected().becomes(out(theirs)).event(kCreated),
                    no_flow(mine)}},
      {"reset: a silence after a forged one that was answered gives nothing away",
       {standard(net), one_port},
       open + Steps{answer(mine, kRst), go_on, silent_for(mine, kIdleReset + 1), silent_for(back, kIdleReset + 1),
                    turned_away}},
      {"reset: a server's at the pod's device, by the stack",
       {standard(net),
        configure([](weft_config& c) { c.flags &= ~(WEFT_CONFIG_MASQUERADE_V4 | WEFT_CONFIG_MASQUERADE_V6); })},
       {send(Hook::from_pod, kPodA, mine).redirected().becomes(hop(mine)).event(kCreated),
        send(Hook::to_pod, kPodA, mine.reversed().with_flags(kRst)).entering(kUplink), doubted(mine)}},
  };
}

// Ends that this node knows: nobody else can write what comes by their way.
Cases of_known_senders(const Net& net) {
  const auto from_host = tcp(net.host, 50000, net.a, 80, kSyn);
  return {
      {"reset: the node's own at the pod's device",
       {standard(net)},
       {send(Hook::to_pod, kPodA, from_host).event(kCreated),
        send(Hook::to_pod, kPodA, from_host.with_flags(kRst)).event({.type = WEFT_EVENT_CLOSED}), ended(from_host)}},
  };
}

}  // namespace

Cases reset_cases(const Net& net) {
  Cases all;
  for (const auto table : {of_a_client, of_a_server, of_known_senders})
    for (auto& each : table(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
