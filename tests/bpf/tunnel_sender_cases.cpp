// Whom a node may speak for by its tunnel: those on it, and nobody on another one, whatever it says.
#include "tunneled.h"

namespace weft::test {
namespace {

// A node beside the far one, which sends by `third()`, and whose pod has an address that is its alone.
constexpr std::uint32_t kThirdNode = 5;

struct Third {
  const Tunneled& t;

  [[nodiscard]] const IpAddress& address() const { return t.underlay.world2; }
  [[nodiscard]] Row way(weft_way way) const {
    weft_node row{};
    row.addr = to_abi(address());
    row.source = to_abi(t.underlay.nat);
    row.mtu = kMtu;
    row.way = static_cast<std::uint8_t>(way);
    return [row](Datapath& d) { d.put("weft_node_v1", std::uint32_t{kThirdNode}, row); };
  }
  [[nodiscard]] Row base() const {
    return all({t.base(), way(t.way), remote(address(), WEFT_IDENTITY_REMOTE_NODE, 0, WEFT_REMOTE_NODE),
                remote(t.net.nobody, 1888, kThirdNode)});
  }
  [[nodiscard]] Step sends(const Packet& inner, std::uint32_t identity = kFarIdentity) const {
    return t.in_from(address(), inner, identity);
  }
};

Step refused(Step step) { return step.dropped(WEFT_DROP_TUNNEL_SOURCE).silently(); }

}  // namespace

Cases tunnel_sender_cases(const Tunneled& t) {
  const Third third{t};
  const auto& net = t.net;
  const auto out = tcp(net.a, 40000, net.far, 80, kSyn);
  const auto in = tcp(net.far, 50000, net.b, 8080, kSyn);
  const auto own = in.from(net.nobody, 50000);
  const auto answer = tcp(net.world, 443, net.a, 40000).with_flags(kSyn | kAck);
  const auto leaving = answer.reversed().with_flags(kSyn);
  return {
      {"with the source of another node's pod, gateway, or address that nothing is known of",
       {third.base()},
       {refused(third.sends(in)), refused(third.sends(in.from(net.far_gateway, 9), WEFT_IDENTITY_REMOTE_NODE)),
        refused(third.sends(in.from(net.far_unknown, 9))), refused(third.sends(udp(net.far, 9, net.host, 53))),
        refused(third.sends(udp(net.far, 9, net.b, 53).later_fragment(7, 1400))), no_flow(in),
        // the node itself, and the other one of its own
        t.in(in).redirected().event(kCreated),
        third.sends(own, 1888).redirected().event({.type = WEFT_EVENT_NEW, .source_identity = 1888})}},
      {"within connections of another node's pod",
       {third.base()},
       {t.out(out).event(kCreated), refused(third.sends(out.reversed().with_flags(kSyn | kAck))),
        refused(third.sends(unreachable(net.far, net.a, hop(out)))), t.in(in).redirected().event(kCreated),
        refused(third.sends(in.with_flags(kAck))), refused(third.sends(in.with_flags(kRst))),
        t.in(in.with_flags(kAck)).redirected(), flow(in, {.packets = 2}), flow(out.reversed(), {.packets = 0})}},
      {"of a pod that has moved, from when that is known",
       {third.base()},
       {refused(third.sends(in)), change(remote(net.far, kFarIdentity, kThirdNode)), change(bump()),
        third.sends(in).redirected().event(kCreated), refused(t.in(in.with_flags(kAck))),
        third.sends(in.with_flags(kAck)).redirected()}},
      {"of a node that is reached without a tunnel, or not at all",
       {third.base()},
       {change(third.way(WEFT_WAY_DIRECT)), third.sends(own, 1888).redirected().event(kCreated),
        refused(t.in(own, 1888)), change(third.way(WEFT_WAY_NONE)), refused(third.sends(own.with_flags(kAck), 1888))}},
      {"of the world, for a pod here that left by a gateway",
       {third.base(), egress(net, {.nodes = {kFarNode}})},
       {t.out(leaving).event(kCreated), t.in(answer, WEFT_IDENTITY_WORLD).redirected(),
        refused(third.sends(out.reversed().with_flags(kSyn | kAck)))}},
  };
}

}  // namespace weft::test
