#include "agent/elsewhere.h"

#include <algorithm>
#include <set>

#include "abi/endpoint.h"

namespace weft::agent {

Elsewhere compile_elsewhere(const std::vector<control::PolicyEndpoint>& pods, const control::PolicyInput& here,
                            const control::RuleTable& rules, const control::CidrIdentities& cidrs) {
  Elsewhere result{.input = here, .rules = rules, .cidrs = cidrs, .policy = {}};
  auto& input = result.input;
  std::set<control::IdentityId> known;
  for (const auto& peer : input.peers) known.insert(peer.identity);
  for (auto& endpoint : input.endpoints)
    if (known.insert(endpoint.identity).second) input.peers.push_back(std::move(endpoint));
  input.endpoints = pods;
  std::ranges::sort(input.endpoints, {}, &control::PolicyEndpoint::pod);
  control::PolicyCompiler compiler(result.rules, result.cidrs);
  result.policy = compiler.compile(input);
  return result;
}

control::ExplainQuery seen_elsewhere(control::ExplainQuery query, const Elsewhere& elsewhere, bool target_elsewhere,
                                     bool translated) {
  for (auto* side : {&query.from, &query.to}) {
    if (!side->address) continue;
    const bool block = side->cidr_identity != 0 && side->identity == side->cidr_identity;
    side->cidr_identity = elsewhere.cidrs.narrowest(*side->address);
    if (block || side->identity == WEFT_IDENTITY_WORLD)
      side->identity = side->cidr_identity != 0 ? side->cidr_identity : control::IdentityId{WEFT_IDENTITY_WORLD};
  }
  if (target_elsewhere && (query.from.is_host || translated)) {
    query.from.is_host = false;
    query.from.identity = WEFT_IDENTITY_REMOTE_NODE;
    query.from.cidr_identity = 0;
  }
  return query;
}

}  // namespace weft::agent
