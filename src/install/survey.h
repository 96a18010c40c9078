// What a cluster says of itself before Weft is installed: its ranges of addresses, its API servers, and what stands in
// the way.
#pragma once

#include <string>
#include <vector>

#include "install/cluster.h"

namespace weft::install {

// From kubeadm's configuration; of Services else from ServiceCIDR objects, or from what the server says when it refuses
// an address. Empty: nothing says.
std::vector<std::string> find_pod_ranges(Cluster& cluster);
std::vector<std::string> find_service_ranges(Cluster& cluster);
// As URLs, from the endpoints of the Service "kubernetes".
std::vector<std::string> find_servers(Cluster& cluster);

// Of "gitVersion", "major" and "minor" as /version has them.
bool is_at_least(const nlohmann::json& version, int minor);
// From this one on it has ValidatingAdmissionPolicies, and tokens of pods name their node.
inline constexpr int restricting_minor = 30;

struct Finding {
  bool stops = false;  // nothing is installed, unless it is forced
  std::string what;
  std::string remedy;
};

// The server's version, the user's rights, nodes that cannot do it, other CNIs, kube-proxy. Fails where the server
// cannot be asked.
Outcome<std::vector<Finding>> survey(Cluster& cluster);

}  // namespace weft::install
