#include "flow/enrichment.h"

#include <array>
#include <cstring>

#include "abi/endpoint.h"
#include "flow/event.h"
#include "flow/flow.h"

namespace weft::flow {
namespace {

template <class Key, class Value>
std::shared_ptr<const Value> find(const std::shared_ptr<const Table<Key, Value>>& table, const Key& key) {
  if (!table) return nullptr;
  auto found = table->find(key);
  return found == table->end() ? nullptr : found->second;
}

// Reserved identities have names even before the agent has handed any table over.
std::shared_ptr<const IdentityInfo> reserved_labels(std::uint32_t identity) {
  auto make = [](const char* label) { return std::make_shared<const IdentityInfo>(IdentityInfo{{label}}); };
  static const auto host = make("reserved:host");
  static const auto world = make("reserved:world");
  static const auto unmanaged = make("reserved:unmanaged");
  static const auto init = make("reserved:init");
  static const auto remote_node = make("reserved:remote-node");
  switch (identity) {
    case WEFT_IDENTITY_HOST:
      return host;
    case WEFT_IDENTITY_WORLD:
      return world;
    case WEFT_IDENTITY_UNMANAGED:
      return unmanaged;
    case WEFT_IDENTITY_INIT:
      return init;
    case WEFT_IDENTITY_REMOTE_NODE:
      return remote_node;
    default:
      return nullptr;
  }
}

PeerKind kind_of(std::uint32_t identity) {
  if (identity == WEFT_IDENTITY_HOST) return PeerKind::host;
  if (identity == WEFT_IDENTITY_WORLD) return PeerKind::world;
  if (identity >= WEFT_IDENTITY_FIRST_CIDR) return PeerKind::cidr;
  if (identity >= WEFT_IDENTITY_FIRST && identity <= WEFT_IDENTITY_LAST) return PeerKind::pod;
  return PeerKind::unknown;
}

// The endpoint id is exact where the event has one: an address may have found a new owner.
std::shared_ptr<const Party> party_of(const Enrichment& enrichment, std::uint32_t endpoint, const IpAddress& address) {
  if (endpoint != 0)
    if (auto party = find(enrichment.endpoints, endpoint)) return party;
  if (auto party = find(enrichment.addresses, address)) return party;
  return enrichment.find_elsewhere ? enrichment.find_elsewhere(address) : nullptr;
}

Side side_of(const Enrichment& enrichment, std::uint32_t identity, std::shared_ptr<const Party> party,
             std::uint32_t endpoint) {
  Side side;
  side.party = std::move(party);
  side.identity = identity;
  if (side.identity == 0 && side.party) side.identity = side.party->identity;
  if (side.identity == 0 && endpoint == WEFT_ENDPOINT_ID_HOST) side.identity = WEFT_IDENTITY_HOST;
  side.labels = find(enrichment.identities, side.identity);
  if (!side.labels) side.labels = reserved_labels(side.identity);
  side.kind = side.party && side.party->kind != PeerKind::unknown ? side.party->kind : kind_of(side.identity);
  return side;
}

void fill_source_address(weft_event& event, const Party& party) {
  const bool v4 = address_of(event.daddr).is_v4();
  for (const auto& address : party.addresses)
    if (address.is_v4() == v4) {
      std::memcpy(&event.saddr, address.bytes().data(), sizeof(event.saddr));
      return;
    }
}

}  // namespace

std::string_view to_string(PeerKind kind) {
  constexpr std::array<std::string_view, 5> names{"unknown", "pod", "host", "world", "cidr"};
  return names[static_cast<std::size_t>(kind)];
}

Flow enrich(const weft_event& event, const Enrichment& enrichment) {
  Flow flow;
  flow.event = event;
  auto source = party_of(enrichment, event.src_endpoint, address_of(event.saddr));
  if (source && event.type == WEFT_EVENT_TRANSLATED && is_zero(event.saddr)) fill_source_address(flow.event, *source);

  std::shared_ptr<const Party> destination;
  if (is_zero(event.backend_addr)) {
    destination = party_of(enrichment, event.dst_endpoint, address_of(event.daddr));
  } else {
    flow.backend = party_of(enrichment, event.dst_endpoint, address_of(event.backend_addr));
    destination = flow.backend;
  }
  flow.source = side_of(enrichment, event.src_identity, std::move(source), event.src_endpoint);
  flow.destination = side_of(enrichment, event.dst_identity, std::move(destination), event.dst_endpoint);
  if (event.service_id != 0 && enrichment.find_service) flow.service = enrichment.find_service(event.service_id);
  if (event.egress_node != 0) flow.egress_node = find(enrichment.nodes, std::uint32_t{event.egress_node});
  if (event.egress_rule != 0) flow.egress_rule = find(enrichment.rules, event.egress_rule);
  if (event.ingress_rule != 0) flow.ingress_rule = find(enrichment.rules, event.ingress_rule);
  return flow;
}

}  // namespace weft::flow
