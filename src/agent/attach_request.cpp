#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "agent/attachment.h"
#include "model/names.h"

namespace weft::agent {
namespace {

using nlohmann::json;

const json& at(const json& object, const char* key) {
  static const json null;
  if (!object.is_object()) return null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

std::string text(const json& object, const char* key) {
  const auto& value = at(object, key);
  return value.is_string() ? value.get<std::string>() : std::string{};
}

// "10.0.0.5", "10.0.0.5/24"; lists are joined by commas in CNI_ARGS.
Result<void> add_address(std::vector<IpAddress>& addresses, std::string word, const char* where) {
  word = word.substr(0, word.find('/'));
  auto address = IpAddress::parse(word);
  if (!address) return fail(address.error().in(where));
  addresses.push_back(*address);
  return {};
}

Result<void> requested_addresses(AttachRequest& request, const json& args, const json& config) {
  std::string list = text(args, "IP");
  while (!list.empty()) {
    const auto comma = list.find(',');
    WEFT_CHECK(add_address(request.addresses, list.substr(0, comma), "CNI_ARGS IP"));
    list = comma == std::string::npos ? std::string{} : list.substr(comma + 1);
  }
  for (const auto& [value, where] : {std::pair{&at(at(config, "runtimeConfig"), "ips"), "runtimeConfig.ips"},
                                     std::pair{&at(at(at(config, "args"), "cni"), "ips"), "args.cni.ips"}}) {
    if (!value->is_array()) continue;
    if (!request.addresses.empty()) break;
    for (const auto& item : *value) {
      if (!item.is_string()) return fail(ErrorCode::invalid, fmt::format("{}: expected a list of addresses", where));
      WEFT_CHECK(add_address(request.addresses, item.get<std::string>(), where));
    }
  }
  return {};
}

Result<void> requested_mac(AttachRequest& request, const json& args, const json& config) {
  auto word = text(at(config, "runtimeConfig"), "mac");
  if (word.empty()) word = text(args, "MAC");
  if (word.empty()) return {};
  auto mac = MacAddress::parse(word);
  if (!mac) return fail(mac.error().in("runtimeConfig.mac"));
  if ((mac->bytes[0] & 1) != 0)
    return fail(ErrorCode::invalid, fmt::format("runtimeConfig.mac: {} is a multicast address", word));
  request.mac = *mac;
  return {};
}

// A port number, or nothing when the member is no such thing.
std::optional<std::uint16_t> port(const json& object, const char* key) {
  const auto& value = at(object, key);
  if (!value.is_number_integer()) return std::nullopt;
  const auto number = value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
  return number == 0 || number > 65535 ? std::nullopt : std::optional(static_cast<std::uint16_t>(number));
}

Result<store::PortMapping> port_mapping(const json& entry, const std::string& where) {
  store::PortMapping mapping;
  const auto host = port(entry, "hostPort");
  if (!host) return fail(ErrorCode::invalid, where + ".hostPort: expected a port from 1 to 65535");
  const auto inside = port(entry, "containerPort");
  if (!inside) return fail(ErrorCode::invalid, where + ".containerPort: expected a port from 1 to 65535");
  mapping.host_port = *host;
  mapping.container_port = *inside;
  if (const auto word = text(entry, "protocol"); !word.empty()) {
    const auto protocol = parse_protocol(word);
    if (!protocol || (*protocol != Protocol::tcp && *protocol != Protocol::udp && *protocol != Protocol::sctp))
      return fail(ErrorCode::invalid, fmt::format("{}.protocol: \"{}\" is not tcp, udp or sctp", where, word));
    mapping.protocol = *protocol;
  }
  if (const auto word = text(entry, "hostIP"); !word.empty()) {
    const auto address = IpAddress::parse(word);
    if (!address) return fail(address.error().in(where + ".hostIP"));
    mapping.host_ip = *address;
  }
  return mapping;
}

Result<void> requested_ports(AttachRequest& request, const json& config) {
  const auto& list = at(at(config, "runtimeConfig"), "portMappings");
  if (list.is_null()) return {};
  if (!list.is_array()) return fail(ErrorCode::invalid, "runtimeConfig.portMappings: expected a list");
  std::set<store::PortMapping> seen;
  for (std::size_t i = 0; i < list.size(); ++i) {
    // Kubernetes hands over every port of the containers; those without a host port ask for nothing.
    const auto& host = at(list[i], "hostPort");
    if (list[i].is_object() && (host.is_null() || host == 0)) continue;
    WEFT_TRY(const auto mapping, port_mapping(list[i], fmt::format("runtimeConfig.portMappings[{}]", i)));
    if (seen.insert(mapping).second) request.port_mappings.push_back(mapping);
  }
  return {};
}

// A message that begins with the variable's name becomes the specification's error 4.
Result<void> check_names(const AttachRequest& request, const json& args, const std::string& configured) {
  if (request.pod_named)
    if (const auto wrong = model::check_dns_subdomain(request.pod); !wrong.empty())
      return fail(ErrorCode::invalid, fmt::format("CNI_ARGS: K8S_POD_NAME is not a pod's name: {}", wrong));
  if (!text(args, "K8S_POD_NAMESPACE").empty())
    if (const auto wrong = model::check_dns_label(text(args, "K8S_POD_NAMESPACE")); !wrong.empty())
      return fail(ErrorCode::invalid, fmt::format("CNI_ARGS: K8S_POD_NAMESPACE is not a namespace's name: {}", wrong));
  if (!configured.empty())
    if (const auto wrong = model::check_dns_label(configured); !wrong.empty())
      return fail(ErrorCode::invalid, fmt::format("namespace: {}", wrong));
  return {};
}

Result<std::uint32_t> requested_mtu(const json& config) {
  constexpr std::uint64_t least = 1280;  // less than that and the kernel takes IPv6 off the device
  constexpr std::uint64_t most = 65535;
  const auto& mtu = at(config, "mtu");
  if (mtu.is_null() || mtu == 0) return 0U;
  if (!mtu.is_number_unsigned() || mtu.get<std::uint64_t>() < least || mtu.get<std::uint64_t>() > most)
    return fail(ErrorCode::invalid, fmt::format("mtu: expected a whole number from {} to {}", least, most),
                "leave it out to get the node's");
  return static_cast<std::uint32_t>(mtu.get<std::uint64_t>());
}

}  // namespace

Result<AttachRequest> parse_attach(const json& params) {
  AttachRequest request;
  const auto& args = at(params, "args");
  const auto& config = at(params, "config");
  request.key = {text(params, "container_id"), text(params, "ifname")};
  request.netns = text(params, "netns");
  if (request.key.container_id.empty()) return fail(ErrorCode::invalid, "container_id is missing");
  if (request.key.ifname.empty()) return fail(ErrorCode::invalid, "ifname is missing");
  request.network = text(config, "name");
  request.namespace_ = text(args, "K8S_POD_NAMESPACE");
  request.pod = text(args, "K8S_POD_NAME");
  request.pod_named = !request.pod.empty();
  request.pod_uid = text(args, "K8S_POD_UID");
  const auto configured = text(config, "namespace");
  if (!configured.empty()) request.namespace_ = configured;
  if (request.namespace_.empty()) request.namespace_ = "default";
  if (!request.pod_named) request.pod = request.key.container_id.substr(0, 12);
  request.labels["container:name"] = request.pod;
  const auto& labels = at(config, "labels");
  if (labels.is_object())
    for (const auto& [key, value] : labels.items())
      if (value.is_string()) request.labels["container:" + key] = value.get<std::string>();
  WEFT_CHECK(check_names(request, args, configured));
  WEFT_TRY(request.mtu, requested_mtu(config));
  WEFT_CHECK(requested_addresses(request, args, config));
  WEFT_CHECK(requested_mac(request, args, config));
  WEFT_CHECK(requested_ports(request, config));
  return request;
}

}  // namespace weft::agent
