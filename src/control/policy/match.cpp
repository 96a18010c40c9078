#include "control/policy/match.h"

#include <algorithm>

namespace weft::control::policy_internal {

LabelMap namespace_labels(const PolicyInput& input, const std::string& namespace_) {
  LabelMap labels;
  if (const auto found = input.namespaces.find(namespace_); found != input.namespaces.end()) labels = found->second;
  labels["kubernetes.io/metadata.name"] = namespace_;
  return labels;
}

bool block_holds(const model::IpBlock& block, const Cidr& cidr) {
  return block.cidr.contains(cidr) &&
         std::ranges::none_of(block.except, [&](const Cidr& except) { return except.contains(cidr); });
}

std::vector<std::uint16_t> resolve_named_port(const std::vector<model::ContainerPort>& ports, const std::string& name,
                                              Protocol protocol) {
  std::vector<std::uint16_t> numbers;
  for (const auto& port : ports)
    if (port.name == name && port.protocol == protocol && std::ranges::find(numbers, port.port) == numbers.end())
      numbers.push_back(port.port);
  return numbers;
}

Cidr host_cidr(const IpAddress& address) { return {address, address.is_v4() ? 32U : 128U}; }

const std::string* port_name(const model::PolicyPort& port) {
  return port.port ? std::get_if<std::string>(&*port.port) : nullptr;
}

}  // namespace weft::control::policy_internal
