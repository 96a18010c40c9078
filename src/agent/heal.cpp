#include "agent/heal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "agent/encryption.h"
#include "base/utc_text.h"
#include "sys/system.h"

namespace weft::agent {
namespace {

constexpr std::uint64_t thorough_every = 5;      // rounds, when nothing was heard of a change
constexpr std::size_t programs_in_a_round = 64;  // pods whose programs are asked for
constexpr std::size_t kept_repairs = 20;

ino_t inode_of(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

}  // namespace

std::string node_fault(sys::Netlink& netlink, const std::vector<IpAddress>& gateways) {
  const auto device = netlink.device(host_device);
  if (!device) return fmt::format("device {} was gone", host_device);
  if (!device->up) return fmt::format("device {} was down", host_device);
  const auto addresses = netlink.addresses();
  if (!addresses) return {};
  for (const auto& gateway : gateways)
    if (std::ranges::none_of(
            *addresses, [&](const auto& entry) { return entry.index == device->index && entry.address == gateway; }))
      return fmt::format("device {} had lost {}", host_device, gateway.to_string());
  for (const auto& gateway : gateways) {
    const std::string key = gateway.is_v4() ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding";
    if (const auto value = sys::read_sysctl(key); value && !value->starts_with("1"))
      return fmt::format("forwarding was switched off ({})", key);
  }
  return {};
}

Result<std::vector<std::string>> orphan_devices(sys::Netlink& netlink, const Attachment& attachment) {
  WEFT_TRY(const auto devices, netlink.devices());
  std::set<std::string> known;
  for (const auto& [key, record] : attachment.records()) known.insert(record.device);
  std::vector<std::string> orphans;
  std::vector<sys::Route> routes;
  for (const auto& device : devices) {
    if (device.kind != "veth" || device.mac != gateway_mac || !device.name.starts_with("weft") ||
        known.contains(device.name))
      continue;
    if (routes.empty()) {
      WEFT_TRY(routes, netlink.routes());
    }
    std::vector<std::string> addresses;
    for (const auto& route : routes)
      if (route.device == device.index && route.destination.length() == (route.destination.is_v4() ? 32U : 128U))
        addresses.push_back(route.destination.address().to_string());
    orphans.push_back(addresses.empty() ? device.name
                                        : fmt::format("{} ({})", device.name, fmt::join(addresses, ", ")));
  }
  return orphans;
}

Healer::Healer(const Parts& parts) : parts_(parts), store_inode_(inode_of(parts.config.store_path())) {}

void Healer::repaired(const std::string& what) {
  spdlog::warn("repaired: {}", what);
  repairs_.push_back(fmt::format("{} repaired: {}", utc_text(std::chrono::system_clock::now()), what));
  if (repairs_.size() > kept_repairs) repairs_.pop_front();
}

void Healer::check(const Node& node) {
  const bool thorough = changed_ || round_ % thorough_every == 0;
  ++round_;
  changed_ = false;
  if (thorough) check_node();
  for (const auto& text : parts_.attachment.heal_programs(programs_in_a_round)) repaired(text);
  if (thorough) check_pods();
  for (const auto& text : parts_.uplinks.heal(node)) repaired(text);
  if (thorough && parts_.overlay != nullptr)
    for (const auto& text : parts_.overlay->heal(node)) repaired(text);
  if (thorough && parts_.encryption != nullptr)
    for (const auto& text : parts_.encryption->heal()) repaired(text);
  if (thorough && parts_.node_routes != nullptr)
    for (const auto& text : parts_.node_routes->heal(node)) repaired(text);
  check_sockets();
  if (thorough) check_orphans();
  check_store_file();
}

void Healer::check_node() {
  const auto wanted = parts_.ipam.gateways();
  const auto wrong = node_fault(parts_.netlink, wanted);
  if (wrong.empty()) return parts_.faults.clear("node");
  if (auto prepared = prepare_node(parts_.netlink, wanted); !prepared)
    return parts_.faults.set("node", fmt::format("{}: {}", wrong, prepared.error().message));
  repaired(wrong);
  parts_.faults.clear("node");
}

void Healer::check_pods() {
  auto healing = parts_.attachment.heal_hosts();
  for (const auto& text : healing.repaired) repaired(text);
  std::map<std::string, std::string> failed;
  for (const auto& [owner, text] : healing.failed) failed["pod " + owner] = text;
  parts_.faults.replace("pod ", failed);
}

void Healer::check_sockets() {
  const auto& features = parts_.datapath.features();
  if (features.cgroup.empty()) return;
  const bool had = features.socket_hook;
  if (const auto attached = parts_.datapath.sockets_attached(); had && attached && *attached) return;
  if (auto again = parts_.datapath.attach_sockets(); !again)
    return parts_.faults.set("socket hook", "socket hook: " + again.error().message);
  if (had) repaired("the socket hook's programs were gone and are attached again");
  parts_.faults.clear("socket hook");
}

void Healer::check_orphans() {
  const auto orphans = orphan_devices(parts_.netlink, parts_.attachment);
  if (!orphans) return;
  if (orphans->empty()) return parts_.faults.clear("orphans");
  parts_.faults.set(
      "orphans", fmt::format("the store knows nothing of {}: the pods behind them have no network. Was the store in {} "
                             "deleted or emptied? Create these pods again, or remove the devices with `ip link del`",
                             fmt::join(*orphans, ", "), parts_.config.state_dir));
}

void Healer::check_store_file() {
  const auto path = parts_.config.store_path();
  if (inode_of(path) == store_inode_) return parts_.faults.clear("store file");
  parts_.faults.set("store file",
                    fmt::format("the store {} was deleted or replaced under the running agent: what it learns now is "
                                "lost when it ends. Put the file back (docs/state.md), or restart weftd and create "
                                "the pods again",
                                path));
}

}  // namespace weft::agent
