#include "datapath/bridge.h"

#include <algorithm>
#include <map>

namespace weft::datapath {
namespace {

using Prefixes = Rows<weft_lpm_key, weft_ip_identity>;
// identity that is known -> those that stand for the same addresses
using StandIns = std::map<std::uint32_t, std::vector<std::uint32_t>>;

// The widest prefix of each CIDR identity: the CIDR itself, or it has none of its own there.
std::map<std::uint32_t, weft_lpm_key> widest_prefixes(const Prefixes& prefixes) {
  std::map<std::uint32_t, weft_lpm_key> result;
  for (const auto& [key, row] : prefixes) {
    if (row.identity < WEFT_IDENTITY_FIRST_CIDR) continue;
    const auto [entry, added] = result.try_emplace(row.identity, key);
    if (!added && key.prefix_length < entry->second.prefix_length) entry->second = key;
  }
  return result;
}

bool contains(const weft_lpm_key& outer, const weft_lpm_key& inner) {
  if (outer.prefix_length > inner.prefix_length) return false;
  const auto a = from_abi(outer.addr).bytes();
  const auto b = from_abi(inner.addr).bytes();
  const auto whole = outer.prefix_length / 8;
  if (!std::equal(a.begin(), a.begin() + whole, b.begin())) return false;
  const auto rest = outer.prefix_length % 8;
  return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

std::uint32_t identity_of(const weft_lpm_key& prefix, const Prefixes& prefixes) {
  std::uint32_t identity = WEFT_IDENTITY_WORLD;
  std::uint32_t longest = 0;
  for (const auto& [key, row] : prefixes) {
    if (key.prefix_length < longest || !contains(key, prefix)) continue;
    longest = key.prefix_length;
    identity = row.identity;
  }
  return identity;
}

// What addresses of `strangers`, identities of `their`, are called in `other`.
StandIns stand_ins(const std::set<std::uint32_t>& strangers, const Prefixes& their, const Prefixes& other) {
  StandIns result;
  const auto prefixes = widest_prefixes(their);
  for (const auto stranger : strangers) result[identity_of(prefixes.at(stranger), other)].push_back(stranger);
  return result;
}

std::set<std::uint32_t> classes_of(const Rows<weft_addr, weft_endpoint>& endpoints) {
  std::set<std::uint32_t> classes;
  for (const auto& [address, row] : endpoints) classes.insert(row.policy_class);
  return classes;
}

// A class of both knows both kinds of identities by itself: its rows are added before the switch.
void add_rows(const std::set<std::uint32_t>& classes, const std::set<std::uint32_t>& except, const StandIns& stand_ins,
              const Rows<weft_policy_key, weft_policy_entry>& policy, Bridge& out) {
  if (stand_ins.empty()) return;
  for (const auto& [key, entry] : policy) {
    const auto found = stand_ins.find(key.identity);
    if (found == stand_ins.end() || !classes.contains(key.policy_class) || except.contains(key.policy_class)) continue;
    for (const auto stranger : found->second) {
      auto copy = key;
      copy.identity = stranger;
      out.policy.insert_or_assign(copy, entry);
    }
  }
}

}  // namespace

IdentityChange identity_change(const Prefixes& before, const Prefixes& after) {
  const auto old_ones = widest_prefixes(before);
  const auto new_ones = widest_prefixes(after);
  IdentityChange change;
  for (const auto& [identity, prefix] : new_ones)
    if (!old_ones.contains(identity)) change.fresh.insert(identity);
  for (const auto& [identity, prefix] : old_ones)
    if (!new_ones.contains(identity)) change.gone.insert(identity);
  return change;
}

Bridge bridge(const IdentityChange& change, const DesiredRows& before, const DesiredRows& after) {
  Bridge result;
  const auto old_classes = classes_of(before.endpoints);
  const auto new_classes = classes_of(after.endpoints);
  add_rows(old_classes, new_classes, stand_ins(change.fresh, after.identities, before.identities), before.policy,
           result);
  add_rows(new_classes, old_classes, stand_ins(change.gone, before.identities, after.identities), after.policy, result);

  // Pods have the identity of their CIDR in their own row: a fresh one comes before any class
  // changes, one that goes leaves after all have.
  auto first = after.endpoints;
  auto second = after.endpoints;
  bool early = false;
  bool late = false;
  for (const auto& [address, row] : before.endpoints) {
    auto& kept = first[address] = row;
    const auto wanted = after.endpoints.find(address);
    if (wanted == after.endpoints.end() || wanted->second.cidr_identity == row.cidr_identity) continue;
    if (change.gone.contains(row.cidr_identity)) {
      second[address].cidr_identity = row.cidr_identity;
      late = true;
    } else {
      kept.cidr_identity = wanted->second.cidr_identity;
      early = true;
    }
  }
  if (early) result.endpoints.push_back(std::move(first));
  if (late) result.endpoints.push_back(std::move(second));
  result.endpoints.push_back(after.endpoints);
  return result;
}

}  // namespace weft::datapath
