#include "agent/overlay.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/attachment.h"
#include "sys/system.h"

namespace weft::agent {
namespace {

// The loose filter drops what comes in by a device without any address (fib_frontend.c, __fib_validate_source): one
// that nobody is asked to use (RFC 3927).
const IpAddress idle_address = IpAddress::v4(0xa9fe5701);  // 169.254.87.1

// Packets of other nodes' pods come in by a device that no route to them names; the loose filter takes them (ip-sysctl,
// rp_filter: the larger of `all` and the device's counts, and 2, loose, is above 1).
void filter_loosely(const std::string& device) {
  const auto key = fmt::format("net/ipv4/conf/{}/rp_filter", device);
  if (const auto value = sys::read_sysctl(key); value && !value->starts_with("2")) (void)sys::write_sysctl(key, "2");
}

}  // namespace

Result<void> make_inlet(sys::Netlink& netlink, const sys::Device& device) {
  WEFT_CHECK(netlink.add_address({device.index, idle_address, 32}));
  // No IPv6 address of its own.
  (void)sys::write_sysctl(fmt::format("net/ipv6/conf/{}/addr_gen_mode", device.name), "1");
  WEFT_CHECK(netlink.set_up(device.index, true));
  filter_loosely(device.name);
  return {};
}

Result<void> Overlay::make(const Node& node) {
  auto device = netlink_.device(overlay_device);
  if (config_.tunnel != Config::Tunnel::vxlan) {
    ifindex_ = 0;
    return device ? netlink_.delete_device(device->index) : Result<void>();
  }
  if (!device && device.error().code == ErrorCode::not_found)
    device = netlink_.create_vxlan(overlay_device, config_.tunnel_port, gateway_mac);
  if (!device) return fail(device.error());
  ifindex_ = static_cast<std::uint32_t>(device->index);
  const auto v4 = config_.tunnel_overhead(true);
  const auto mtu = node.uplink_mtu > v4 ? node.uplink_mtu - v4 : node.uplink_mtu;
  if (device->mtu != mtu) WEFT_CHECK(netlink_.set_mtu(device->index, mtu));
  return make_inlet(netlink_, *device);
}

void Overlay::prepare(const Node& node) {
  const auto host = netlink_.device(host_device);
  host_ifindex_ = host && config_.tunnels() ? static_cast<std::uint32_t>(host->index) : 0;
  if (config_.tunnels())
    for (const auto& [index, uplink] : node.uplinks) filter_loosely(uplink.name);
  if (auto made = make(node); !made)
    return faults_.set("overlay", fmt::format("tunnel {}: device {}: {}", to_string(config_.tunnel), overlay_device,
                                              made.error().message));
  faults_.clear("overlay");
}

Result<void> Overlay::attach_all() {
  if (ifindex_ != 0) WEFT_CHECK(datapath_.attach_overlay(ifindex_));
  if (host_ifindex_ != 0) WEFT_CHECK(datapath_.attach_host(host_ifindex_));
  return {};
}

void Overlay::attach() {
  if (auto attached = attach_all(); !attached)
    return faults_.set("overlay programs",
                       fmt::format("tunnel {}: {}", to_string(config_.tunnel), attached.error().message));
  faults_.clear("overlay programs");
}

std::vector<std::string> Overlay::heal(const Node& node) {
  std::vector<std::string> repaired;
  if (!config_.tunnels()) return repaired;
  const auto device =
      config_.tunnel == Config::Tunnel::vxlan ? netlink_.device(overlay_device) : sys::Device{.up = true};
  const auto host = netlink_.device(host_device);
  const bool moved = host && static_cast<std::uint32_t>(host->index) != host_ifindex_;
  if (!device || !device->up || (ifindex_ != 0 && static_cast<std::uint32_t>(device->index) != ifindex_) || moved) {
    prepare(node);
    attach();
    repaired.push_back(fmt::format("the tunnel's device {} was gone or down", moved ? host_device : overlay_device));
    return repaired;
  }
  const auto on = [](const Result<bool>& attached) { return attached && *attached; };
  if ((ifindex_ == 0 || on(datapath_.overlay_attached(ifindex_))) &&
      (host_ifindex_ == 0 || on(datapath_.host_attached(host_ifindex_))))
    return repaired;
  attach();
  if (!faults_.has("overlay programs")) repaired.push_back("the tunnel's programs were gone and are attached again");
  return repaired;
}

}  // namespace weft::agent
