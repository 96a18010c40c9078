#include "cni/format.h"

#include <initializer_list>
#include <utility>

namespace weft::cni {
namespace {

struct Field {
  const char* name;
  SpecVersion since;
};
constexpr std::initializer_list<Field> interface_fields = {
    {"name", SpecVersion::v0_3_1}, {"mac", SpecVersion::v0_3_1},   {"sandbox", SpecVersion::v0_3_1},
    {"mtu", SpecVersion::v1_1_0},  {"pciID", SpecVersion::v1_1_0}, {"socketPath", SpecVersion::v1_1_0},
};
constexpr std::initializer_list<Field> address_fields = {
    {"address", SpecVersion::v0_3_1}, {"gateway", SpecVersion::v0_3_1}, {"interface", SpecVersion::v0_3_1}};
constexpr std::initializer_list<Field> route_fields = {
    {"dst", SpecVersion::v0_3_1},    {"gw", SpecVersion::v0_3_1},       {"mtu", SpecVersion::v1_1_0},
    {"advmss", SpecVersion::v1_1_0}, {"priority", SpecVersion::v1_1_0}, {"table", SpecVersion::v1_1_0},
    {"scope", SpecVersion::v1_1_0},
};

Json pick(const Json& object, std::initializer_list<Field> fields, SpecVersion version) {
  Json picked = Json::object();
  for (const auto& [name, since] : fields)
    if (const auto found = object.find(name); version >= since && found != object.end() && !found->is_null())
      picked[name] = *found;
  return picked;
}

const Json& member(const Json& object, const char* name) {
  static const Json nothing;
  if (!object.is_object()) return nothing;
  const auto found = object.find(name);
  return found == object.end() ? nothing : *found;
}

// Appends `items` to `list`, field by field.
void append(Json& list, const Json& items, std::initializer_list<Field> fields, SpecVersion version) {
  if (!items.is_array()) return;
  for (const auto& item : items)
    if (item.is_object()) list.push_back(pick(item, fields, version));
}

void append_addresses(Json& list, const Json& items, std::size_t interfaces_before, SpecVersion version) {
  const std::size_t first = list.size();
  append(list, items, address_fields, version);
  for (std::size_t i = first; i < list.size(); ++i) {
    Json& address = list[i];
    // `interface` is an index into the whole result, ours come after the earlier plugins'.
    if (const auto index = address.find("interface"); index != address.end()) {
      if (index->is_number_unsigned())
        *index = index->get<std::uint64_t>() + interfaces_before;
      else if (!index->is_number_integer())
        address.erase(index);
    }
    if (version < SpecVersion::v1_0_0) {
      const Json& text = member(address, "address");
      const bool v6 = text.is_string() && text.get_ref<const std::string&>().contains(':');
      address["version"] = v6 ? "6" : "4";
    }
  }
}

}  // namespace

Json format_result(SpecVersion version, const Json& previous, const Json& answer) {
  Json result = Json::object();
  result["cniVersion"] = to_string(version);
  Json interfaces = Json::array();
  append(interfaces, member(previous, "interfaces"), interface_fields, version);
  const std::size_t before = interfaces.size();
  append(interfaces, member(answer, "interfaces"), interface_fields, version);
  Json addresses = Json::array();
  append_addresses(addresses, member(previous, "ips"), 0, version);
  append_addresses(addresses, member(answer, "ips"), before, version);
  Json routes = Json::array();
  append(routes, member(previous, "routes"), route_fields, version);
  append(routes, member(answer, "routes"), route_fields, version);
  const Json& earlier_dns = member(previous, "dns");
  const Json& own_dns = member(answer, "dns");
  Json dns = earlier_dns.is_object() ? earlier_dns : Json::object();
  if (own_dns.is_object())
    for (const auto& [key, value] : own_dns.items()) dns[key] = value;
  if (!interfaces.empty()) result["interfaces"] = std::move(interfaces);
  if (!addresses.empty()) result["ips"] = std::move(addresses);
  if (!routes.empty()) result["routes"] = std::move(routes);
  result["dns"] = std::move(dns);
  return result;
}

std::string format_error(const CniError& error) {
  Json object = {
      {"cniVersion", to_string(error.version)}, {"code", static_cast<int>(error.number)}, {"msg", error.message}};
  if (!error.details.empty()) object["details"] = error.details;
  return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string format_versions(const Json& asked) {
  const Json& version = member(asked, "cniVersion");
  const Json object = {{"cniVersion", version.is_string() ? version : Json(to_string(newest_version))},
                       {"supportedVersions", {"0.3.1", "0.4.0", "1.0.0", "1.1.0"}}};
  return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

CniError from_agent_error(const Error& error, Command command, SpecVersion version) {
  CniError converted{ErrorNumber::internal, error.message, error.hint, version};
  switch (error.code) {
    case ErrorCode::invalid:
      converted.number =
          error.message.starts_with("CNI_") ? ErrorNumber::bad_environment : ErrorNumber::bad_configuration;
      break;
    case ErrorCode::not_found:
      converted.number = ErrorNumber::unknown_container;
      break;
    case ErrorCode::exists:
      converted.number = ErrorNumber::already_attached;
      break;
    case ErrorCode::exhausted:
      converted.number = ErrorNumber::exhausted;
      break;
    case ErrorCode::unavailable:
      converted.number = command == Command::status ? ErrorNumber::not_available : ErrorNumber::try_again_later;
      break;
    case ErrorCode::unsupported:
      converted.number = ErrorNumber::unsupported_field;
      break;
    case ErrorCode::denied:
      converted.number = ErrorNumber::denied;
      break;
    case ErrorCode::io:
      converted.number = ErrorNumber::io_failure;
      break;
    case ErrorCode::internal:
      break;
  }
  return converted;
}

}  // namespace weft::cni
