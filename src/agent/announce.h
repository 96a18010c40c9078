// Which addresses of Services this node shall answer for by ARP and neighbour discovery, on which device.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "agent/config.h"
#include "agent/node.h"
#include "agent/objects.h"
#include "agent/service_facts.h"
#include "control/services/services.h"
#include "datapath/rows.h"

namespace weft::agent {

struct Announcements {
  // Wanted: whether somebody else on the link has them is another question (l2.h).
  datapath::Rows<weft_l2_key, weft_l2> rows;
  // Covered by an L2Announcement and not to be announced all the same: why not.
  std::map<IpAddress, std::string> refused;
  // L2Announcements that name devices this node cannot announce on.
  std::vector<std::string> problems;
};

// Pure. Load balancer and external addresses of the Services the announcements select, on the uplinks
// they name. One node: it is elected for all of them.
Announcements announcements(const Objects& objects, const ServiceFacts& facts, const control::ServiceCompiler& services,
                            const Node& node, const Config& config);

}  // namespace weft::agent
