// Routers between nodes that take less than the nodes' devices: what their ICMP errors change, and which of them do
// not.
#include <algorithm>

#include "tunneled.h"

namespace weft::test {
namespace {

// Where a router is that takes less than kMtu and what a tunnel adds.
constexpr std::uint16_t kNarrow = 1350;

struct Path {
  const Tunneled& t;

  [[nodiscard]] std::uint32_t overhead() const {
    const auto header = t.underlay.v4 ? 20u : 40u;
    return header + (t.way == WEFT_WAY_VXLAN ? 30u : t.way == WEFT_WAY_GENEVE ? 16u : 0u);
  }
  // What a pod is told where routers say `outer`.
  [[nodiscard]] std::uint16_t inside(std::uint32_t outer) const {
    const auto least = t.net.v4 ? std::uint32_t{WEFT_PATH_MTU_LEAST_V4} : std::uint32_t{WEFT_PATH_MTU_LEAST_V6};
    return static_cast<std::uint16_t>(std::max(outer - overhead(), least));
  }
  // Of so many L3 bytes.
  [[nodiscard]] Packet segment(std::uint32_t length) const {
    return whole(tcp(t.net.a, 40000, t.net.far, 80).with_payload(length - (t.net.v4 ? 40 : 60)));
  }
  // Not to be fragmented.
  [[nodiscard]] static Packet whole(Packet packet) {
    packet.dont_fragment = packet.is_v4();
    return packet;
  }
  // What a segment of kMtu bytes is on the wire, from a node to a node.
  [[nodiscard]] Packet outer(const IpAddress& to) const {
    const auto inner = hop(segment(kMtu));
    if (t.way == WEFT_WAY_GENEVE) return geneve_tunnel(t.underlay.nat, to, inner, 1001);
    if (t.way == WEFT_WAY_IPIP) return ipip_tunnel(t.underlay.nat, to, inner);
    return udp(t.underlay.nat, 50000, to, 4789).with_payload(kMtu + 16 + kEthernet);
  }
  [[nodiscard]] Packet error(const Packet& quoted, std::uint16_t mtu) const {
    auto packet = unreachable(t.underlay.world, t.underlay.nat, quoted);
    packet.icmp_type = t.underlay.v4 ? 3 : 2;
    packet.icmp_code = t.underlay.v4 ? 4 : 0;
    packet.icmp_mtu = mtu;
    return packet;
  }
  [[nodiscard]] Packet error(std::uint16_t mtu) const { return error(outer(t.underlay.remote), mtu); }
  // The error goes on to the stack, whatever is made of it.
  [[nodiscard]] static Step heard(const Packet& packet) { return send(Hook::from_device, kUplink, packet); }
  // Whether the kernel's device goes by what the kernel has heard, and over IPv6, where it sends nothing in fragments.
  [[nodiscard]] bool kernels() const { return t.way == WEFT_WAY_VXLAN; }
  [[nodiscard]] bool kernels_v6() const { return kernels() && !t.underlay.v4; }
  // Then the kernel is not to hear the error, whatever else is made of it.
  [[nodiscard]] static Step kept(bool from_kernel, const Packet& packet) {
    auto step = heard(packet);
    return from_kernel ? step.dropped(WEFT_DROP_PATH_MTU) : step;
  }
  [[nodiscard]] static Step told(const Packet& packet, std::uint16_t mtu) {
    return told_by(packet, packet.too_big(mtu));
  }
  [[nodiscard]] static Step told_by(const Packet& packet, const Packet& answer) {
    return send(Hook::from_pod, kPodA, packet)
        .answered(WEFT_DROP_TOO_BIG, answer)
        .silently()
        .counts(WEFT_STAT_TOO_BIG_SENT);
  }
  // A copy of it goes on.
  [[nodiscard]] static Step told_and_passed(const Packet& packet, const Packet& answer) {
    return send(Hook::from_pod, kPodA, packet).redirected().becomes(answer).counts(WEFT_STAT_TOO_BIG_SENT);
  }
  // One byte more than what gets there is answered, that itself is sent.
  [[nodiscard]] Steps ends_at(std::uint16_t mtu) const { return {t.out(segment(mtu)), told(segment(mtu + 1u), mtu)}; }
  [[nodiscard]] Row base() const {
    return all({t.base(), host_at(t.underlay.nat), configure([vxlan = t.way == WEFT_WAY_VXLAN](weft_config& config) {
                  config.overlay_port = vxlan ? config.overlay_port : 0;
                })});
  }

