// What a speaker says of its peers and of routes, whichever speaker it is.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"

namespace weft::speaker {

struct RouteCounts {
  std::uint64_t received = 0;  // and taken
  std::uint64_t advertised = 0;
  bool operator==(const RouteCounts&) const = default;
};

struct Peer {
  IpAddress address;
  std::string state;  // of RFC 4271: "Established", "Active" ...; or the speaker's word for why there is none
  bool established = false;
  std::string since;  // when the state began, RFC 3339; empty: it is not said
  std::map<Family, RouteCounts> routes;
  std::string last_error;  // empty: none
  bool operator==(const Peer&) const = default;
};

struct Route {
  Cidr prefix;
  IpAddress peer;
  bool advertised = false;  // else received from it
  std::vector<IpAddress> next_hops;
  std::string as_path;
  std::vector<std::string> communities;
  std::vector<std::string> large_communities;
  bool operator==(const Route&) const = default;
};

}  // namespace weft::speaker
