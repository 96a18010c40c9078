#include "sources/store/encoding.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

namespace weft::store {
namespace {

Result<PortMapping> parse_port_mapping(std::string_view text) {
  const auto wrong = [&] { return fail(ErrorCode::invalid, fmt::format("\"{}\" is not a port mapping", text)); };
  PortMapping mapping;
  auto rest = text;
  if (const auto at = rest.find('@'); at != std::string_view::npos) {
    WEFT_TRY(mapping.host_ip, IpAddress::parse(rest.substr(at + 1)));
    rest = rest.substr(0, at);
  }
  const auto colon = rest.find(':');
  if (colon == std::string_view::npos) return wrong();
  const auto host = rest.substr(0, colon);
  const auto read = std::from_chars(host.data(), host.data() + host.size(), mapping.host_port);
  if (read.ec != std::errc() || read.ptr != host.data() + host.size() || mapping.host_port == 0) return wrong();
  WEFT_TRY(const auto inside, PortProtocol::parse(rest.substr(colon + 1)));
  if (inside.port == 0) return wrong();
  mapping.container_port = inside.port;
  mapping.protocol = inside.protocol;
  return mapping;
}

}  // namespace

std::string join(const std::vector<IpAddress>& addresses) {
  std::string text;
  for (const auto& address : addresses) {
    if (!text.empty()) text += ',';
    text += address.to_string();
  }
  return text;
}

Result<std::vector<IpAddress>> split_addresses(std::string_view text) {
  std::vector<IpAddress> addresses;
  while (!text.empty()) {
    const auto comma = text.find(',');
    WEFT_TRY(addresses.emplace_back(), IpAddress::parse(text.substr(0, comma)));
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return addresses;
}

std::string join(const std::vector<PortMapping>& mappings) {
  std::string text;
  for (const auto& mapping : mappings) {
    if (!text.empty()) text += ',';
    text += fmt::format("{}:{}", mapping.host_port, PortProtocol{mapping.container_port, mapping.protocol}.to_string());
    if (mapping.host_ip) text += "@" + mapping.host_ip->to_string();
  }
  return text;
}

Result<std::vector<PortMapping>> split_port_mappings(std::string_view text) {
  std::vector<PortMapping> mappings;
  while (!text.empty()) {
    const auto comma = text.find(',');
    WEFT_TRY(mappings.emplace_back(), parse_port_mapping(text.substr(0, comma)));
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return mappings;
}

Result<std::string> encode(const LabelMap& labels) {
  if (labels.empty()) return "{}";
  try {
    return nlohmann::json(labels).dump();
  } catch (const nlohmann::json::exception&) {
    return fail(ErrorCode::invalid, "the labels hold bytes that are not UTF-8");
  }
}

Result<LabelMap> decode_labels(std::string_view text) {
  if (text == "{}") return LabelMap();
  try {
    return nlohmann::json::parse(text).get<LabelMap>();
  } catch (const nlohmann::json::exception&) {
    return fail(ErrorCode::invalid, fmt::format("\"{}\" is not a JSON object of labels", text));
  }
}

}  // namespace weft::store
