// Waiting for a lab's supervisor to have done what the agents' objects ask for.
#pragma once

#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/layout.h"
#include "lab/machine.h"
#include "lab/pod_plan.h"

namespace weft::lab {

using Deadline = std::chrono::steady_clock::time_point;

// Whether the supervisor answers now.
bool supervisor_answers(const Layout& layout);

// Until every node's weftd answers that is not to be down; `unavailable` with the last words of one that does not.
Result<void> wait_for_agents(const Layout& layout, Deadline deadline);

// Until every pod of the lab is attached and answers on its ports, and no other pod is left.
// Tells progress, and at the end which ports could not be opened. Of agents that share objects any may be asked, which
// knows of a change a moment later: pods of `added` are waited for also when it does not know them, those of `removed`
// until it knows them no more, and all until the agent of their own node tells their addresses.
struct Changed {
  std::set<std::string> added;
  std::set<std::string> removed;
};
Result<void> wait_for_pods(const Layout& layout, Deadline deadline, const Progress& progress,
                           const Changed& changed = {});

}  // namespace weft::lab
