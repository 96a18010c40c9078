#include "sys/netns.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "sys/system.h"

namespace weft::sys {
namespace {

const std::string named_directory = "/run/netns";
constexpr const char* own_netns = "/proc/thread-self/ns/net";

#ifndef SO_NETNS_COOKIE
constexpr int SO_NETNS_COOKIE = 71;  // include/uapi/asm-generic/socket.h, Linux 5.14
#endif

// /run/netns is a shared mount as iproute2 makes it, so that a namespace deleted here also goes
// away in the mount namespaces that copied it. The lock keeps two makers from stacking mounts.
Result<void> prepare_named_directory() {
  WEFT_CHECK(make_directories(named_directory, 0755));
  Fd directory(::open(named_directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return fail(errno_error("open " + named_directory, errno));
  if (::flock(directory.get(), LOCK_EX) < 0) return fail(errno_error("lock " + named_directory, errno));
  const char* path = named_directory.c_str();
  if (::mount("", path, "none", MS_SHARED | MS_REC, nullptr) == 0) return {};
  if (errno != EINVAL) return fail(errno_error("share the mount of " + named_directory, errno));
  if (::mount(path, path, "none", MS_BIND | MS_REC, nullptr) < 0 ||
      ::mount("", path, "none", MS_SHARED | MS_REC, nullptr) < 0)
    return fail(errno_error("make a mount of " + named_directory, errno));
  return {};
}

Result<void> check_netns_name(const std::string& name) {
  if (!name.empty() && name.size() < 256 && name != "." && name != ".." && name.find('/') == std::string::npos)
    return {};
  return fail(ErrorCode::invalid, "\"" + name + "\" cannot name a network namespace", "use a plain file name");
}

}  // namespace

Result<Fd> open_netns(const std::string& path) {
  // Not blocking: the path comes from outside and may be a FIFO.
  Fd netns(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!netns.valid()) return fail(errno_error("open network namespace " + path, errno));
  const int type = ::ioctl(netns.get(), NS_GET_NSTYPE);
  if (type != CLONE_NEWNET)
    return fail(ErrorCode::invalid, path + (type < 0 ? " is not a namespace" : " is a namespace of another type"),
                "give the path of a network namespace, such as /proc/<pid>/ns/net");
  return netns;
}

Result<Fd> current_netns() { return open_netns(own_netns); }

Result<std::uint64_t> netns_cookie(int netns) {
  WEFT_TRY(auto scope, NetnsScope::enter(netns));
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return fail(errno_error("open a socket for the namespace cookie", errno));
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0)
    return fail(errno_error("read SO_NETNS_COOKIE", errno));
  return cookie;
}

Result<std::uint64_t> netns_inode(int netns) {
  struct stat status {};
  if (::fstat(netns, &status) < 0) return fail(errno_error("stat a network namespace", errno));
  return status.st_ino;
}

Result<NetnsScope> NetnsScope::enter(int netns) {
  WEFT_TRY(auto home, current_netns());
  if (::setns(netns, CLONE_NEWNET) < 0) return fail(errno_error("enter a network namespace", errno));
  return NetnsScope(std::move(home));
}

NetnsScope::~NetnsScope() {
  if (!home_.valid()) return;
  if (::setns(home_.get(), CLONE_NEWNET) == 0) return;
  std::perror("cannot return to the network namespace of this thread");
  std::abort();
}

std::string named_netns_path(const std::string& name) { return named_directory + "/" + name; }

Result<void> create_named_netns(const std::string& name) {
  WEFT_CHECK(check_netns_name(name));
  WEFT_CHECK(prepare_named_directory());
  const std::string path = named_netns_path(name);
  if (Fd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0)); !file.valid())
    return fail(errno_error("create network namespace " + name, errno));
  auto made = [&]() -> Result<void> {
    WEFT_TRY(auto home, current_netns());
    WEFT_TRY(auto scope, NetnsScope::enter(home.get()));  // only for the way back
    if (::unshare(CLONE_NEWNET) < 0) return fail(errno_error("unshare the network namespace", errno));
    if (::mount(own_netns, path.c_str(), "none", MS_BIND, nullptr) < 0)
      return fail(errno_error("bind the network namespace to " + path, errno));
    return {};
  }();
  if (!made) ::unlink(path.c_str());
  return made;
}

Result<void> delete_named_netns(const std::string& name) {
  WEFT_CHECK(check_netns_name(name));
  const std::string path = named_netns_path(name);
  if (::umount2(path.c_str(), MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
    return fail(errno_error("unmount " + path, errno));
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) return fail(errno_error("remove " + path, errno));
  return {};
}

}  // namespace weft::sys
