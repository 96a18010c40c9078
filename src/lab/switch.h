// An Ethernet switch between the hosts of a lab's network: a bridge in the world's namespace, with ports
// that hand on frames the way a wire does.
#pragma once

#include <string>

#include "base/ip.h"
#include "base/result.h"

namespace weft::lab {

// In the namespace behind `netns`. All are repeatable.
Result<void> ensure_bridge(int netns, const std::string& name, const MacAddress& mac);
// What is a port of some bridge stays so.
Result<void> add_port(int netns, const std::string& bridge, const std::string& port);
// From whatever bridge it is at to this one; to none when that is empty.
Result<void> move_port(int netns, const std::string& bridge, const std::string& port);
// A deaf device drops what arrives, after packet sockets have seen it.
Result<void> set_deaf(int netns, const std::string& device, bool deaf);
// Frames leave the device whole and with their checksums made, none longer than the MTU, as they would
// arrive from a network card: programs before the stack (XDP) see no partial checksum. What arrives is
// taken as an interface with NAPI does, which a device that sends back by XDP asks of its peer.
Result<void> act_like_a_wire(int netns, const std::string& device);

}  // namespace weft::lab
