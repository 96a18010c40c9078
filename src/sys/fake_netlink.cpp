#include "sys/fake_netlink.h"

#include <fmt/format.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "sys/netns.h"

namespace weft::sys {
namespace {

auto same_as(const DeviceAddress& wanted) {
  return [wanted](const DeviceAddress& row) {
    return row.index == wanted.index && row.address == wanted.address && row.length == wanted.length;
  };
}

}  // namespace

const Device* FakeNamespace::find(const std::string& name) const {
  for (const auto& [index, device] : devices)
    if (device.name == name) return &device;
  return nullptr;
}

FakeKernel::Key FakeKernel::key_of(int netns) {
  if (netns >= 0 && ::ioctl(netns, NS_GET_NSTYPE) == CLONE_NEWNET)
    if (auto inode = netns_inode(netns)) return {true, *inode};
  return {false, static_cast<std::uint64_t>(netns)};
}

FakeNamespace& FakeKernel::at(const Key& key) {
  auto [entry, added] = namespaces_.try_emplace(key);
  if (added) {
    Device loopback;
    loopback.index = 1;
    loopback.name = "lo";
    loopback.mtu = 65536;
    entry->second.devices.emplace(1, loopback);
  }
  return entry->second;
}

FakeNamespace& FakeKernel::at(int netns) { return at(key_of(netns)); }

void FakeKernel::remove(const End& end) {
  const auto netns = namespaces_.find(end.netns);
  if (netns == namespaces_.end() || netns->second.devices.erase(end.index) == 0) return;
  const auto of_device = [&](const auto& row) { return row.device == end.index; };
  std::erase_if(netns->second.addresses, [&](const DeviceAddress& row) { return row.index == end.index; });
  std::erase_if(netns->second.routes, of_device);
  std::erase_if(netns->second.neighbours, of_device);
  netns->second.groups.erase(end.index);
  netns->second.vxlan_ports.erase(end.index);
  if (const auto pair = peers_.find(end); pair != peers_.end()) {
    const End peer = pair->second;
    peers_.erase(pair);
    peers_.erase(peer);
    remove(peer);
  }
}

void FakeKernel::delete_namespace(int netns) {
  const Key key = key_of(netns);
  std::vector<int> indices;
  for (const auto& [index, device] : at(key).devices) indices.push_back(index);
  for (const int index : indices) remove({key, index});
  namespaces_.erase(key);
}

class FakeNetlink final : public Netlink {
 public:
  FakeNetlink(FakeKernel& kernel, FakeKernel::Key key) : kernel_(&kernel), key_(key) {}

  Result<std::vector<Device>> devices() override {
    std::vector<Device> all;
    for (const auto& [index, device] : here().devices) all.push_back(device);
    return all;
  }

  Result<Device> device(const std::string& name) override {
    if (const Device* found = here().find(name)) return *found;
    return fail(ErrorCode::not_found, "find device " + name + ": No such device");
  }

  Result<Device> device(int index) override {
    WEFT_TRY(const Device* found, find(index, "find"));
    return *found;
  }

  Result<Device> create_veth(const VethRequest& request) override {
    const auto peer_key = request.peer_netns >= 0 ? FakeKernel::key_of(request.peer_netns) : key_;
    WEFT_CHECK(check_free(here(), request.host_name));
    WEFT_CHECK(check_free(kernel_->at(peer_key), request.peer_name));
    if (peer_key == key_ && request.host_name == request.peer_name)
      return fail(ErrorCode::exists, "create veth pair: both ends are called " + request.host_name);
    const int host = add(here(), request.host_name, "veth", request.host_mac, request.mtu);
    const int peer = add(kernel_->at(peer_key), request.peer_name, "veth", request.peer_mac, request.mtu);
    here().devices.at(host).peer_index = peer;
    kernel_->at(peer_key).devices.at(peer).peer_index = host;
    const FakeKernel::End host_end{key_, host};
    const FakeKernel::End peer_end{peer_key, peer};
    kernel_->peers_.emplace(host_end, peer_end);
    kernel_->peers_.emplace(peer_end, host_end);
    return here().devices.at(host);
  }

  Result<Device> create_dummy(const std::string& name, const MacAddress& mac) override {
    WEFT_CHECK(check_free(here(), name));
    return here().devices.at(add(here(), name, "dummy", mac, 1500));
  }

  Result<Device> create_vxlan(const std::string& name, std::uint16_t port, const MacAddress& mac) override {
    WEFT_CHECK(check_free(here(), name));
    const int index = add(here(), name, "vxlan", mac, 1500);
    here().vxlan_ports.emplace(index, port);
    return here().devices.at(index);
  }

