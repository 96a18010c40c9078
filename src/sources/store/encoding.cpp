#include "sources/store/encoding.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace weft::store {

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
