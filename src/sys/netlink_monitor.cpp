#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "sys/netlink.h"

namespace weft::sys {

Result<NetlinkMonitor> NetlinkMonitor::open() {
  NetlinkMonitor monitor;
  monitor.fd_ = Fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!monitor.fd_.valid()) return fail(errno_error("open a rtnetlink monitor", errno));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  if (::bind(monitor.fd_.get(), static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof address) < 0)
    return fail(errno_error("subscribe to rtnetlink notifications", errno));
  return monitor;
}

Result<bool> NetlinkMonitor::drain() {
  // What changed is not looked at: the answer to any change is to read the present state again.
  std::array<char, 64> ignored{};
  bool changed = false;
  for (;;) {
    if (::recv(fd_.get(), ignored.data(), ignored.size(), MSG_TRUNC) >= 0) {
      changed = true;
    } else if (errno == ENOBUFS) {
      changed = true;  // notifications were lost, so something happened
    } else if (errno == EAGAIN) {
      return changed;
    } else if (errno != EINTR) {
      return fail(errno_error("read rtnetlink notifications", errno));
    }
  }
}

}  // namespace weft::sys
