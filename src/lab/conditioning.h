// Asking a lab's supervisor to do something to its nodes; what it did holds until it is undone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/condition.h"
#include "lab/machine.h"

namespace weft::lab {

// `action` and `value` as `lab.net` of the control socket has them (supervisor.h). The conditions afterwards.
Result<Conditions> change_net(const Machine& machine, const std::string& lab, const std::string& action,
                              const std::vector<std::string>& nodes, std::int64_t value = 0);

// What `lab.node` can be about: nodes, members of etcd, operators.
std::vector<std::string> names_in(const Layout& layout);

// `action` as `lab.node` has it. With `new_address` a node that crashed starts with another address.
Result<void> change_node(const Machine& machine, const std::string& lab, const std::string& action,
                         const std::string& node, bool new_address = false);

}  // namespace weft::lab
