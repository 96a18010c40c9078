// Events and tables for the tests of this room.
#pragma once

#include <cstring>
#include <string>

#include "abi/endpoint.h"
#include "flow/enrichment.h"
#include "flow/event.h"

namespace weft::flow::testing {

inline weft_addr addr(const std::string& text) {
  weft_addr result{};
  std::memcpy(&result, IpAddress::parse(text)->bytes().data(), sizeof(result));
  return result;
}

inline __be16 port(std::uint16_t value) { return __builtin_bswap16(value); }

// web-0 (10.0.0.10, endpoint 2, identity 300) to db-0 (10.0.0.20, endpoint 3, identity 301), TCP 6379.
inline weft_event event(weft_event_type type = WEFT_EVENT_NEW) {
  weft_event result{};
  result.time = 5'000'000'000;
  result.saddr = addr("10.0.0.10");
  result.daddr = addr("10.0.0.20");
  result.sport = port(34567);
  result.dport = port(6379);
  result.protocol = 6;
  result.type = static_cast<__u8>(type);
  result.hook = WEFT_HOOK_FROM_POD;
  result.direction = WEFT_INGRESS;
  result.tcp_flags = 2;
  result.src_identity = 300;
  result.dst_identity = 301;
  result.src_endpoint = 2;
  result.dst_endpoint = 3;
  if (type == WEFT_EVENT_DENIED) {
    result.drop_reason = WEFT_DROP_POLICY_DENIED;
    result.ingress_rule = 17;
  }
  return result;
}

inline Enrichment shop() {
  auto party = [](const char* pod, const char* workload, std::uint32_t identity, const char* v4, const char* v6) {
    return Party{PeerKind::pod, "shop", pod, workload, identity, {*IpAddress::parse(v4), *IpAddress::parse(v6)}};
  };
  const auto web = party("web-0", "web", 300, "10.0.0.10", "fd00::10");
  const auto db = party("db-0", "db", 301, "10.0.0.20", "fd00::20");
  AddressTable addresses;
  EndpointTable endpoints;
  for (const auto* pod : {&web, &db}) {
    for (const auto& address : pod->addresses) put(addresses, {}, address, *pod);
    put(endpoints, {}, pod == &web ? 2U : 3U, *pod);
  }
  put(addresses, {}, *IpAddress::parse("10.0.0.1"), Party{PeerKind::host, "", "", "", WEFT_IDENTITY_HOST, {}});
  IdentityTable identities;
  put(identities, {}, 300U, IdentityInfo{{"k8s:app=web", "k8s:tier=front"}});
  put(identities, {}, 301U, IdentityInfo{{"container:name=db", "k8s:app=db"}});
  RuleTable rules;
  put(rules, {}, 16U,
      RuleInfo{"rule", "ingress", "shop/allow-web", 0, {}, "shop.yaml", 12, "shop/allow-web ingress rule 0"});
  put(rules, {}, 17U,
      RuleInfo{"default_deny", "ingress", "", -1, {"shop/db"}, "", 0, "default deny ingress by shop/db"});
  const auto db_service =
      std::make_shared<const ServiceInfo>(ServiceInfo{"shop", "db", "redis", *IpAddress::parse("10.96.0.5"), 6379});
  Enrichment enrichment;
  enrichment.addresses = std::make_shared<const AddressTable>(std::move(addresses));
  enrichment.endpoints = std::make_shared<const EndpointTable>(std::move(endpoints));
  enrichment.identities = std::make_shared<const IdentityTable>(std::move(identities));
  enrichment.rules = std::make_shared<const RuleTable>(std::move(rules));
  enrichment.find_service = [db_service](std::uint32_t id) { return id == 7 ? db_service : nullptr; };
  return enrichment;
}

}  // namespace weft::flow::testing
