#include "agent/path_mtus.h"

#include <algorithm>
#include <vector>

#include "datapath/rows.h"

namespace weft::agent {

Result<PathMtus> read_path_mtus(bpfrt::RawMap& map, std::chrono::nanoseconds now) {
  bpfrt::Map<weft_addr, weft_path_mtu> rows(map);
  PathMtus paths;
  std::vector<weft_addr> over;
  WEFT_CHECK(rows.for_each([&](const weft_addr& address, const weft_path_mtu& row) {
    const auto until = std::chrono::nanoseconds(row.until);
    if (until > now)
      paths.insert_or_assign(datapath::from_abi(address), PathMtu{row.mtu, until});
    else
      over.push_back(address);
    return true;
  }));
  for (const auto& address : over) WEFT_CHECK(rows.erase(address));
  return paths;
}

std::uint32_t path_mtu_inside(const weft_node& row, const PathMtus& paths, std::uint32_t overhead) {
  const auto tunnel = row.way == WEFT_WAY_VXLAN || row.way == WEFT_WAY_GENEVE || row.way == WEFT_WAY_IPIP;
  const auto found = tunnel ? paths.find(datapath::from_abi(row.addr)) : paths.end();
  if (found == paths.end() || found->second.outer <= overhead) return row.mtu;
  return std::min(row.mtu, std::max(found->second.outer - overhead, std::uint32_t{WEFT_PATH_MTU_LEAST_V4}));
}

}  // namespace weft::agent
