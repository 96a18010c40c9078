// How large a packet gets to other nodes where routers on the way take less than this node's devices: as the datapath
// has heard it of them (bpf/lib/path_mtu_learn.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>

#include "abi/endpoint.h"
#include "base/ip.h"
#include "base/result.h"
#include "bpfrt/map.h"

namespace weft::agent {

struct PathMtu {
  std::uint32_t outer = 0;         // the largest packet, the tunnel's headers included
  std::chrono::nanoseconds until;  // CLOCK_MONOTONIC
  bool operator==(const PathMtu&) const = default;
};
using PathMtus = std::map<IpAddress, PathMtu>;  // by the address where tunnels to the node end

// Those of weft_pmtu_v1 that hold at `now`; what is over is removed from it.
Result<PathMtus> read_path_mtus(bpfrt::RawMap& map, std::chrono::nanoseconds now);

// The largest packet of pods to the node of this row: what `row.mtu` says where no router has said less. Of IPv6 nobody
// is told less than 1280. `overhead`: of the tunnel, in packets of the row's address's family.
std::uint32_t path_mtu_inside(const weft_node& row, const PathMtus& paths, std::uint32_t overhead);

}  // namespace weft::agent
