// A lab's nodes, the world around them and another host, as network namespaces.
#pragma once

#include <string>

#include "base/result.h"
#include "lab/layout.h"

namespace weft::sys {
class Netlink;
}

namespace weft::lab {

// Makes what is missing: each node's namespace with loopback, uplink, addresses, default routes and
// forwarding on; the world's with a switch for each network (its address is the switch's own), its addresses
// and routes to the pods; the other host's likewise. Repeatable after a crash.
Result<void> build_world(const Layout& layout);
// Likewise one node, of a world that is there.
Result<void> build_node(const Layout& layout, const NodeLayout& node);

// In the namespace of `netlink`, the world's or host1's: the way to a pod, or to all of a node's.
Result<void> add_pod_route(sys::Netlink& netlink, const Layout& layout, const NodeLayout& node,
                           const std::string& cidr);

// A namespace with its loopback up; false when it was there already.
Result<bool> ensure_netns(const std::string& name);

}  // namespace weft::lab
