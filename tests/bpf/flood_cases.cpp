// Floods: of flows, of forged clients, of denied packets; what they may take from others.
#include <gtest/gtest.h>

#include <algorithm>

#include "fixture.h"

namespace weft::test {
namespace {

const EventWant kCreated{.type = WEFT_EVENT_NEW};

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

constexpr std::uint16_t kFirstPort = 40000;
constexpr std::uint16_t kPorts = 256;

Row few_ports() {
  return configure([](weft_config& config) {
    config.nat_port_min = kFirstPort;
    config.nat_port_max = kFirstPort + kPorts - 1;
  });
}

// Pod a opens `count` flows like `packet`, each with as many replies.
Step flood(const Net& net, const Packet& packet, unsigned count, unsigned replies = 0) {
  return change([=](Datapath& d) {
    for (unsigned i = 0; i < count; ++i) {
      const auto each = packet.from(net.a, static_cast<std::uint16_t>(1024 + i));
      d.run(Hook::from_pod, each, {.ifindex = kPodA});
      const auto entry = find_flow(d, each);
      if (!entry) continue;
      const auto port = static_cast<std::uint16_t>(entry->src_port >> 8 | entry->src_port << 8);
      for (unsigned reply = 0; reply < replies; ++reply) {
        d.run(Hook::from_device, each.from(net.nat, port).reversed().with_flags(kAck), {.ifindex = kUplink});
        d.run(Hook::from_pod, each.with_flags(kAck), {.ifindex = kPodA});
      }
      d.events();
    }
    d.events();
  });
}

// The flows of `flood` that are still there; every second of them counted apart.
std::pair<unsigned, unsigned> survivors(Datapath& d, const Net& net, const Packet& packet, unsigned count) {
  std::pair<unsigned, unsigned> found{0, 0};
  for (unsigned i = 0; i < count; ++i)
    if (find_flow(d, packet.from(net.a, static_cast<std::uint16_t>(1024 + i))))
      ++(i % 2 == 0 ? found.first : found.second);
  return found;
}

// Both directions of every second flow were heard of 1000 jiffies earlier than they were.
Step age_every_second(const Net& net, const Packet& packet, unsigned count) {
  return change([=](Datapath& d) {
    const auto older = [](weft_flow& entry) { entry.last_seen -= 1000; };
    for (unsigned i = 0; i < count; i += 2) {
      const auto each = packet.from(net.a, static_cast<std::uint16_t>(1024 + i));
      const auto entry = find_flow(d, each);
      if (!entry) continue;
      const auto port = static_cast<std::uint16_t>(entry->src_port >> 8 | entry->src_port << 8);
      change_flow(d, each, older);
      change_flow(d, each.from(net.nat, port).reversed(), older);
    }
  });
}

// Of 16 ports tried the one silent for longest is taken: of 40 flows that ask, none costs a younger flow its port.
Case the_silent_lose(const Net& net, const Packet& datagram) {
  const unsigned count = 5 * kPorts;
  const auto ask = change([=](Datapath& d) {
    const auto before = survivors(d, net, datagram, count);
    for (std::uint16_t i = 0; i < 40; ++i) {
      d.run(Hook::from_pod, datagram.from(net.b, static_cast<std::uint16_t>(30000 + i)), {.ifindex = kPodB});
      d.events();
    }
    const auto after = survivors(d, net, datagram, count);
    EXPECT_EQ(before.first - after.first, 40U);
    EXPECT_EQ(before.second, after.second);
  });
  return {"the flow silent for longest loses its port",
          {standard(net), few_ports()},
          {flood(net, datagram, count), age_every_second(net, datagram, count), ask}};
}

Cases port_hog(const Net& net) {
  const auto datagram = udp(net.b, 20000, net.world, 53);
  const auto opening = tcp(net.b, 20000, net.world, 443, kSyn);
  // The flow of pod b works under whatever port it was given.
  const auto works = [=](const Packet& packet) {
    return then([=](Datapath& d) {
      const auto port = find_flow(d, packet).value().src_port;
      const auto out = packet.from(net.nat, static_cast<std::uint16_t>(port >> 8 | port << 8));
      return Steps{send(Hook::from_device, kUplink, out.reversed().with_flags(kSyn | kAck))
                       .redirected()
                       .becomes(packet.reversed().with_flags(kSyn | kAck))};
    });
  };
  const auto enters = [](const Packet& packet) {
    return then([=](Datapath& d) {
      d.run(Hook::from_pod, packet, {.ifindex = kPodB});
      d.events();
      return Steps{flow(packet, {.packets = 1, .flags_set = WEFT_FLOW_SNAT})};
    });
  };
  return {
      {"all ports to a destination taken by one pod's datagrams",
       {standard(net), few_ports()},
       {flood(net, datagram, 5 * kPorts), enters(datagram), works(datagram), flood(net, datagram, 5 * kPorts),
        works(datagram)}},
      {"all ports to a destination taken by one pod's answered datagrams",
       {standard(net), few_ports()},
       {flood(net, datagram, 5 * kPorts, 3), enters(datagram), works(datagram)}},
      {"all ports to a destination taken by one pod's opening segments",
       {standard(net), few_ports()},
       {flood(net, opening, 5 * kPorts, 1), enters(opening), works(opening), flood(net, opening, 5 * kPorts, 1),
        works(opening)}},
      {"connections that work keep their ports",
       {standard(net), few_ports()},
       {flood(net, opening, 5 * kPorts, 2), send(Hook::from_pod, kPodB, opening).dropped(WEFT_DROP_NAT_EXHAUSTED)}},
      the_silent_lose(net, datagram),
  };
}

// As many packets like `packet` as there are ports, several times over, each of another client and answered once.
Step forged_flood(const Net& net, const Packet& packet, std::uint8_t answer) {
  return change([=](Datapath& d) {
    for (unsigned i = 0; i < 5 * kPorts; ++i) {
      const auto each = packet.from(net.client.plus(i + 1), static_cast<std::uint16_t>(1024 + i));
      d.run(Hook::from_device, each, {.ifindex = kUplink});
      const auto entry = find_flow(d, each);
      d.events();
      if (!entry) continue;
      const auto port = static_cast<std::uint16_t>(entry->src_port >> 8 | entry->src_port << 8);
      const auto out = each.to(net.remote, 8080).from(net.nat, port);
      d.run(Hook::from_device, out.reversed().with_flags(answer), {.ifindex = kUplink});
    }
  });
}

// All source ports towards a backend elsewhere taken by clients that do not exist: the backend answers them.
Cases forged_clients(const Net& net) {
  const auto syn = tcp(net.client, 50000, net.service, 80, kSyn);
  const auto datagram = udp(net.client, 50000, net.service, 80);
  const auto few = configure([](weft_config& config) {
    config.lb_port_min = kFirstPort;
    config.lb_port_max = kFirstPort + kPorts - 1;
  });
  Rows rows{standard(net), serving_outside(), few};
  for (std::uint16_t i = 0; i < kPorts; ++i)
    for (const auto protocol : {kTcp, kUdp}) rows.push_back(port_in(WEFT_PORTS_DEVICE, protocol, kFirstPort + i));
  auto datagrams = rows;
  datagrams.insert(datagrams.end(),
                   {backend(3, net.remote, 8080, kUdp), frontend(net.service, 80, kUdp, {.backends = {3}})});
  rows.insert(rows.end(), {backend(3, net.remote, 8080, kTcp), frontend(net.service, 80, kTcp, {.backends = {3}})});
  // In the flow's own port, both ways.
  const auto goes = [=](const Packet& packet, const Packet& answer) {
    return then([=](Datapath& d) {
      const auto port = find_flow(d, packet).value().src_port;
      const auto out = packet.to(net.remote, 8080).from(net.nat, static_cast<std::uint16_t>(port >> 8 | port << 8));
      const auto back = out.reversed().with_flags(answer.tcp_flags);
      return Steps{send(Hook::from_device, kUplink, packet).redirected().becomes(out.with_hop_limit(63)),
                   send(Hook::from_device, kUplink, back).redirected().becomes(answer.with_hop_limit(63))};
    });
  };
  const auto begins = [=](const Packet& packet) {
    return change([=](Datapath& d) {
      d.run(Hook::from_device, packet, {.ifindex = kUplink});
      d.events();
    });
  };
  const auto answer = syn.reversed().with_flags(kSyn | kAck);
  const auto more = syn.with_flags(kAck);
  return {
      {"SYNs of forged clients keep no other out",
       rows,
       {forged_flood(net, syn, kSyn | kAck), begins(syn), flow(syn, {.packets = 1}), goes(syn, answer),
        goes(more, more.reversed()), forged_flood(net, syn, kSyn | kAck), goes(more, more.reversed())}},
      {"datagrams of forged clients keep no other out",
       datagrams,
       {forged_flood(net, datagram, 0), begins(datagram), flow(datagram, {.packets = 1}),
        goes(datagram, datagram.reversed()), forged_flood(net, datagram, 0), goes(datagram, datagram.reversed())}},
  };
}

Cases flow_flood(const Net& net) {
  const auto datagram = udp(net.a, 1, net.b, 53);
  const auto limit = configure([](weft_config& config) { config.new_flow_rate = 10; });
  Steps steps;
  for (std::uint16_t port = 1; port <= 40; ++port)
    steps.push_back(send(Hook::from_pod, kPodA, datagram.from(net.a, port)).redirected().event(kCreated));
  steps.push_back(then([=](Datapath& d) {
    // The clock runs: some of these are still let in.
    for (std::uint16_t port = 100; port < 140; ++port)
      d.run(Hook::from_pod, datagram.from(net.a, port), {.ifindex = kPodA});
    d.events();
    return Steps{send(Hook::from_pod, kPodA, datagram.from(net.a, 500)).dropped(WEFT_DROP_FLOW_RATE)};
  }));
  steps.push_back(no_flow(datagram.from(net.a, 500)));
  steps.push_back(send(Hook::from_pod, kPodA, datagram).redirected());
  steps.push_back(send(Hook::from_pod, kPodB, datagram.from(net.b, 9).to(net.a, 53)).redirected().event(kCreated));
  return {{"a pod that starts flows too fast", {standard(net), limit}, std::move(steps)}};
}

Cases events(const Net& net) {
  const auto scan = tcp(net.a, 40000, net.b, 80, kSyn);
  const auto closed = pod(net, 'b', {.policy_class = 5, .ingress_enforced = true});
  // Address and port differ in bits that cancel out in the mix that chooses the slot.
  const auto twin = scan.to(ip(net.v4 ? "10.1.1.3" : "fd00:1::103"), 81);
  const auto reset = scan.with_flags(kRst | kAck);
  return {
      {"a reset of no flow is told",
       {standard(net)},
       {send(Hook::from_pod, kPodA, reset)
            .redirected()
            .event({.type = WEFT_EVENT_NEW, .source = net.a, .destination = net.b})
            .event({.type = WEFT_EVENT_CLOSED, .source = net.a, .packets = 1}),
        no_flow(reset), no_flow(reset.reversed())}},
      {"denied tuples that differ are both told",
       {standard(net), closed},
       {send(Hook::from_pod, kPodA, scan).dropped(WEFT_DROP_POLICY_DENIED),
        send(Hook::from_pod, kPodA, scan).dropped(WEFT_DROP_POLICY_DENIED).silently(),
        send(Hook::from_pod, kPodA, twin).dropped(WEFT_DROP_UNKNOWN_ENDPOINT)}},
      {"a flood of denied tuples is told in part, and hides no other pod's",
       {standard(net), closed, pod(net, 'c')},
       {then([=](Datapath& d) {
         std::size_t told = 0;
         for (std::uint16_t port = 1; port < 4000; ++port) {
           d.run(Hook::from_pod, scan.from(net.a, port), {.ifindex = kPodA});
           if (port % 100 == 0) told += d.events().size();
         }
         told += d.events().size();
         EXPECT_GE(told, 1000u);
         EXPECT_LT(told, 3000u);
         EXPECT_GE(d.stats()[WEFT_STAT_EVENT_LIMITED], 1000u);
         return Steps{send(Hook::from_pod, kPodC, scan.from(net.c, 40000)).dropped(WEFT_DROP_POLICY_DENIED)};
       })}},
  };
}

}  // namespace

Cases flood_cases(const Net& net) {
  Cases all;
  for (const CaseTable table : {port_hog, forged_clients, flow_flood, events})
    for (auto& each : table(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
