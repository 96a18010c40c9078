// What is sent and seen of each way between nodes, for the cases that are the same by all of them.
#pragma once

#include "fixture.h"

namespace weft::test {

inline const EventWant kCreated{.type = WEFT_EVENT_NEW};
inline constexpr std::uint32_t kMtu = 1400;

inline Packet hop(const Packet& packet) {
  return packet.with_hop_limit(static_cast<std::uint8_t>(packet.hop_limit - 1));
}

inline Row all(Rows rows) {
  return [rows = std::move(rows)](Datapath& d) {
    for (const auto& row : rows) row(d);
  };
}

// One way between nodes, over one family.
struct Tunneled {
  const Net& net;
  const Net& underlay;
  weft_way way;

  [[nodiscard]] bool says_identity() const { return way != WEFT_WAY_IPIP; }
  [[nodiscard]] Row base() const {
    return all({standard(net), host_at(net.gateway), host_at(underlay.host), far_node(net, way, underlay, kMtu)});
  }
  // What leaves the node with `inner` in it.
  [[nodiscard]] Packet wrapped(const Packet& inner, std::uint32_t identity) const {
    if (way == WEFT_WAY_GENEVE) return geneve_tunnel(underlay.nat, underlay.remote, inner, identity);
    return way == WEFT_WAY_IPIP ? ipip_tunnel(underlay.nat, underlay.remote, inner) : inner;
  }
  // `inner` coming from `node` out of a tunnel.
  [[nodiscard]] Step in_from(const IpAddress& node, const Packet& inner, std::uint32_t identity) const {
    if (way == WEFT_WAY_VXLAN) return send(Hook::from_overlay, kOther, inner).sent_by(node, identity);
    if (way == WEFT_WAY_DIRECT) return send(Hook::from_device, kUplink, inner);
    Packet outer = way == WEFT_WAY_GENEVE ? geneve_tunnel(node, underlay.host, inner, identity)
                                          : ipip_tunnel(node, underlay.host, inner);
    outer.gso_size = inner.gso_size;
    return send(Hook::from_device, kUplink, outer).becomes(inner);
  }
  [[nodiscard]] Step in(const Packet& inner, std::uint32_t identity = kFarIdentity) const {
    return in_from(underlay.remote, inner, identity);
  }
  [[nodiscard]] Step out(Hook hook, std::uint32_t device, const Packet& packet, const Packet& inner,
                         std::uint32_t identity) const {
    return send(hook, device, packet).redirected().becomes(wrapped(inner, identity));
  }
  [[nodiscard]] Step out(const Packet& packet) const { return out(Hook::from_pod, kPodA, packet, hop(packet), 1001); }
};

// path_mtu_cases.cpp and tunnel_sender_cases.cpp: among those of tunnels.
Cases path_mtu_cases(const Tunneled& t);
Cases tunnel_sender_cases(const Tunneled& t);

}  // namespace weft::test