  static constexpr std::size_t kEthernet = 14;
};

Steps joined(std::initializer_list<Steps> parts) {
  Steps steps;
  for (const auto& part : parts) steps.insert(steps.end(), part.begin(), part.end());
  return steps;
}

Row over(const IpAddress& node) {
  return [node](Datapath& d) {
    auto path = d.get<weft_path_mtu>("weft_pmtu_v1", to_abi(node)).value();
    path.until = 1;
    d.put("weft_pmtu_v1", to_abi(node), path);
  };
}

Cases learnt(const Tunneled& t) {
  const Path path{t};
  const auto first = t.out(path.segment(kMtu)).event(kCreated);
  const auto from_host = Path::whole(tcp(t.net.gateway, 40000, t.net.far, 80).with_payload(1300));
  const auto narrow = path.inside(kNarrow);
  const auto loose = udp(t.net.a, 40000, t.net.far, 54).with_payload(1340);
  const auto of_node = udp(t.net.gateway, 40000, t.net.far, 54).with_payload(1340);
  const auto passed = [](Step step) {
    step.options.mark = 0x77660a12;
    return step;
  };
  const auto whole = udp(t.net.a, 40000, t.net.far, 53).with_payload(1000);
  const auto fragment = whole.with_payload(1320).first_fragment(78);
  const auto answer = [&](const Packet& packet) {
    auto error = packet.too_big(narrow);
    if (!t.net.v4) error.quoted_bytes = 16;  // a fragment's header before the transport's
    return error;
  };
  return {
      {"a router takes less: the pod is told, until that is over",
       {path.base()},
       joined({{first, Path::heard(path.error(kNarrow)).counts(WEFT_STAT_PATH_MTU_LEARNT)},
               path.ends_at(narrow),
               {Path::heard(path.error(kNarrow))},
               path.ends_at(narrow),
               {change(over(t.underlay.remote)), t.out(path.segment(kMtu))},
               {Path::heard(path.error(kNarrow)).counts(WEFT_STAT_PATH_MTU_LEARNT)},
               path.ends_at(narrow)})},
      {"routers take less and less: the least of it counts",
       {path.base()},
       joined({{first, Path::heard(path.error(kNarrow)).counts(WEFT_STAT_PATH_MTU_LEARNT),
                Path::kept(path.kernels_v6(), path.error(kNarrow - 20)).counts(WEFT_STAT_PATH_MTU_LEARNT),
                Path::kept(path.kernels_v6(), path.error(kNarrow - 10)).silently()},
               path.ends_at(path.inside(kNarrow - 20))})},
      {"a router takes less than anybody is told",
       {path.base()},
       joined({{first, Path::kept(path.kernels_v6(), path.error(0)).counts(WEFT_STAT_PATH_MTU_LEARNT)},
               path.ends_at(path.inside(t.underlay.v4 && t.way == WEFT_WAY_VXLAN ? WEFT_PATH_MTU_LEAST_V4
                                                                                 : WEFT_PATH_MTU_LEAST_V6))})},
      {"a router takes less than the node itself sends",
       {path.base()},
       {send(Hook::from_host, kOther, from_host)
            .redirected()
            .becomes(t.wrapped(from_host, WEFT_IDENTITY_REMOTE_NODE))
            .event(kCreated),
        Path::heard(path.error(kNarrow)).counts(WEFT_STAT_PATH_MTU_LEARNT),
        send(Hook::from_host, kOther, from_host.with_payload(1340))
            .answered(WEFT_DROP_TOO_BIG,
                      from_host.with_payload(1340).too_big(narrow).with_macs(from_host.from_mac, from_host.to_mac))
            .silently()}},
      {"a router takes less than fragments have",
       {path.base()},
       {t.out(whole.first_fragment(77)).event(kCreated),
        Path::heard(path.error(kNarrow)).counts(WEFT_STAT_PATH_MTU_LEARNT),
        t.net.v4 ? Path::told_and_passed(fragment, answer(fragment)) : Path::told_by(fragment, answer(fragment))}},
      {"a router takes less than what may be fragmented: it is told, and lost nowhere",
       {path.base()},
       !t.net.v4
           ? Steps{}
           : Steps{t.out(loose).event(kCreated), Path::heard(path.error(kNarrow)).counts(WEFT_STAT_PATH_MTU_LEARNT),
                   Path::told_and_passed(loose, loose.too_big(narrow)),
                   // the copy, and nothing after it
                   passed(t.out(loose)), Path::told_and_passed(loose, loose.too_big(narrow)),
                   Path::told_by(Path::whole(loose), Path::whole(loose).too_big(narrow)),
                   // its own device's size is no router's word
                   Path::told_by(loose.with_payload(kMtu), loose.with_payload(kMtu).too_big(narrow)),
                   // the node's own is not sent anew
                   t.out(Hook::from_host, kOther, of_node, of_node, WEFT_IDENTITY_REMOTE_NODE).event(kCreated),
                   t.out(Hook::from_host, kOther, of_node, of_node, WEFT_IDENTITY_REMOTE_NODE)}},
      {"a router takes less, segments to be made are measured",
       {path.base()},
       // a test run's packet has no segments of a kind that could be put into another one: traffic_test has
       t.way != WEFT_WAY_VXLAN
           ? Steps{}
           : Steps{first, Path::heard(path.error(kNarrow)).counts(WEFT_STAT_PATH_MTU_LEARNT),
                   t.out(path.segment(3000).with_gso(narrow - (t.net.v4 ? 40u : 60u))),
                   send(Hook::from_pod, kPodA, path.segment(3000).with_gso(narrow - (t.net.v4 ? 39u : 59u)))
                       .answered(WEFT_DROP_TOO_BIG, path.segment(3000).too_big(narrow))
                       .silently()}},
  };
}

// Anybody may write an ICMP error.
Cases refused(const Tunneled& t) {
  const Path path{t};
  const auto first = t.out(path.segment(kMtu)).event(kCreated);
  const auto whole = t.out(path.segment(kMtu));
  const auto length = path.outer(t.underlay.remote).l3_bytes().size();
  auto foreign = path.outer(t.underlay.remote);
  foreign.source = t.underlay.world2;
  auto cut = path.error(kNarrow);
  cut.quoted_bytes = 0;
  cut = cut.cut((t.underlay.v4 ? 20 : 40) + 8 + (t.underlay.v4 ? 19 : 39));
  auto fragment = path.error(kNarrow).first_fragment(78);
  fragment.source = t.underlay.client;
  // in IPv4 with options, in IPv6 of a code that there is not
  auto optional = path.error(kNarrow);
  optional.quoted->ip_options = t.underlay.v4 ? Octets{1, 1, 1, 1} : Octets{};
  optional.icmp_code = t.underlay.v4 ? 4 : 7;
  auto hidden = path.error(kNarrow);
  if (!t.underlay.v4)
    for (int i = 0; i < 7; ++i) hidden = hidden.with_extension(60, {0, 0, 1, 4, 0, 0, 0, 0});
  const auto elsewhere = [&](const IpAddress& to) {
    auto error = path.error(foreign, 1280);
    error.destination = to;
    return error;
  };
  auto unrelated = path.error(kNarrow);
  unrelated.icmp_type = t.underlay.v4 ? 3 : 1;
  unrelated.icmp_code = t.underlay.v4 ? 3 : 0;
  const auto own = tcp(t.underlay.nat, 179, t.underlay.remote, 50000).with_payload(1400);
  const auto own_error = Path::heard(path.error(own, kNarrow));
  const bool kernels = path.kernels();
  const auto kept = [&](const Packet& packet) { return Path::kept(kernels, packet); };
  return {
      {"too big, it is said of nothing that this node sends another one",
       {path.base()},
       {first, Path::heard(path.error(path.outer(t.underlay.world2), kNarrow)).counts(WEFT_STAT_PATH_MTU_REFUSED),
        kept(path.error(foreign, kNarrow)), Path::heard(cut), Path::heard(unrelated),
        kept(path.error(static_cast<std::uint16_t>(length))).silently().counts(WEFT_STAT_PATH_MTU_REFUSED), whole}},
      {"too big, it is said to somebody else",
       {t.base()},  // the error's destination is no address of this node
       {first, Path::heard(path.error(kNarrow)), whole}},
      {"too big, it is said of what the node itself sends there",
       {path.base()},
       // VXLAN goes by what the kernel has heard, the others know better
       joined({{first, kernels ? Step(own_error).counts(WEFT_STAT_PATH_MTU_LEARNT) : own_error},
               kernels ? path.ends_at(path.inside(kNarrow)) : Steps{whole}})},
      {"too big, what the kernel's device would go by is kept from the kernel",
       {path.base()},
       {first, kept(path.error(foreign, 1280)), kept(fragment), kept(optional).silently(),
        Path::kept(path.kernels_v6(), t.underlay.v4 ? unrelated : hidden).silently(),
        // of a connection it believes who knows its numbers
        kernels ? Path::heard(path.error(own, 1300)).counts(WEFT_STAT_PATH_MTU_LEARNT)
                : Path::heard(path.error(own, 1300))}},
      {"too big, what pods of IPv6 may send gets there",
       {path.base()},
       joined({{first, Path::kept(path.kernels_v6(), path.error(1349)).counts(WEFT_STAT_PATH_MTU_LEARNT)},
               path.ends_at(path.inside(1349))})},
      {"too big, it is said to a pod, or to others, and not to the kernel",
       {path.base()},
       {Path::heard(elsewhere(t.net.a)), Path::heard(elsewhere(t.underlay.nobody))}},
      {"too big, it is said where there are no tunnels",
       {path.base(),
        configure([](weft_config& config) { config.flags &= ~static_cast<std::uint32_t>(WEFT_CONFIG_TUNNEL); })},
       {first, Path::heard(path.error(kNarrow)), whole}},
  };
}

}  // namespace

Cases path_mtu_cases(const Tunneled& t) {
  auto cases = learnt(t);
  for (const auto& one : refused(t)) cases.push_back(one);
  return cases;
}

}  // namespace weft::test
