#include "agent/cleanup.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "agent/cni_install.h"
#include "agent/encryption.h"
#include "agent/node.h"
#include "agent/overlay.h"
#include "agent/source_ports.h"
#include "bpfrt/link.h"
#include "sources/store/store.h"
#include "speaker/speaker.h"
#include "sys/netlink.h"
#include "sys/system.h"

namespace weft::agent {
namespace {

using Tell = std::function<void(const std::string&)>;

// A link ends with its pin. Filters of kernels without tcx have none.
Result<void> detach_programs(sys::Netlink& netlink, const Config& config, const Tell& tell) {
  const auto links = config.pin_path() + "/links";
  const auto names = bpfrt::list_pins(links);
  for (const auto& name : names) bpfrt::remove_pin(fmt::format("{}/{}", links, name));
  if (!names.empty()) tell(fmt::format("detached {} programs of devices and sockets", names.size()));
  if (bpfrt::probe_attach_mode() != bpfrt::AttachMode::clsact) return {};
  WEFT_TRY(const auto node, read_node(netlink, config, 0));
  for (const auto& [index, uplink] : node.uplinks)
    for (const auto hook : {bpfrt::Hook::ingress, bpfrt::Hook::egress})
      WEFT_CHECK(bpfrt::detach_device(bpfrt::AttachMode::clsact, static_cast<int>(index), hook, {}));
  return {};
}

// Routes and filters go with the device; the peer goes from the pod.
Result<void> remove_pods(sys::Netlink& netlink, store::Store& store, const Tell& tell) {
  WEFT_TRY(const auto records, store.endpoints());
  for (const auto& record : records) {
    if (!record.device.empty())
      if (const auto device = netlink.device(record.device)) WEFT_CHECK(netlink.delete_device(device->index));
    WEFT_CHECK(store.delete_endpoint(record.key));
    tell(fmt::format("removed device {} of {}/{}", record.device, record.namespace_, record.pod));
  }
  return store.flush();
}

// Those to other nodes' pods.
Result<void> remove_routes(sys::Netlink& netlink, const Tell& tell) {
  WEFT_TRY(const auto routes, netlink.routes());
  for (const auto& route : routes)
    if (route.protocol == sys::route_protocol_weft) {
      WEFT_CHECK(netlink.delete_route(route));
      tell(fmt::format("removed the route to {}", route.destination.to_string()));
    }
  return {};
}

Result<void> remove_pins(const Config& config, const Tell& tell) {
  std::error_code error;
  if (!std::filesystem::exists(config.pin_path(), error)) return {};
  for (const auto* part : {"/links", "/maps"}) {
    std::filesystem::remove_all(config.pin_path() + part, error);
    if (error) return fail(errno_error("remove " + config.pin_path() + part, error.value()));
  }
  ::rmdir(config.pin_path().c_str());  // stays where it is a mount of its own
  tell("removed the pinned maps in " + config.pin_path());
  return {};
}

// What writes that were cut short have left has the name of the file in front.
bool is_of_agent(const std::string& name) {
  for (const std::string_view own : {"weft.db", "wireguard.json"})
    if (name == own || name.starts_with(std::string(own) + "-") || name.starts_with(std::string(own) + "."))
      return true;
  return name == "weft.sock" || name == "bgp" || name == "wireguard";
}

Result<void> remove_files_in(const std::string& directory, const Tell& tell) {
  std::error_code error;
  std::vector<std::filesystem::path> own;
  std::string others;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const auto name = entry.path().filename().string();
    if (is_of_agent(name))
      own.push_back(entry.path());
    else
      others += (others.empty() ? "" : ", ") + name;
  }
  for (const auto& path : own) {
    std::filesystem::remove_all(path, error);
    if (error) return fail(errno_error("remove " + path.string(), error.value()));
    tell("removed " + path.string());
  }
  if (!others.empty()) {
    tell(fmt::format("{} stays, for somebody else's files are in it: {}", directory, others));
  } else if (::rmdir(directory.c_str()) == 0) {  // stays where it is a mount of its own
    tell("removed " + directory);
  }
  return {};
}

}  // namespace

Result<void> remove_files(const Config& config, const Tell& tell) {
  for (const auto& directory : {config.state_dir, config.run_dir}) WEFT_CHECK(remove_files_in(directory, tell));
  return {};
}

Result<void> clean_up(const Config& config, Kept kept, const Tell& tell) {
  std::optional<store::Store> store;
  std::error_code error;
  // First: an agent that runs holds it.
  if (std::filesystem::exists(config.store_path(), error)) {
    auto opened = store::Store::open(config.store_path());
    if (!opened) return fail(opened.error());
    store.emplace(std::move(*opened));
  }
  // Before anything of the node goes: nobody is to begin with a pod here.
  WEFT_CHECK(remove_cni(CniInstall::options(config), tell));
  // First of all it is told to routers that this node is not to be sent to any more.
  if (speaker::end_speakers(config.bgp_path()) > 0) tell("ended the BGP speaker");
  WEFT_TRY(auto netlink, sys::open_netlink());
  WEFT_CHECK(detach_programs(*netlink, config, tell));
  if (store) WEFT_CHECK(remove_pods(*netlink, *store, tell));
  WEFT_TRY(const auto addresses, netlink->addresses());
  for (const auto& row : addresses)
    if (row.protocol == sys::address_protocol_weft) {
      WEFT_CHECK(netlink->delete_address(row));
      tell(fmt::format("removed the egress gateway's address {}", row.address.to_string()));
    }
  Encryption::remove(*netlink, config);
  WEFT_CHECK(remove_routes(*netlink, tell));
  for (const auto* name : {overlay_device, host_device})
    if (const auto device = netlink->device(name)) {
      WEFT_CHECK(netlink->delete_device(device->index));
      tell(fmt::format("removed device {}", name));
    }
  WEFT_CHECK(remove_pins(config, tell));
  ::rmdir(config.bpffs.c_str());  // unless another instance is in it
  ::unlink(config.socket_path().c_str());
  // A line without ports: an empty write would change nothing.
  if (const auto value = sys::read_sysctl(reserved_ports_sysctl))
    WEFT_CHECK(sys::write_sysctl(reserved_ports_sysctl, ports_without(*value, config.reserved_ports()) + "\n"));
  const bool stored = store.has_value();
  store.reset();
  if (kept == Kept::nothing) return remove_files(config, tell);
  if (stored)
    tell(
        fmt::format("kept {}, for an agent that comes again: objects, numbers, and the node's keys beside it; --purge "
                    "removes them",
                    config.store_path()));
  return {};
}

}  // namespace weft::agent
