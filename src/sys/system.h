// Small pieces of the operating system: sysctls, cgroups, mounts, atomic files, processes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace weft::sys {

// /proc/sys of the calling thread's network namespace. Key with dots replaced by slashes: "net/ipv4/ip_forward".
Result<std::string> read_sysctl(const std::string& key);
Result<void> write_sysctl(const std::string& key, const std::string& value);  // no write when equal
// A container's runtime mounts /proc/sys read-only. Makes it writable again in this mount namespace, where that is so;
// what cannot be done shows where a sysctl is written.
void make_sysctls_writable();

// The mount point of the cgroup v2 hierarchy, found in /proc/self/mountinfo ("/sys/fs/cgroup",
// "/sys/fs/cgroup/unified", ...). not_found when none is mounted.
Result<std::string> cgroup2_mount();
// The "0::" path of a process in it, "/" for the root.
Result<std::string> cgroup2_of(int pid);

// Makes sure a bpffs is mounted at `path` (mounts one, creating the directory).
Result<void> ensure_bpffs(const std::string& path);

Result<std::string> read_file(const std::string& path);  // at most 64 MiB
// Temporary file in the same directory, fsync, rename.
Result<void> write_file_atomically(const std::string& path, const std::string& content, unsigned mode);
Result<void> make_directories(const std::string& path, unsigned mode);

// Pids whose network namespace has this inode number.
std::vector<int> processes_in_netns(std::uint64_t inode);
Result<std::uint64_t> resident_bytes(int pid);  // VmRSS
std::string kernel_release();

}  // namespace weft::sys
