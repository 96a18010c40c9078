// Why this machine itself may be what keeps servers from being reached, as far as its addresses, routes and devices
// say. Sends nothing.
#pragma once

#include <string>
#include <vector>

#include "sys/netlink.h"

namespace weft::agent {

// Of servers as configurations write them ("https://192.0.2.1:6443"); those known by name are passed over. Empty:
// nothing of it is to be seen here.
std::string own_reason(sys::Netlink& netlink, const std::vector<std::string>& servers);

}  // namespace weft::agent
