// The two entries of a flow, whichever family's table they stand in.
#pragma once

#include "abi/flow.h"

namespace weft::agent {

inline weft_addr address_of(__be32 v4) { return {{0, 0, __builtin_bswap32(0xffff), v4}}; }
inline weft_addr address_of(const weft_addr& addr) { return addr; }
inline void set_address(__be32& to, const weft_addr& addr) { to = addr.word[3]; }
inline void set_address(weft_addr& to, const weft_addr& addr) { to = addr; }

// The other direction's key: the reverse of what leaves (bpf/lib/flow.h, tuple_peer).
template <class Key>
Key peer_of(const Key& key, const weft_flow& flow) {
  Key peer{};
  peer.protocol = key.protocol;
  peer.saddr = key.daddr;
  peer.sport = key.dport;
  peer.daddr = key.saddr;
  peer.dport = key.sport;
  if ((flow.flags & WEFT_FLOW_DNAT) != 0) {
    set_address(peer.saddr, flow.dst_addr);
    peer.sport = flow.dst_port;
  }
  if ((flow.flags & WEFT_FLOW_SNAT) != 0) {
    set_address(peer.daddr, flow.src_addr);
    peer.dport = flow.src_port;
  }
  return peer;
}

}  // namespace weft::agent
