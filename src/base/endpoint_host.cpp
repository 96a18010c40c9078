#include "base/endpoint_host.h"

namespace weft {

std::optional<IpAddress> endpoint_host(std::string_view endpoint) {
  if (const auto scheme = endpoint.find("//"); scheme != std::string_view::npos) endpoint.remove_prefix(scheme + 2);
  const bool bracketed = endpoint.starts_with('[');
  if (bracketed) endpoint.remove_prefix(1);
  const auto address = IpAddress::parse(endpoint.substr(0, endpoint.find_first_of(bracketed ? "]" : ":/")));
  return address ? std::optional(*address) : std::nullopt;
}

}  // namespace weft
