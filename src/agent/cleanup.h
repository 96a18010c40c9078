// Takes away what the datapath left on the node when the agent will not come back (weftd --cleanup).
#pragma once

#include <functional>
#include <string>

#include "agent/config.h"
#include "base/result.h"

namespace weft::agent {

// The plugin and the list that led runtimes to it, where the configuration names their places. Pins, and with them the
// programs on uplinks and sockets; the pods' devices with their routes; the agent's own device. The store keeps the
// objects and forgets the pods. Refused while an agent holds the store. Repeating it is no error; `tell` hears of each
// thing that was there.
Result<void> clean_up(const Config& config, const std::function<void(const std::string&)>& tell);

}  // namespace weft::agent
