// A plan as the configuration of a speaker. The texts are the whole of it: nothing of a system-wide speaker is in them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "control/bgp/bgp.h"

namespace weft::control {

// Of routers that want one; by the path of its file. TCP MD5 (RFC 2385).
using BgpPasswords = std::map<std::string, std::string>;

// How long a speaker may be away before routers forget its routes, and how long after its restart it waits for all
// routers before it forgets what it had from them. It is back within seconds; a router sends that long to a node that
// has gone and whose kernel still closed its connections.
inline constexpr int bgp_restart_seconds = 30;

// Whether speakers can be told the password: printable, without what one of them gives another meaning.
Result<void> check_password(std::string_view password);

// The name of the peer's protocol in BIRD. Another address has another name.
std::string bird_protocol(const IpAddress& peer);

// A password that is missing is left out: then the router refuses the session, and nothing else is disturbed.
std::string bird_configuration(const BgpPlan& plan, const BgpPasswords& passwords);
std::string frr_configuration(const BgpPlan& plan, const BgpPasswords& passwords);

// The commands, from "configure terminal" to "end", that bring an FRR which was given `before` to `now`; an empty list:
// nothing is to be done. Sessions whose lines are the same are not touched. Nothing: it has to start anew, for the AS
// is another one: bgpd 8.4 ends itself when its AS is taken away, and no session would stay.
std::optional<std::vector<std::string>> frr_changes(std::string_view before, std::string_view now);

}  // namespace weft::control
