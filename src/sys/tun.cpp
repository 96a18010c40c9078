#include "sys/tun.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "base/fd.h"

namespace weft::sys {

Result<void> make_persistent_tun(const std::string& name) {
  const Fd file(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  if (!file.valid()) {
    auto error = errno_error("open /dev/net/tun", errno);
    error.hint = "load the kernel's tun driver (modprobe tun), and let this program use the device";
    return fail(std::move(error));
  }
  ifreq request{};
  std::copy_n(name.begin(), std::min(name.size(), sizeof request.ifr_name - 1), std::begin(request.ifr_name));
  request.ifr_flags = static_cast<short>(IFF_TUN | IFF_TUN_EXCL);
  if (::ioctl(file.get(), TUNSETIFF, &request) != 0) {
    const int number = errno == EBUSY ? EEXIST : errno;
    return fail(errno_error("create TUN device " + name, number));
  }
  if (::ioctl(file.get(), TUNSETPERSIST, 1) != 0) return fail(errno_error("keep TUN device " + name, errno));
  return {};
}

}  // namespace weft::sys
