// Takes away what the datapath left on the node when the agent will not come back (weftd --cleanup).
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "config/agent/config.h"

namespace weft::agent {

// The plugin and the list that led runtimes to it, where the configuration names their places. Pins, and with them the
// programs on uplinks and sockets; the pods' devices with their routes; the agent's own device. The store keeps the
// objects and forgets the pods, unless it is to go, too, with the node's keys and all that is of the agent in its
// directories. Refused while an agent holds the store. Repeating it is no error; `tell` hears of each thing that was
// there, and of what is kept.
enum class Kept { store, nothing };
Result<void> clean_up(const Config& config, Kept kept, const std::function<void(const std::string&)>& tell);

// The files of the agent in its two directories, and these where nothing else is in them. Who has stopped it may call
// this.
Result<void> remove_files(const Config& config, const std::function<void(const std::string&)>& tell);

}  // namespace weft::agent
