// What an established packet costs on each way between nodes, net of a program that does nothing.
#pragma once

#include "xdp_bench.h"

namespace weft::test {

// The peer of a row: what the kernel's helpers cost alone (a tunnel's key, the room for headers); 0: none are needed.
std::vector<XdpBenchRow> run_node_bench(const XdpBenchOptions& options);

}  // namespace weft::test
