// A lab's node, the world around it and another host, as network namespaces on one network.
#pragma once

#include "base/result.h"
#include "lab/layout.h"

namespace weft::lab {

// Makes what is missing: the node's namespace with loopback, uplink, addresses, default routes and
// forwarding on; the world's with the network's switch (its address is the switch's own), its addresses and
// a route to the pods; the other host's likewise. Repeatable after a crash.
Result<void> build_world(const Layout& layout);

// A namespace with its loopback up; false when it was there already.
Result<bool> ensure_netns(const std::string& name);

}  // namespace weft::lab
