// The address in a server's name as configurations write it.
#pragma once

#include <optional>
#include <string_view>

#include "base/ip.h"

namespace weft {

// "https://[2001:db8::1]:2379" is at 2001:db8::1, "10.0.0.1:6443" at 10.0.0.1; a name is no address.
std::optional<IpAddress> endpoint_host(std::string_view endpoint);

}  // namespace weft
