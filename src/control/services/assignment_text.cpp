#include "control/services/assignment_text.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace weft::control {
namespace {

using nlohmann::json;

json texts(const std::vector<IpAddress>& addresses) {
  auto list = json::array();
  for (const auto& address : addresses) list.push_back(address.to_string());
  return list;
}

Result<std::vector<IpAddress>> addresses_of(const json& object, const char* member) {
  std::vector<IpAddress> result;
  if (!object.contains(member)) return result;
  if (!object[member].is_array()) return fail(ErrorCode::invalid, fmt::format("{}: expected a list", member));
  for (const auto& text : object[member]) {
    if (!text.is_string()) return fail(ErrorCode::invalid, fmt::format("{}: expected addresses", member));
    WEFT_TRY(const auto address, IpAddress::parse(text.get<std::string>()));
    result.push_back(address);
  }
  return result;
}

Result<std::uint16_t> port_of(const json& value, const std::string& member) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > 65535)
    return fail(ErrorCode::invalid, member + ": expected a port");
  return value.get<std::uint16_t>();
}

}  // namespace

std::string assignment_to_text(const ServiceAssignment& assignment) {
  json object{{"clusterIPs", texts(assignment.cluster_ips)}};
  for (const auto& [port, node_port] : assignment.node_ports)
    object["nodePorts"][PortProtocol{port.first, port.second}.to_string()] = node_port;
  if (assignment.health_check_port != 0) object["healthCheckNodePort"] = assignment.health_check_port;
  if (!assignment.load_balancer_ips.empty()) object["loadBalancerIPs"] = texts(assignment.load_balancer_ips);
  return object.dump();
}

Result<ServiceAssignment> assignment_from_text(const std::string& text) {
  const auto object = json::parse(text, nullptr, false);
  if (!object.is_object()) return fail(ErrorCode::invalid, "expected a JSON object");
  ServiceAssignment result;
  WEFT_TRY(result.cluster_ips, addresses_of(object, "clusterIPs"));
  WEFT_TRY(result.load_balancer_ips, addresses_of(object, "loadBalancerIPs"));
  if (object.contains("healthCheckNodePort")) {
    WEFT_TRY(result.health_check_port, port_of(object["healthCheckNodePort"], "healthCheckNodePort"));
  }
  if (object.contains("nodePorts") && !object["nodePorts"].is_object())
    return fail(ErrorCode::invalid, "nodePorts: expected an object");
  if (object.contains("nodePorts"))
    for (const auto& [key, value] : object["nodePorts"].items()) {
      WEFT_TRY(const auto port, PortProtocol::parse(key));
      WEFT_TRY(const auto node_port, port_of(value, "nodePorts"));
      result.node_ports[{port.port, port.protocol}] = node_port;
    }
  return result;
}

}  // namespace weft::control
