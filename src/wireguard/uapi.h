// The text protocol of WireGuard's user space implementations (https://www.wireguard.com/xplatform/): lines of
// "key=value", keys in hex.
#pragma once

#include <string>
#include <string_view>

#include "wireguard/device.h"

namespace weft::wireguard {

// The whole request, its empty line included.
std::string uapi_set(const DeviceChange& change);
// The answer to "get=1", up to and with its empty line. Keys that are not known are passed over.
Result<DeviceState> parse_uapi(std::string_view text);

}  // namespace weft::wireguard
