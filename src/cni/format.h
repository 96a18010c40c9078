// What the plugin prints: results, errors and versions in the form of the asked CNI version.
#pragma once

#include <string>

#include "base/result.h"
#include "cni/invocation.h"

namespace weft::cni {

// The ADD result: the agent's answer (docs/api.md, cni.add) after the results of the plugins that
// ran before (`previous`, may be null), with only the fields `version` has. Pure; tolerates
// members of unexpected types by leaving them out.
Json format_result(SpecVersion version, const Json& previous, const Json& answer);

std::string format_error(const CniError& error);

// `asked` is the configuration that came with VERSION, possibly empty.
std::string format_versions(const Json& asked);

// The agent's error in CNI's numbers.
CniError from_agent_error(const Error& error, Command command, SpecVersion version);

}  // namespace weft::cni
