// A lab's node and the world around it, as network namespaces joined by a veth pair.
#pragma once

#include "base/result.h"
#include "lab/layout.h"

namespace weft::lab {

// Makes what is missing: the node's namespace with loopback, uplink, addresses, default routes and
// forwarding on; the world's with its addresses and a route to the pods. Repeatable after a crash.
Result<void> build_world(const Layout& layout);

// A namespace with its loopback up; false when it was there already.
Result<bool> ensure_netns(const std::string& name);

}  // namespace weft::lab
