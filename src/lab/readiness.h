// Waiting for a lab's supervisor to have done what the agent's objects ask for.
#pragma once

#include <chrono>
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

// Until weftd answers; `unavailable` with its last words otherwise.
Result<void> wait_for_agent(const Layout& layout, Deadline deadline);

// Until every pod of the agent is attached and answers on its ports, and no other pod is left.
// Tells progress, and at the end which ports could not be opened.
Result<void> wait_for_pods(const Layout& layout, Deadline deadline, const Progress& progress);

}  // namespace weft::lab
