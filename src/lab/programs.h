// The programs a lab's supervisor keeps: a weftd for each node; etcd and weft-operators where the
// nodes share one.
#pragma once

#include <string>

#include "base/result.h"
#include "lab/layout.h"
#include "supervise/kept_process.h"

namespace weft::lab {

// The agent's configuration file for a node of a lab.
std::string agent_config(const Layout& layout, const NodeLayout& node);

supervise::KeptProgram agent_program(const Layout& layout, const NodeLayout& node, const std::string& binary);
supervise::KeptProgram etcd_program(const Layout& layout, const EtcdLayout& member);
supervise::KeptProgram operator_program(const Layout& layout, const OperatorLayout& its, const std::string& binary);

// not_found with the package to install when the lab needs an etcd and there is none.
Result<void> check_etcd(const Layout& layout);

// The directory of a node's cgroup; empty when it has none of its own, or the machine no hierarchy.
std::string cgroup_directory(const NodeLayout& node);
// Makes it when it is missing.
Result<void> ensure_cgroup(const NodeLayout& node);
// The cgroups of all nodes a lab ever had; what still runs there makes it an error.
Result<void> remove_cgroups(std::string_view lab);

}  // namespace weft::lab
