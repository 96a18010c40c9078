#include "lab/machine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace weft::lab {

Machine this_machine() {
  Machine machine;
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const char* wanted = std::getenv("WEFT_BIN_DIR");
  machine.binary_directory = wanted != nullptr && *wanted != 0 ? wanted : self.parent_path().string();
  machine.supervisor_command = {self.string(), "lab", "supervise", "--name"};
  return machine;
}

// Settings nobody can read are those of a crash: what is left of such a lab is found by its names.
Layout Machine::layout(const std::string& lab) const {
  const Layout plain(lab, roots);
  const auto settings = load_settings(plain.settings_file());
  return settings ? Layout(lab, roots, *settings) : plain;
}

std::string find_program(const std::string& directory, const std::string& name) {
  for (const auto* place :
       {"", "../sbin/", "../lib/cni/", "../../lib/cni/", "../../opt/cni/bin/", "../../../opt/cni/bin/"}) {
    const auto path = (std::filesystem::path(directory) / place / name).lexically_normal().string();
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return directory + "/" + name;
}

Result<void> check_root() {
  if (::geteuid() == 0) return {};
  return fail(ErrorCode::denied, "weft lab needs root: it makes network namespaces and loads BPF programs",
              "run it again as root, with sudo for example");
}

Result<void> check_lab_exists(const Layout& layout) {
  const auto labs = find_labs(layout.roots());
  for (const auto& name : labs)
    if (name == layout.name()) return {};
  if (labs.empty())
    return fail(ErrorCode::not_found, fmt::format("there is no lab \"{}\"", layout.name()),
                "make one with: weft lab up -f FILE|DIR");
  return fail(ErrorCode::not_found,
              fmt::format("there is no lab \"{}\"; there is {}", layout.name(), fmt::join(labs, ", ")),
              fmt::format("choose one with --name, for example --name {}", labs.front()));
}

}  // namespace weft::lab
