// TUN devices: the side of a program that reads packets from a file.
#pragma once

#include <string>

#include "base/result.h"

namespace weft::sys {

// Makes one in the calling thread's network namespace. It stays until it is deleted: without a program it has no
// carrier, and the next that opens it by its name goes on. `exists` when another device has the name.
Result<void> make_persistent_tun(const std::string& name);

}  // namespace weft::sys