  Result<Device> made(const std::string& name, const char* kind) {
    WEFT_CHECK(check_free(here(), name));
    return here().devices.at(add(here(), name, kind, {}, 1500));
  }
  Result<Device> create_wireguard(const std::string& name) override {
    if (!kernel_->has_wireguard)
      return fail(ErrorCode::unsupported, "create WireGuard device: Operation not supported");
    return made(name, "wireguard");
  }
  Result<Device> create_tun(const std::string& name) override { return made(name, "tun"); }

  Result<void> delete_device(int index) override {
    if (index == 1) return fail(ErrorCode::unsupported, "delete device 1: Operation not supported");
    kernel_->remove({key_, index});
    return {};
  }

  Result<void> set_up(int index, bool up) override {
    WEFT_TRY(Device * found, find(index, "set up"));
    found->up = up;
    if (!up) std::erase_if(here().routes, [&](const Route& route) { return route.device == index; });
    return {};
  }

  Result<void> set_mtu(int index, std::uint32_t mtu) override {
    WEFT_TRY(Device * found, find(index, "set the MTU of"));
    found->mtu = mtu;
    return {};
  }

  Result<void> set_group(int index, std::uint32_t group) override {
    WEFT_TRY([[maybe_unused]] Device * found, find(index, "put into a group"));
    here().groups[index] = group;
    return {};
  }

  Result<void> delete_group(std::uint32_t group) override {
    if (group == 0) return fail(ErrorCode::invalid, "delete device group 0");
    std::vector<int> members;
    for (const auto& [index, of] : here().groups)
      if (of == group) members.push_back(index);
    for (const int index : members) kernel_->remove({key_, index});
    return {};
  }

  Result<std::vector<DeviceAddress>> addresses() override { return here().addresses; }

  Result<void> add_address(const DeviceAddress& address) override {
    WEFT_TRY([[maybe_unused]] Device * found, find(address.index, "add an address to"));
    auto& all = here().addresses;
    if (std::none_of(all.begin(), all.end(), same_as(address))) all.push_back(address);
    return {};
  }

  Result<void> delete_address(const DeviceAddress& address) override {
    std::erase_if(here().addresses, same_as(address));
    return {};
  }

  Result<std::vector<Route>> routes() override { return here().routes; }
  Result<std::vector<IpAddress>> next_hops() override {
    std::vector<IpAddress> all;
    for (const auto& route : here().routes)
      if (route.gateway) all.push_back(*route.gateway);
    return all;
  }
  Result<WayTo> way_to(const IpAddress& address) override {
    const auto& all = here();
    for (const auto& each : all.addresses)
      if (each.address == address) return WayTo{.kind = WayTo::Kind::here, .device = 1, .why = {}};
    const Route* best = nullptr;
    for (const auto& route : all.routes)
      if (route.destination.contains(address) &&
          (best == nullptr || route.destination.length() > best->destination.length()))
        best = &route;
    if (best != nullptr) return WayTo{.kind = WayTo::Kind::out, .device = best->device, .why = {}};
    return WayTo{.kind = WayTo::Kind::none, .device = 0, .why = "Network is unreachable"};
  }

  Result<void> replace_route(const Route& route) override {
    WEFT_TRY(const Device* found, find(route.device, "set a route on"));
    if (!found->up) return fail(ErrorCode::io, "set route " + route.destination.to_string() + ": Network is down");
    auto& all = here().routes;
    std::erase_if(all, [&](const Route& present) { return present.destination == route.destination; });
    all.push_back(route);
    all.back().scope_link = !route.gateway;
    return {};
  }

  Result<void> delete_route(const Route& route) override {
    std::erase_if(here().routes, [&](const Route& present) {
      return present.destination == route.destination && (route.device == 0 || present.device == route.device) &&
             (!route.gateway || present.gateway == route.gateway);
    });
    return {};
  }

  Result<std::vector<Neighbour>> neighbours() override { return here().neighbours; }
  Result<void> replace_neighbour(int device, const IpAddress& address, const MacAddress& mac) override {
    WEFT_TRY([[maybe_unused]] Device * found, find(device, "set a neighbour on"));
    auto& all = here().neighbours;
    std::erase_if(all, [&](const FakeNeighbour& row) { return row.device == device && row.address == address; });
    all.push_back({device, address, mac});
    return {};
  }

 private:
  static Result<void> check_free(const FakeNamespace& netns, const std::string& name) {
    if (name.empty() || name.size() >= IFNAMSIZ)
      return fail(ErrorCode::invalid, fmt::format("device name \"{}\" has {} characters", name, name.size()));
    if (netns.find(name) != nullptr) return fail(ErrorCode::exists, "create device " + name + ": File exists");
    return {};
  }

  static int add(FakeNamespace& netns, const std::string& name, const char* kind, const MacAddress& mac,
                 std::uint32_t mtu) {
    Device device;
    device.index = netns.next_index++;
    device.name = name;
    device.kind = kind;
    device.mac = mac;
    device.mtu = mtu;
    netns.devices.emplace(device.index, device);
    return device.index;
  }

