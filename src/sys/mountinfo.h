// Reading /proc/self/mountinfo (proc(5)) and /proc/<pid>/cgroup (cgroups(7)). Private to this room.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace weft::sys {

// The mount point of a cgroup v2 hierarchy; a mount of the hierarchy's root wins over one of a part.
std::optional<std::string> find_cgroup2_mount(std::string_view mountinfo);
// The path on the "0::" line.
std::optional<std::string> find_cgroup2_path(std::string_view cgroup);

}  // namespace weft::sys
