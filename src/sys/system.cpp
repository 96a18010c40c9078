#include "sys/system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "sys/mountinfo.h"

namespace weft::sys {
namespace {

std::string proc_path(int pid, const std::string& file) { return "/proc/" + std::to_string(pid) + "/" + file; }

}  // namespace

Result<std::string> read_sysctl(const std::string& key) {
  WEFT_TRY(std::string value, read_file("/proc/sys/" + key));
  while (!value.empty() && (value.back() == '\n' || value.back() == ' ')) value.pop_back();
  return value;
}

Result<void> write_sysctl(const std::string& key, const std::string& value) {
  if (auto present = read_sysctl(key); present && *present == value) return {};
  const std::string path = "/proc/sys/" + key;
  const std::string what = "set sysctl " + key + " to " + value;
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) {
    Error error = errno_error(what, errno);
    if (errno == EROFS) error.hint = "/proc/sys is mounted read-only here; set it on the host";
    return fail(std::move(error));
  }
  const ssize_t written = ::write(fd, value.data(), value.size());
  const int error = errno;
  ::close(fd);
  if (written != static_cast<ssize_t>(value.size())) return fail(errno_error(what, written < 0 ? error : EIO));
  return {};
}

void make_sysctls_writable() {
  constexpr const char* sysctls = "/proc/sys";
  struct statvfs status {};
  if (::statvfs(sysctls, &status) != 0 || (status.f_flag & ST_RDONLY) == 0) return;
  ::mount(nullptr, sysctls, nullptr, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
}

Result<std::string> cgroup2_mount() {
  WEFT_TRY(const std::string mountinfo, read_file("/proc/self/mountinfo"));
  if (auto mount = find_cgroup2_mount(mountinfo)) return *std::move(mount);
  return fail(ErrorCode::not_found, "no cgroup v2 hierarchy is mounted (/proc/self/mountinfo has no cgroup2)",
              "mount one: mount -t cgroup2 none /sys/fs/cgroup/unified");
}

Result<std::string> cgroup2_of(int pid) {
  WEFT_TRY(const std::string text, read_file(proc_path(pid, "cgroup")));
  if (auto path = find_cgroup2_path(text)) return *std::move(path);
  return fail(ErrorCode::not_found, "process " + std::to_string(pid) + " has no cgroup v2 (no \"0::\" line)");
}

std::vector<int> processes_in_netns(std::uint64_t inode) {
  std::vector<int> pids;
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), &::closedir);
  if (proc == nullptr) return pids;
  while (const dirent* entry = ::readdir(proc.get())) {
    const std::string name = entry->d_name;
    int pid = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ec != std::errc{} || parsed.ptr != name.data() + name.size()) continue;
    struct stat status {};
    // Processes come and go while we look; one that is gone has no namespace.
    if (::fstatat(::dirfd(proc.get()), (name + "/ns/net").c_str(), &status, 0) == 0 && status.st_ino == inode)
      pids.push_back(pid);
  }
  std::sort(pids.begin(), pids.end());
  return pids;
}

Result<std::uint64_t> resident_bytes(int pid) {
  WEFT_TRY(const std::string text, read_file(proc_path(pid, "status")));
  const std::string key = "VmRSS:";
  if (const auto at = text.find(key); at != std::string::npos) {
    const char* digit = text.data() + text.find_first_not_of(" \t", at + key.size());
    std::uint64_t kibibytes = 0;
    if (std::from_chars(digit, text.data() + text.size(), kibibytes).ec == std::errc{}) return kibibytes * 1024;
  }
  return fail(ErrorCode::not_found, "process " + std::to_string(pid) + " has no VmRSS");
}

std::string kernel_release() {
  utsname name{};
  return ::uname(&name) == 0 ? name.release : "unknown";
}

}  // namespace weft::sys
