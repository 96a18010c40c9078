// What FRR's bgpd says in JSON. Pure; the text is another program's.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "speaker/peer.h"

namespace weft::speaker {

// Of "show bgp neighbors json".
Result<std::vector<Peer>> parse_frr_peers(std::string_view json);
// Of "show bgp ipv4 unicast neighbors A advertised-routes json" and "... A routes json".
Result<std::vector<Route>> parse_frr_routes(std::string_view json, const IpAddress& peer, bool advertised);

}  // namespace weft::speaker
