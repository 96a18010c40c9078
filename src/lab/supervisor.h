// The process behind a lab: `weft lab supervise`, started by `weft lab up`.
#pragma once

#include <string>

#include "lab/layout.h"

namespace weft::lab {

// Keeps the nodes' weftd, etcd where they share one, the pods and their answers going until SIGTERM, then
// ends the programs and itself; the namespaces stay for `down`. Writes "ready" to `ready_fd` when its control
// socket listens, or a line with what went wrong, and closes it. Returns the exit code.
//
// The control socket speaks the node API's lines: `lab.status` answers {lab, pid, nodes:[{name, address, address_v6,
// down, pid, restarts, failures, serving, problem}], etcd:[{name, down, pid, restarts, failures, problem}], source (the
// node whose agent tells of pods), synced, pods:[see PodKeeper::status]}; `lab.watch` streams the same, now, after
// every change and at least twice a second; `lab.reload` takes up that the lab has more nodes. `lab.net` {action,
// nodes, value} changes links: `partition`, `cut-etcd`, `delay` (value: microseconds), `loss` (parts of a million),
// `heal`; `lab.node` {action, node}: `kill` its agent, `crash` all of it, `start` it again. The conditions of nodes are
// in the status as well (see conditions_to_json).
int supervise(const Layout& layout, const std::string& binary_directory, int ready_fd);

}  // namespace weft::lab
