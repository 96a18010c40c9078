// Files, directories and the mount of bpffs.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "base/fd.h"
#include "sys/system.h"

namespace weft::sys {
namespace {

constexpr std::size_t max_file_bytes = 64U << 20;

bool is_bpffs(const std::string& path) {
  struct statfs status {};
  return ::statfs(path.c_str(), &status) == 0 && status.f_type == BPF_FS_MAGIC;
}

Result<void> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(errno_error("write " + path, errno));
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<void> ensure_bpffs(const std::string& path) {
  WEFT_CHECK(make_directories(path, 0700));
  if (is_bpffs(path)) return {};
  // Two starters must not stack two mounts: the upper would hide the pins in the lower.
  const Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return fail(errno_error("open " + path, errno));
  if (::flock(directory.get(), LOCK_EX) < 0) return fail(errno_error("lock " + path, errno));
  if (is_bpffs(path)) return {};
  if (::mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
    return fail(errno_error("mount bpffs at " + path, errno));
  return {};
}

Result<std::string> read_file(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return fail(errno_error("read " + path, errno));
  std::string content;
  std::size_t chunk = 4096;
  for (;;) {
    const std::size_t before = content.size();
    content.resize(before + chunk);
    const ssize_t got = ::read(file.get(), content.data() + before, chunk);
    const int error = errno;
    content.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && error == EINTR) continue;
    if (got < 0) return fail(errno_error("read " + path, error));
    if (got == 0) return content;
    if (content.size() > max_file_bytes) return fail(ErrorCode::exhausted, "read " + path + ": more than 64 MiB");
    chunk = std::min<std::size_t>(chunk * 2, 1U << 20);
  }
}

Result<void> write_file_atomically(const std::string& path, const std::string& content, unsigned mode) {
  static std::atomic<unsigned> counter{0};
  const std::string temporary = path + ".tmp." + std::to_string(::getpid()) + "." + std::to_string(counter++);
  Fd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!file.valid()) return fail(errno_error("create " + temporary, errno));
  auto written = [&]() -> Result<void> {
    WEFT_CHECK(write_all(file.get(), content, path));
    if (::fchmod(file.get(), mode) < 0)
      return fail(errno_error("set the mode of " + path, errno));  // whatever the umask
    if (::fsync(file.get()) < 0) return fail(errno_error("sync " + path, errno));
    if (::rename(temporary.c_str(), path.c_str()) < 0) return fail(errno_error("replace " + path, errno));
    return {};
  }();
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  // Without this the rename itself may be lost with the power.
  const Fd directory(::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) < 0)
    return fail(errno_error("sync the directory of " + path, errno));
  return {};
}

Result<void> make_directories(const std::string& path, unsigned mode) {
  struct stat status {};
  for (std::size_t at = 1; at <= path.size(); ++at) {
    if (at != path.size() && path[at] != '/') continue;
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), mode) == 0 || errno == EEXIST) continue;
    const int error = errno;
    // A read-only parent that exists answers EROFS rather than EEXIST.
    if (::stat(part.c_str(), &status) != 0) return fail(errno_error("create directory " + part, error));
  }
  if (::stat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode))
    return fail(ErrorCode::invalid, "create directory " + path + ": something else is in the way");
  return {};
}

}  // namespace weft::sys
