#include "agent/uplinks.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace weft::agent {

void Uplinks::attach(const Node& node) {
  for (const auto& [index, uplink] : node.uplinks) {
    if (auto attached = datapath_.attach_uplink(index); !attached)
      faults_.set("uplink " + uplink.name, fmt::format("uplink {}: {}", uplink.name, attached.error().message));
    attach_xdp(index, uplink);
  }
  std::vector<std::uint32_t> gone;
  for (const auto& [index, xdp] : datapath_.features().xdp)
    if (!node.uplinks.contains(index)) gone.push_back(index);
  for (const auto index : gone) datapath_.leave_xdp(index, "no uplink any more");
}

void Uplinks::serve_outside(const Node& node) {
  if (serves_outside_) return;
  serves_outside_ = true;
  for (const auto& [index, uplink] : node.uplinks) attach_xdp(index, uplink);
}

void Uplinks::attach_xdp(std::uint32_t ifindex, const Uplink& uplink) {
  using Xdp = Config::Xdp;
  if (config_.xdp == Xdp::off) return datapath_.leave_xdp(ifindex, "off in the configuration");
  if (!serves_outside_) return datapath_.leave_xdp(ifindex, "no Service has clients outside");
  if (config_.xdp == Xdp::automatic && uplink.kind == "veth")
    return datapath_.leave_xdp(ifindex,
                               "a veth whose other end has no receive loop would lose what XDP sends; "
                               "set `xdp: native` where it has one (docs/xdp.md)");
  // features().xdp keeps why not: tc does the work then.
  (void)datapath_.attach_xdp(ifindex, config_.xdp == Xdp::generic ? bpfrt::XdpMode::generic : bpfrt::XdpMode::native);
}

std::string Uplinks::heal_xdp(std::uint32_t ifindex, const Uplink& uplink, std::vector<std::string>& repaired) {
  if (const auto attached = datapath_.xdp_attached(ifindex); !attached || !*attached) {
    attach_xdp(ifindex, uplink);
    const auto still = datapath_.xdp_attached(ifindex);
    if (datapath_.features().xdp.at(ifindex).mode != bpfrt::XdpMode::off && still && *still)
      repaired.push_back(fmt::format("uplink {}: the XDP program was gone and is attached again", uplink.name));
  }
  const bool asked_for = config_.xdp == Config::Xdp::native || config_.xdp == Config::Xdp::generic;
  const auto found = datapath_.features().xdp.find(ifindex);
  if (!asked_for || !serves_outside_ || found == datapath_.features().xdp.end() ||
      found->second.mode != bpfrt::XdpMode::off)
    return {};
  attach_xdp(ifindex, uplink);
  const auto& why = datapath_.features().xdp.at(ifindex).why_off;
  return why.empty() ? why : fmt::format("uplink {}: no XDP, though it is configured: {}", uplink.name, why);
}

std::vector<std::string> Uplinks::heal(const Node& node) {
  std::vector<std::string> repaired;
  std::map<std::string, std::string> failed;
  for (const auto& name : config_.devices)
    if (std::ranges::none_of(node.uplinks, [&](const auto& entry) { return entry.second.name == name; }))
      failed["uplink " + name] = fmt::format(
          "uplink {}: there is no such device; correct `devices` in the configuration"
          " or make the device",
          name);
  if (node.uplinks.empty() && config_.devices.empty())
    failed["uplink"] =
        "no uplink: no device has a default route, so pods reach nothing beyond this node; set `devices`";
  for (const auto& [index, uplink] : node.uplinks) {
    if (!uplink.up)
      failed[fmt::format("uplink {} down", uplink.name)] =
          fmt::format("uplink {} is down: nothing comes or goes by it; `ip link set {} up`", uplink.name, uplink.name);
    const auto attached = datapath_.uplink_attached(index);
    if (!attached || !*attached) {
      if (auto again = datapath_.attach_uplink(index); !again)
        failed["uplink " + uplink.name] = fmt::format("uplink {}: {}", uplink.name, again.error().message);
      else
        repaired.push_back(fmt::format("uplink {}: the programs were gone and are attached again", uplink.name));
    }
    if (auto fault = heal_xdp(index, uplink, repaired); !fault.empty())
      failed[fmt::format("uplink {} XDP", uplink.name)] = std::move(fault);
    for (const auto& text : datapath_.strangers(index))
      failed[fmt::format("uplink {} {}", uplink.name, text)] = fmt::format("uplink {}: {}", uplink.name, text);
  }
  faults_.replace("uplink", failed);
  return repaired;
}

}  // namespace weft::agent
