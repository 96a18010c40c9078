#include "agent/egress_addresses.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

namespace weft::agent {
namespace {

sys::DeviceAddress row_of(int device, const IpAddress& address) {
  return {device, address, address.is_v4() ? 32U : 128U, sys::address_protocol_weft};
}

// A gateway whose agent died has the address still, and its kernel answers for it: neighbours that ask anew are soon
// told who has it.
L2Timing timing() {
  L2Timing timing;
  timing.remind = L2Timing::Span(5000);
  return timing;
}

bool is_ours(const sys::DeviceAddress& row) { return row.protocol == sys::address_protocol_weft; }

}  // namespace

EgressAddresses::EgressAddresses(asio::io_context& loop, sys::Netlink& netlink, Faults& faults, L2Announcer::Send send)
    : netlink_(netlink),
      faults_(faults),
      announcer_(
          loop, std::move(send), [] {}, timing()) {}

bool EgressAddresses::want(const std::set<control::EgressAddress>& wanted, const Node& node) {
  const auto present = netlink_.addresses();
  if (!present) {
    faults_.set("egress addresses", "reading the addresses: " + present.error().message);
    return false;
  }
  faults_.clear("egress addresses");
  std::map<std::string, std::string> failed;
  std::set<std::pair<int, IpAddress>> keep;
  L2Announcer::Rows rows;
  for (const auto& each : wanted) {
    const auto uplink =
        std::ranges::find_if(node.uplinks, [&](const auto& entry) { return entry.second.name == each.device; });
    if (uplink == node.uplinks.end()) continue;  // the plan's problem
    const auto device = static_cast<int>(uplink->first);
    const auto there = std::ranges::find_if(*present, [&](const auto& row) {
      return row.address == each.address && (!is_ours(row) || row.index == device);
    });
    if (there != present->end() && !is_ours(*there)) continue;
    keep.emplace(device, each.address);
    if (there == present->end()) {
      if (auto added = netlink_.add_address(row_of(device, each.address)); !added) {
        failed["egress address " + each.address.to_string()] = added.error().message;
        continue;
      }
      spdlog::info("this node is the egress gateway with {}, on {}", each.address.to_string(), each.device);
    }
    weft_l2 row{};
    std::ranges::copy(uplink->second.mac.bytes, row.mac);
    rows.emplace(weft_l2_key{datapath::to_abi(each.address), uplink->first}, row);
  }
  for (const auto& row : *present) {
    if (!is_ours(row) || keep.contains({row.index, row.address})) continue;
    if (auto deleted = netlink_.delete_address(row); !deleted)
      failed["egress address " + row.address.to_string()] = deleted.error().message;
    else
      spdlog::info("this node gives {} up", row.address.to_string());
  }
  faults_.replace("egress address ", failed);
  announced_ = std::move(rows);
  announce();
  return failed.empty();
}

// That nobody else has them is agreed elsewhere: nobody is asked.
void EgressAddresses::announce() {
  announcer_.adopt(announced_);
  announcer_.want(announced_);
}

void EgressAddresses::announce_again() {
  announcer_.want({});
  announce();
}

}  // namespace weft::agent
