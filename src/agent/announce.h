// Which addresses of Services this node answers for by ARP and neighbour discovery, on which device.
#pragma once

#include "agent/node.h"
#include "agent/objects.h"
#include "agent/service_facts.h"
#include "control/services/services.h"
#include "datapath/rows.h"

namespace weft::agent {

// Pure. Load balancer and external addresses of the Services the announcements select, on the uplinks
// they name. One node: it is elected for all of them.
datapath::Rows<weft_l2_key, weft_l2> announced_rows(const Objects& objects, const ServiceFacts& facts,
                                                    const control::ServiceCompiler& services, const Node& node);

}  // namespace weft::agent