  FakeNamespace& here() { return kernel_->at(key_); }

  Result<Device*> find(int index, const char* what) {
    const auto found = here().devices.find(index);
    if (found != here().devices.end()) return &found->second;
    return fail(ErrorCode::not_found, fmt::format("{} device {}: No such device", what, index));
  }

  FakeKernel* kernel_;
  FakeKernel::Key key_;
};

std::unique_ptr<Netlink> FakeKernel::open(int netns) { return std::make_unique<FakeNetlink>(*this, key_of(netns)); }

FaultyNetlink::FaultyNetlink(std::unique_ptr<Netlink> inner, unsigned every_nth)
    : inner_(std::move(inner)), every_nth_(every_nth) {}

Result<void> FaultyNetlink::maybe_fail(const char* what) {
  if (every_nth_ == 0 || ++count_ % every_nth_ != 0) return {};
  return fail(ErrorCode::io, fmt::format("{}: injected fault at change {}", what, count_));
}

Result<std::vector<Device>> FaultyNetlink::devices() { return inner_->devices(); }
Result<Device> FaultyNetlink::device(const std::string& name) { return inner_->device(name); }
Result<Device> FaultyNetlink::device(int index) { return inner_->device(index); }
Result<std::vector<DeviceAddress>> FaultyNetlink::addresses() { return inner_->addresses(); }
Result<std::vector<Route>> FaultyNetlink::routes() { return inner_->routes(); }
Result<std::vector<IpAddress>> FaultyNetlink::next_hops() { return inner_->next_hops(); }
Result<WayTo> FaultyNetlink::way_to(const IpAddress& address) { return inner_->way_to(address); }
Result<std::vector<Neighbour>> FaultyNetlink::neighbours() { return inner_->neighbours(); }

Result<Device> FaultyNetlink::create_veth(const VethRequest& request) {
  WEFT_CHECK(maybe_fail("create veth pair"));
  return inner_->create_veth(request);
}
Result<Device> FaultyNetlink::create_dummy(const std::string& name, const MacAddress& mac) {
  WEFT_CHECK(maybe_fail("create dummy device"));
  return inner_->create_dummy(name, mac);
}
Result<Device> FaultyNetlink::create_vxlan(const std::string& name, std::uint16_t port, const MacAddress& mac) {
  WEFT_CHECK(maybe_fail("create VXLAN device"));
  return inner_->create_vxlan(name, port, mac);
}
Result<Device> FaultyNetlink::create_wireguard(const std::string& name) {
  WEFT_CHECK(maybe_fail("create WireGuard device"));
  return inner_->create_wireguard(name);
}
Result<Device> FaultyNetlink::create_tun(const std::string& name) {
  WEFT_CHECK(maybe_fail("create TUN device"));
  return inner_->create_tun(name);
}
Result<void> FaultyNetlink::delete_device(int index) {
  WEFT_CHECK(maybe_fail("delete device"));
  return inner_->delete_device(index);
}
Result<void> FaultyNetlink::set_up(int index, bool up) {
  WEFT_CHECK(maybe_fail("set device up or down"));
  return inner_->set_up(index, up);
}
Result<void> FaultyNetlink::set_mtu(int index, std::uint32_t mtu) {
  WEFT_CHECK(maybe_fail("set MTU"));
  return inner_->set_mtu(index, mtu);
}
Result<void> FaultyNetlink::set_group(int index, std::uint32_t group) {
  WEFT_CHECK(maybe_fail("set device group"));
  return inner_->set_group(index, group);
}
Result<void> FaultyNetlink::delete_group(std::uint32_t group) {
  WEFT_CHECK(maybe_fail("delete device group"));
  return inner_->delete_group(group);
}
Result<void> FaultyNetlink::add_address(const DeviceAddress& address) {
  WEFT_CHECK(maybe_fail("add address"));
  return inner_->add_address(address);
}
Result<void> FaultyNetlink::delete_address(const DeviceAddress& address) {
  WEFT_CHECK(maybe_fail("delete address"));
  return inner_->delete_address(address);
}
Result<void> FaultyNetlink::replace_route(const Route& route) {
  WEFT_CHECK(maybe_fail("set route"));
  return inner_->replace_route(route);
}
Result<void> FaultyNetlink::delete_route(const Route& route) {
  WEFT_CHECK(maybe_fail("delete route"));
  return inner_->delete_route(route);
}
Result<void> FaultyNetlink::replace_neighbour(int device, const IpAddress& address, const MacAddress& mac) {
  WEFT_CHECK(maybe_fail("set neighbour"));
  return inner_->replace_neighbour(device, address, mac);
}

}  // namespace weft::sys
