// What keeps a packet from seeing half when CIDRs get or lose an identity of their own. The maps change
// row by row: for a moment endpoints of an old class meet addresses of new identities, and endpoints of
// a new class addresses of old ones. Bridging rows make each class treat the identities it does
// not know as the ones it knows these addresses by. Pure.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "datapath/rows.h"

namespace weft::datapath {

struct Bridge {
  Rows<weft_policy_key, weft_policy_entry> policy;  // in the map from before the switch until after it
  // The endpoints on their way: each step is complete before the next begins, the last is what is wanted.
  std::vector<Rows<weft_addr, weft_endpoint>> endpoints;
};

// The CIDR identities that only one of two sets of prefixes knows.
struct IdentityChange {
  std::set<std::uint32_t> fresh;
  std::set<std::uint32_t> gone;
  [[nodiscard]] bool empty() const { return fresh.empty() && gone.empty(); }
};
IdentityChange identity_change(const Rows<weft_lpm_key, weft_ip_identity>& before,
                               const Rows<weft_lpm_key, weft_ip_identity>& after);

// `before`: policy, endpoints and identities as they are in the maps.
Bridge bridge(const IdentityChange& change, const DesiredRows& before, const DesiredRows& after);

}  // namespace weft::datapath
