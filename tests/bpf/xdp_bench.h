// What a packet costs in XDP, net of a program that does nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weft::test {

struct XdpBenchOptions {
  std::string only;              // a case; empty: all
  std::uint32_t only_flows = 0;  // 0: 1, 1,024 and 65,536
  int rounds = 7;
};
struct XdpBenchRow {
  std::string name;
  std::uint32_t flows = 0;
  double median = 0, lowest = 0, highest = 0;
  double peer = 0;  // of a new flow: entries made in tables of the same size, and nothing else
};
// Prints each row as it is measured.
std::vector<XdpBenchRow> run_xdp_bench(const XdpBenchOptions& options);

}  // namespace weft::test
