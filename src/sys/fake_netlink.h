// A kernel in memory for tests: network namespaces with devices, addresses, routes and neighbours,
// and Netlink objects that look into them. The rules are the kernel's where callers can notice:
// names are unique per namespace, a veth pair lives and dies together, addresses and routes go with
// their device, routes go when it is set down and want a device that is up. Not modelled: connected
// routes made by addresses, and link-local addresses.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sys/netlink.h"

namespace weft::sys {

using FakeNeighbour = Neighbour;

struct FakeNamespace {
  std::map<int, Device> devices;  // by index; "lo" is 1
  std::map<int, std::uint32_t> groups;
  std::map<int, std::uint16_t> vxlan_ports;  // by device
  std::vector<DeviceAddress> addresses;
  std::vector<Route> routes;
  std::vector<FakeNeighbour> neighbours;
  int next_index = 2;

  [[nodiscard]] const Device* find(const std::string& name) const;
};

// Outlives the Netlink objects it opens.
class FakeKernel {
 public:
  static constexpr int home = -1;  // the namespace of open() and of a VethRequest without a peer_netns

  // `netns` is any number a test likes, or a real descriptor of a network namespace: descriptors of
  // the same namespace mean the same fake one. A namespace begins to exist when it is first named.
  std::unique_ptr<Netlink> open(int netns = home);
  FakeNamespace& at(int netns = home);
  bool has_wireguard = true;
  // The namespace and everything in it is gone, veth peers elsewhere included.
  void delete_namespace(int netns);

 private:
  friend class FakeNetlink;
  using Key = std::pair<bool, std::uint64_t>;  // (real namespace?, inode or number)
  struct End {
    Key netns;
    int index;
    auto operator<=>(const End&) const = default;
  };
  static Key key_of(int netns);
  FakeNamespace& at(const Key& key);
  void remove(const End& end);

  std::map<Key, FakeNamespace> namespaces_;
  std::map<End, End> peers_;  // both directions
};

// Fails every nth changing call of the Netlink it wraps with `io`; reading always works.
class FaultyNetlink final : public Netlink {
 public:
  FaultyNetlink(std::unique_ptr<Netlink> inner, unsigned every_nth);
  void heal() { every_nth_ = 0; }

  Result<std::vector<Device>> devices() override;
  Result<Device> device(const std::string& name) override;
  Result<Device> device(int index) override;
  Result<Device> create_veth(const VethRequest& request) override;
  Result<Device> create_dummy(const std::string& name, const MacAddress& mac) override;
  Result<Device> create_vxlan(const std::string& name, std::uint16_t port, const MacAddress& mac) override;
  Result<Device> create_wireguard(const std::string& name) override;
  Result<Device> create_tun(const std::string& name) override;
  Result<void> delete_device(int index) override;
  Result<void> set_up(int index, bool up) override;
  Result<void> set_mtu(int index, std::uint32_t mtu) override;
  Result<void> set_group(int index, std::uint32_t group) override;
  Result<void> delete_group(std::uint32_t group) override;
  Result<std::vector<DeviceAddress>> addresses() override;
  Result<void> add_address(const DeviceAddress& address) override;
  Result<void> delete_address(const DeviceAddress& address) override;
  Result<std::vector<Route>> routes() override;
  Result<std::vector<IpAddress>> next_hops() override;
  Result<WayTo> way_to(const IpAddress& address) override;
  Result<void> replace_route(const Route& route) override;
  Result<void> delete_route(const Route& route) override;
  Result<std::vector<Neighbour>> neighbours() override;
  Result<void> replace_neighbour(int device, const IpAddress& address, const MacAddress& mac) override;

 private:
  Result<void> maybe_fail(const char* what);
  std::unique_ptr<Netlink> inner_;
  unsigned every_nth_;
  unsigned count_ = 0;
};

}  // namespace weft::sys
