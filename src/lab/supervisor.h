// The process behind a lab: `weft lab supervise`, started by `weft lab up`.
#pragma once

#include <string>

#include "lab/layout.h"

namespace weft::lab {

// Keeps weftd, the pods and their answers going until SIGTERM, then ends weftd and itself; the
// namespaces stay for `down`. Writes "ready" to `ready_fd` when its control socket listens, or a line
// with what went wrong, and closes it. Returns the exit code.
//
// The control socket speaks the node API's lines: `lab.status` answers {lab, pid, agent:{pid, restarts,
// failures, serving, problem}, synced, pods:[see PodKeeper::status]}; `lab.watch` streams the same, now, after
// every change and at least twice a second.
int supervise(const Layout& layout, const std::string& binary_directory, int ready_fd);

}  // namespace weft::lab
