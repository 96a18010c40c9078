// Map contents in words, one line a row, in a stable order; and verdicts read from the maps alone.
#pragma once

#include <string>
#include <vector>

#include "base/ip.h"
#include "machine.h"

namespace weft::script {

// policy, endpoints, identities (numbers to labels), prefixes, services, slots, backends, netns,
// devices, config, addresses (allocations).
Result<std::vector<std::string>> dump(Machine& machine, const std::string& what);

// What the datapath decides for a new connection, a line for each backend of a service.
Result<std::vector<std::string>> verdicts(Machine& machine, const IpAddress& from, const IpAddress& to,
                                          const PortProtocol& port);

}  // namespace weft::script
