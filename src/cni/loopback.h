// The part of the plugin `loopback`, which runtimes ask for beside the pod's network: the interface lo of a new network
// namespace is set up. Called by that name, or told `"type": "loopback"`, weft-cni does it, so that a node needs no
// other plugin. The agent has no part in it.
#pragma once

#include "cni/invocation.h"
#include "cni/plugin.h"

namespace weft::cni {

[[nodiscard]] bool is_loopback(const Invocation& invocation);

// Moves this process into the network namespace, for ADD and CHECK.
Output run_loopback(const Invocation& invocation);

}  // namespace weft::cni
