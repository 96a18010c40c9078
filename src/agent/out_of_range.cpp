#include "agent/out_of_range.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace weft::agent {
namespace {

std::string ranges(const Config& config) {
  std::vector<std::string> texts;
  for (const auto& cidr : config.service_cidrs) texts.push_back(cidr.to_string());
  return texts.empty() ? "which is empty" : fmt::format("{}", fmt::join(texts, ", "));
}

}  // namespace

std::vector<std::string> out_of_range(const control::ServiceAssignment& held, const Config& config) {
  std::vector<std::string> texts;
  for (const auto& address : held.cluster_ips)
    if (std::ranges::none_of(config.service_cidrs, [&](const Cidr& cidr) { return cidr.contains(address); }))
      texts.push_back(fmt::format("cluster IP {} is outside service_cidrs ({})", address.to_string(), ranges(config)));
  const auto port = [&](std::uint16_t number, std::string_view what) {
    if (number != 0 && (number < config.node_port_min || number > config.node_port_max))
      texts.push_back(fmt::format("{} {} is outside node_port_min to node_port_max ({}-{})", what, number,
                                  config.node_port_min, config.node_port_max));
  };
  for (const auto& [which, number] : held.node_ports) port(number, "node port");
  port(held.health_check_port, "health check node port");
  return texts;
}

}  // namespace weft::agent
