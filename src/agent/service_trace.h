// Flows of a Service as the flow tables have them: where each of them is now.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "bpfrt/map.h"

namespace weft::agent {

struct TracedFlow {
  IpAddress client;
  std::uint16_t client_port = 0;
  IpAddress destination;  // as the packets entered: the frontend, or the backend when a socket was translated
  std::uint16_t destination_port = 0;
  Protocol protocol = Protocol::tcp;
  std::uint32_t service_id = 0;
  std::uint32_t backend_id = 0;
  std::optional<IpAddress> source_after;  // when the client's address was translated
  std::uint16_t source_port_after = 0;
  std::uint32_t out_ifindex = 0;
  std::uint8_t exit = 0;           // weft_exit
  std::uint8_t encapsulation = 0;  // weft_encapsulation
  bool external = false;
  std::string state;  // "opening", "open", "closed"
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  std::uint64_t reply_packets = 0;
  std::uint64_t reply_bytes = 0;
  std::uint64_t created = 0;  // nanoseconds, CLOCK_MONOTONIC
};

struct TracedFlows {
  std::vector<TracedFlow> flows;
  bool more = false;  // the limit was reached
};

struct FlowFilter {
  std::set<std::uint32_t> services;
  std::optional<IpAddress> client;
  std::size_t limit = 100;
};
// Walks the whole tables unless the limit ends it: milliseconds per hundred thousand entries.
Result<TracedFlows> flows_of_service(bpfrt::RawMap& v4, bpfrt::RawMap& v6, const FlowFilter& filter);

}  // namespace weft::agent
