// Frames by which hosts of one link say and ask who has an address: ARP (RFC 826, RFC 5227) and neighbour discovery
// (RFC 4861, RFC 4862).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ip.h"

namespace weft::agent {

// "The address is here." IPv4: an ARP announcement (RFC 5227, 3); IPv6: an unsolicited advertisement to all nodes
// with the override flag (RFC 4861, 7.2.6).
std::vector<std::uint8_t> announcement_frame(const IpAddress& address, const MacAddress& mac);
// "Has anybody got the address?", from somebody who has none. IPv4: an ARP probe (RFC 5227, 1.1); IPv6: a solicitation
// as duplicate address detection sends it (RFC 4862, 5.4.2).
std::vector<std::uint8_t> probe_frame(const IpAddress& address, const MacAddress& mac);
// Who asks for the IPv6 address sends there.
MacAddress solicited_group(const IpAddress& address);

// What another host's frame says.
struct Heard {
  enum class Kind {
    claim,  // it has the address
    probe,  // it would like to have it, and asks who has
  };
  Kind kind = Kind::claim;
  IpAddress address;
  MacAddress mac;
  bool operator==(const Heard&) const = default;
};
// Nothing when it says nothing of an address, or is malformed.
std::optional<Heard> heard(std::span<const std::uint8_t> frame);

}  // namespace weft::agent
