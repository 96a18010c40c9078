// Which addresses of Services this node shall answer for by ARP and neighbour discovery, on which device.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/cluster_view.h"
#include "agent/node.h"
#include "agent/objects.h"
#include "agent/service_facts.h"
#include "config/agent/config.h"
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
  // Of a cluster, where one node announces an address. Who could instead of this node: those that are alive and that
  // one of the L2Announcements is for; of a Service with externalTrafficPolicy Local, those with a ready endpoint of
  // it.
  struct Candidacy {
    std::set<std::string> announcements;
    std::optional<std::set<std::string>> with_endpoint;
  };
  std::map<std::string, std::vector<std::string>> nodes;  // other ones, by L2Announcement
  std::map<IpAddress, Candidacy> candidacies;             // of the addresses of `rows`

  // How many other nodes come before `self` for the address: each address has an order of its own, the same on every
  // node that knows the same.
  [[nodiscard]] unsigned rank(const IpAddress& address, const std::string& self) const;
};

// Pure. Load balancer and external addresses of the Services the announcements select, on the uplinks
// they name. Of a cluster: those this node could announce; which node does is not decided here.
Announcements announcements(const Objects& objects, const ServiceFacts& facts, const control::ServiceCompiler& services,
                            const Node& node, const Config& config, const ClusterView& cluster = {});

}  // namespace weft::agent
