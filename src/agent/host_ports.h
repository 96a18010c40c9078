// CNI portMappings: ports of the node that lead to one pod.
#pragma once

#include <map>
#include <vector>

#include "agent/attachment.h"
#include "control/services/services.h"
#include "sources/store/rows.h"

namespace weft::agent {

// Adds those that `host_ports` (of the pod's containers) does not have already: Kubernetes asks for each
// of them both ways.
void add_port_mappings(const std::vector<store::PortMapping>& mappings, std::vector<control::HostPort>& host_ports);

// Whether the node can give the pod of `request` the ports it asks for. `exhausted`, naming who has it, for one that
// another attachment, a pod with a hostPort, or a NodePort has.
Result<void> admit_port_mappings(const AttachRequest& request,
                                 const std::map<store::EndpointKey, store::EndpointRecord>& records,
                                 const control::ServiceCompiler& services);

}  // namespace weft::agent
