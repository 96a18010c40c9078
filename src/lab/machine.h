// What every lab command needs to know of the machine and the caller.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/layout.h"

namespace weft::lab {

using Progress = std::function<void(const std::string& line)>;

struct Machine {
  Roots roots;
  std::string binary_directory;  // where find_program looks for weftd and weft-cni
  // How to start a supervisor; the lab's name is appended. It finds `ready` on standard output.
  std::vector<std::string> supervisor_command;

  // With the nodes the lab was made with; one that does not exist has one.
  [[nodiscard]] Layout layout(const std::string& lab) const;
};

// The running program's own directory (or $WEFT_BIN_DIR) and `<itself> lab supervise --name`.
Machine this_machine();

// The program in the directory, as the build leaves it, or where installing puts it beside one of
// `bin`: ../sbin, ../lib/cni, ../../opt/cni/bin. In the directory when it is nowhere.
std::string find_program(const std::string& directory, const std::string& name);

// Everything of a lab needs root: namespaces, BPF, mounts.
Result<void> check_root();

// not_found, naming the labs there are, when this one has no supervisor and no namespaces.
Result<void> check_lab_exists(const Layout& layout);

}  // namespace weft::lab
