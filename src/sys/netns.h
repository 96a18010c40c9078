// Network namespaces.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace weft::sys {

// Opens a namespace file and checks with NS_GET_NSTYPE that it is a network namespace.
Result<Fd> open_netns(const std::string& path);
Result<Fd> current_netns();
// SO_NETNS_COOKIE (Linux 5.14) of the namespace.
Result<std::uint64_t> netns_cookie(int netns);
// Inode number; identifies the namespace among /proc/*/ns/net.
Result<std::uint64_t> netns_inode(int netns);

// The calling thread is in `netns` until destruction. Failing to come back is fatal (abort): a
// thread in the wrong namespace must not go on.
class NetnsScope {
 public:
  static Result<NetnsScope> enter(int netns);
  NetnsScope(NetnsScope&&) noexcept = default;
  NetnsScope& operator=(NetnsScope&&) = delete;
  ~NetnsScope();

 private:
  explicit NetnsScope(Fd home) : home_(std::move(home)) {}
  Fd home_;
};

// A named namespace, bind-mounted at /run/netns/<name> as iproute2 does. `exists` when taken.
Result<void> create_named_netns(const std::string& name);
Result<void> delete_named_netns(const std::string& name);  // absent is success
std::string named_netns_path(const std::string& name);

}  // namespace weft::sys
