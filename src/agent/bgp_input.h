// What a node has to say by BGP, out of what the agent knows.
#pragma once

#include <vector>

#include "agent/node.h"
#include "agent/objects.h"
#include "agent/service_facts.h"
#include "config/agent/config.h"
#include "control/bgp/bgp.h"
#include "control/services/services.h"

namespace weft::agent {

// Pure; the pointers are of `objects`. An address is among those of a Service while a client outside could be answered
// there: some backend takes new flows, and where externalTrafficPolicy is Local one that is ready and here.
control::BgpInput bgp_input(const Objects& objects, const ServiceFacts& facts, const control::ServiceCompiler& services,
                            const Node& node, const Config& config, std::vector<Cidr> blocks);

// Whether some BGPPeering has routers for this node, and somebody here may speak with them.
bool speaks_bgp(const Objects& objects, const Config& config);

}  // namespace weft::agent
