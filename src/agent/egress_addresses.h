// Addresses that this node has while it is an egress gateway: on an uplink, told to the neighbours. Ours are known by
// their protocol number, so that those of an earlier run are found again; others' are left alone. On the agent's
// thread.
#pragma once

#include <asio/io_context.hpp>
#include <optional>
#include <set>

#include "agent/faults.h"
#include "agent/l2.h"
#include "agent/node.h"
#include "control/egress/egress.h"
#include "sys/netlink.h"
#include "sys/packet_socket.h"

namespace weft::agent {

class EgressAddresses {
 public:
  // `send` puts a frame on a device's link.
  EgressAddresses(asio::io_context& loop, sys::Netlink& netlink, Faults& faults, L2Announcer::Send send);

  // Brings the devices to what is wanted; false: not all of it, faults tell. An address that the node has by somebody
  // else's doing stays as it is.
  bool want(const std::set<control::EgressAddress>& wanted, const Node& node);
  // The neighbours are told once more: another node may just have answered them for the same address.
  void announce_again();

 private:
  void announce();

  sys::Netlink& netlink_;
  Faults& faults_;
  L2Announcer announcer_;
  L2Announcer::Rows announced_;
};

}  // namespace weft::agent
