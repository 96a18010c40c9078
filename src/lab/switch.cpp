#include "lab/switch.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "base/fd.h"
#include "bpfrt/link.h"
#include "sys/netns.h"

namespace weft::lab {
namespace {

// A socket stays in the namespace it was opened in.
Result<Fd> socket_in(int netns) {
  WEFT_TRY(const auto scope, sys::NetnsScope::enter(netns));
  Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail(errno_error("open a socket", errno));
  return fd;
}

ifreq request_for(const std::string& device) {
  ifreq request{};
  device.copy(request.ifr_name, sizeof request.ifr_name - 1);  // NOLINT
  return request;
}

Result<void> set_feature(const Fd& fd, const std::string& device, std::uint32_t command, std::uint32_t value,
                         const char* what) {
  ethtool_value feature{.cmd = command, .data = value};
  ifreq request = request_for(device);
  request.ifr_data = reinterpret_cast<char*>(&feature);  // NOLINT
  // What a device has not cannot be switched off: a veth whose peer runs XDP has no segmentation offload.
  if (::ioctl(fd.get(), SIOCETHTOOL, &request) != 0 && !(value == 0 && errno == EOPNOTSUPP))
    return fail(errno_error(std::string("set ") + what + " of " + device, errno));
  return {};
}

}  // namespace

Result<void> ensure_bridge(int netns, const std::string& name, const MacAddress& mac) {
  WEFT_TRY(const Fd fd, socket_in(netns));
  if (::ioctl(fd.get(), SIOCBRADDBR, name.c_str()) != 0 && errno != EEXIST)
    return fail(errno_error("make the bridge " + name, errno));
  ifreq request = request_for(name);
  request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
  std::memcpy(request.ifr_hwaddr.sa_data, mac.bytes.data(), mac.bytes.size());
  if (::ioctl(fd.get(), SIOCSIFHWADDR, &request) != 0)
    return fail(errno_error("set the address of the bridge " + name, errno));
  return {};
}

Result<void> add_port(int netns, const std::string& bridge, const std::string& port) {
  WEFT_TRY(const Fd fd, socket_in(netns));
  ifreq request = request_for(port);
  if (::ioctl(fd.get(), SIOCGIFINDEX, &request) != 0) return fail(errno_error("find the port " + port, errno));
  const int index = request.ifr_ifindex;
  request = request_for(bridge);
  request.ifr_ifindex = index;
  if (::ioctl(fd.get(), SIOCBRADDIF, &request) != 0 && errno != EBUSY)
    return fail(errno_error("join " + port + " to the bridge " + bridge, errno));
  return {};
}

Result<void> move_port(int netns, const std::string& bridge, const std::string& port) {
  WEFT_TRY(const Fd fd, socket_in(netns));
  WEFT_TRY(const auto scope, sys::NetnsScope::enter(netns));
  const unsigned index = ::if_nametoindex(port.c_str());
  if (index == 0) return fail(errno_error("find the port " + port, errno));
  // Whose port it is only its bridge says, by letting it go.
  std::unique_ptr<struct if_nameindex, decltype(&::if_freenameindex)> devices(::if_nameindex(), &::if_freenameindex);
  for (const auto* device = devices.get(); device != nullptr && device->if_index != 0; ++device) {
    if (bridge == device->if_name) continue;
    ifreq request = request_for(device->if_name);
    request.ifr_ifindex = static_cast<int>(index);
    (void)::ioctl(fd.get(), SIOCBRDELIF, &request);
  }
  return bridge.empty() ? Result<void>() : add_port(netns, bridge, port);
}

Result<void> set_deaf(int netns, const std::string& device, bool deaf) {
  WEFT_TRY(const auto scope, sys::NetnsScope::enter(netns));
  const int index = static_cast<int>(::if_nametoindex(device.c_str()));
  if (index == 0) return fail(errno_error("find the device " + device, errno));
  if (!deaf) return bpfrt::detach_device(bpfrt::AttachMode::clsact, index, bpfrt::Hook::ingress, {});
  return bpfrt::attach_drop(index);
}

Result<void> act_like_a_wire(int netns, const std::string& device) {
  WEFT_TRY(const Fd fd, socket_in(netns));
  WEFT_CHECK(set_feature(fd, device, ETHTOOL_STXCSUM, 0, "checksum offload"));
  WEFT_CHECK(set_feature(fd, device, ETHTOOL_STSO, 0, "segmentation offload"));
  ifreq request = request_for(device);
  if (::ioctl(fd.get(), SIOCGIFINDEX, &request) != 0) return fail(errno_error("find the port " + device, errno));
  WEFT_TRY(const auto scope, sys::NetnsScope::enter(netns));
  return bpfrt::attach_pass_through(request.ifr_ifindex);
}

}  // namespace weft::lab
