// What other programs have put into the kernel of this network namespace, to be named: chains of netfilter and BPF
// filters of devices. Read only. Blocking.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace weft::sys {

struct FilterChain {
  std::string table;  // "nat", "kube-proxy"
  std::string chain;
  std::string by;  // "nft" (iptables-nft included), "iptables", "ip6tables": the legacy tables
  auto operator<=>(const FilterChain&) const = default;
};

// Of nftables and of the legacy tables that are in use; a kernel without either has none.
Result<std::vector<FilterChain>> filter_chains();

// Names of the BPF programs among a device's filters (tc), of both directions.
Result<std::vector<std::string>> filter_programs(int ifindex);

}  // namespace weft::sys
