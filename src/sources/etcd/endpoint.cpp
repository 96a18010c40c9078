#include "sources/etcd/endpoint.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace weft::etcd {
namespace {

bool is_address(int family, const std::string& text) {
  in6_addr ignored{};
  return inet_pton(family, text.c_str(), &ignored) == 1;
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 253 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_';
  });
}

}  // namespace

std::string Endpoint::url() const {
  const bool brackets = host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}", tls ? "https" : "http", brackets ? "[" : "", host, brackets ? "]" : "", port);
}

std::string Endpoint::target() const {
  if (is_address(AF_INET, host)) return fmt::format("ipv4:{}:{}", host, port);
  if (is_address(AF_INET6, host)) return fmt::format("ipv6:[{}]:{}", host, port);
  return fmt::format("dns:///{}:{}", host, port);
}

Result<Endpoint> parse_endpoint(std::string_view text) {
  const std::string shown(text.substr(0, 200));
  Endpoint endpoint;
  std::string_view rest = text;
  if (rest.starts_with("https://")) {
    endpoint.tls = true;
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return fail(ErrorCode::invalid, fmt::format("'{}' does not begin with http:// or https://", shown));
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const auto colon = rest.rfind(':');
  if (colon == std::string_view::npos) return fail(ErrorCode::invalid, fmt::format("'{}' names no port", shown));
  const std::string_view port = rest.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
  if (error != std::errc{} || end != port.data() + port.size() || endpoint.port == 0)
    return fail(ErrorCode::invalid, fmt::format("'{}': the port is not a number from 1 to 65535", shown));
  std::string_view host = rest.substr(0, colon);
  const bool brackets = host.starts_with('[') && host.ends_with(']') && host.size() > 2;
  if (brackets) host = host.substr(1, host.size() - 2);
  endpoint.host = host;
  const bool good = brackets ? is_address(AF_INET6, endpoint.host) : is_name(host);
  if (!good || endpoint.host.find('\0') != std::string::npos)
    return fail(ErrorCode::invalid, fmt::format("'{}': the host is neither a name nor an address", shown),
                "an IPv6 address is written in brackets: https://[2001:db8::1]:2379");
  return endpoint;
}

}  // namespace weft::etcd
