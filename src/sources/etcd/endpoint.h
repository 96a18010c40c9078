// "https://host:port" as etcd's own tools write it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace weft::etcd {

struct Endpoint {
  bool tls = false;
  std::string host;  // a name, an IPv4 address, or an IPv6 address without its brackets
  std::uint16_t port = 0;

  [[nodiscard]] std::string url() const;
  [[nodiscard]] std::string target() const;  // as gRPC wants it
  auto operator<=>(const Endpoint&) const = default;
};

// "http://" or "https://", a host, ":port"; nothing after it but one "/".
Result<Endpoint> parse_endpoint(std::string_view text);

}  // namespace weft::etcd
