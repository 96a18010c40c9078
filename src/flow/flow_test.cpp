// Decode, enrich, store, render and print.
#include <gmock/gmock.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "flow/format.h"
#include "flow/render.h"
#include "flow/store.h"
#include "flow/testing.h"

namespace weft::flow {
namespace {

using nlohmann::json;
using testing::addr;
using ::testing::ElementsAre;
using testing::event;
using ::testing::HasSubstr;
using testing::port;
using testing::shop;

std::span<const std::byte> bytes(const weft_event& value) { return std::as_bytes(std::span(&value, 1)); }

FlowStoreOptions fixed_clock(std::size_t capacity = 4096) {
  // 5 s of CLOCK_MONOTONIC are 2026-01-02T03:04:05Z.
  return {.capacity = capacity, .wall_offset = [] { return Nanoseconds{1767323040} * 1'000'000'000; }};
}

TEST(Event, OddRecordsAreRefused) {
  struct Case {
    const char* name;
    weft_event value;
    std::size_t size;
    const char* message;
  };
  auto with = [](auto change) {
    auto value = event();
    change(value);
    return value;
  };
  const std::vector<Case> cases{
      {"short", event(), 135, "135 bytes"},
      {"empty", event(), 0, "0 bytes"},
      {"type", with([](auto& e) { e.type = 9; }), 136, "type 9"},
      {"no type", with([](auto& e) { e.type = 0; }), 136, "type 0"},
      {"hook", with([](auto& e) { e.hook = 9; }), 136, "hook 9"},
      {"direction", with([](auto& e) { e.direction = 2; }), 136, "direction 2"},
  };
  for (const auto& entry : cases) {
    auto decoded = decode_event(bytes(entry.value).first(entry.size));
    ASSERT_FALSE(decoded) << entry.name;
    EXPECT_THAT(decoded.error().message, HasSubstr(entry.message));
  }
  EXPECT_TRUE(decode_event(bytes(event())));
  EXPECT_EQ(drop_reason_name(1), "policy-denied");
  EXPECT_EQ(drop_reason_name(250), "unknown");
}

TEST(Event, NamesTheEgressGateway) {
  auto known = shop();
  NodeTable nodes;
  put<std::uint32_t, std::string>(nodes, nullptr, 3, "w3");
  known.nodes = std::make_shared<const NodeTable>(std::move(nodes));
  auto out = event();
  out.daddr = addr("8.8.8.8");
  out.dst_endpoint = 0;
  out.dst_identity = WEFT_IDENTITY_WORLD;
  EXPECT_EQ(to_json(enrich(out, known), "w1")["egress_gateway"], nullptr);
  out.egress_node = 3;
  const auto told = to_json(enrich(out, known), "w1");
  EXPECT_EQ(told["egress_gateway"], "w3");
  EXPECT_EQ(destination_text(told), "world 8.8.8.8:6379 via node w3");
  out.egress_node = 4;
  EXPECT_EQ(to_json(enrich(out, known), "w1")["egress_gateway"], "node number 4") << "a node that is gone";
}

TEST(FlowStore, KeepsTheLastAndCountsTheRest) {
  FlowStore store(fixed_clock(4));
  EXPECT_EQ(store.find(0), nullptr);
  EXPECT_EQ(store.find(1), nullptr);
  for (std::uint16_t i = 1; i <= 10; ++i) {
    auto value = event();
    value.sport = port(i);
    ASSERT_TRUE(store.add(bytes(value)));
  }
  EXPECT_EQ(store.first(), 7U);
  EXPECT_EQ(store.next(), 11U);
  EXPECT_EQ(store.find(6), nullptr);
  for (std::uint64_t i = 7; i <= 10; ++i) {
    ASSERT_NE(store.find(i), nullptr);
    EXPECT_EQ(store.find(i)->sequence, i);
    EXPECT_EQ(store.find(i)->event.sport, port(static_cast<std::uint16_t>(i)));
  }
  EXPECT_EQ(store.find(11), nullptr);

  store.add_lost(3);
  store.add_lost(2);
  EXPECT_FALSE(store.add(std::span<const std::byte>()));
  store.add(event());
  EXPECT_EQ(store.find(11)->lost_before, 5U);
  store.add(event());
  EXPECT_EQ(store.find(12)->lost_before, 0U);
  const auto counts = store.counts();
  EXPECT_EQ(counts.seen, 12U);
  EXPECT_EQ(counts.lost, 5U);
  EXPECT_EQ(counts.malformed, 1U);
  EXPECT_EQ(counts.kept, 4U);
}

TEST(FlowStore, NotifiesOncePerBatchAndSurvivesChangesMeanwhile) {
  FlowStore store(fixed_clock());
  int calls = 0;
  int other = 0;
  Subscription second;
  auto first = store.subscribe([&] {
    ++calls;
    if (calls == 1) second = store.subscribe([&] { ++other; });
    if (calls == 2) second.cancel();
  });
  store.notify();
  EXPECT_EQ(calls, 0);
  store.add(event());
  store.add(event());
  store.notify();
  store.notify();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(other, 1);
  store.add_lost(1);
  store.notify();
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(other, 1);
  first.cancel();
  EXPECT_EQ(store.subscribers(), 0U);
}

TEST(FlowStore, SubscriptionMayOutliveIt) {
  Subscription kept;
  {
    FlowStore store(fixed_clock());
    kept = store.subscribe([] {});
  }
  kept.cancel();
}

TEST(Enrichment, LaterChangesDoNotRewriteHistory) {
  FlowStore store(fixed_clock());
  store.set_enrichment(shop());
  store.add(event());
  store.set_enrichment({});
  EXPECT_EQ(to_json(*store.find(1), "n")["source"]["pod"], "web-0");
  store.add(event());
  EXPECT_EQ(to_json(*store.find(2), "n")["source"]["pod"], "");
  EXPECT_EQ(to_json(*store.find(2), "n")["source"]["kind"], "pod");
}

TEST(Enrichment, EqualEntriesAreShared) {
  const auto first = shop();
  IdentityTable next;
  put(next, first.identities.get(), 300U, IdentityInfo{{"k8s:app=web", "k8s:tier=front"}});
  put(next, first.identities.get(), 301U, IdentityInfo{{"k8s:app=other"}});
  EXPECT_EQ(next.at(300), first.identities->at(300));
  EXPECT_NE(next.at(301), first.identities->at(301));
}

TEST(Render, DeniedFlowNamesBothSidesAndTheRule) {
  FlowStore store(fixed_clock());
  store.set_enrichment(shop());
  store.add(event(WEFT_EVENT_DENIED));
  const auto flow = to_json(*store.find(1), "node1");
  const auto expected = json::parse(R"({
    "time": "2026-01-02T03:04:05.000000000Z", "type": "denied", "verdict": "DROPPED",
    "drop_reason": "policy-denied",
    "drop_meaning": "no rule of the policies that select the endpoint allows it",
    "direction": "ingress", "protocol": "TCP", "family": 4,
    "source": {"address": "10.0.0.10", "port": 34567, "identity": 300, "labels": ["k8s:app=web", "k8s:tier=front"],
               "namespace": "shop", "pod": "web-0", "workload": "web", "kind": "pod"},
    "destination": {"address": "10.0.0.20", "port": 6379, "identity": 301,
               "labels": ["container:name=db", "k8s:app=db"],
               "namespace": "shop", "pod": "db-0", "workload": "db", "kind": "pod"},
    "service": null, "backend": null, "egress_gateway": null,
    "rule": {"egress": null,
             "ingress": {"id": 17, "kind": "default_deny", "direction": "ingress", "policy": null, "index": null,
                         "isolating": ["shop/db"], "location": null, "text": "default deny ingress by shop/db"}},
    "deciding": "ingress", "tcp_flags": "SYN", "counters": null, "hook": "from-pod", "node": "node1"})");
  EXPECT_EQ(flow, expected) << flow.dump(2);
}

TEST(Render, ServiceFlowNamesServiceAndBackend) {
  auto value = event();
  value.daddr = addr("10.96.0.5");
  value.backend_addr = addr("10.0.0.20");
  value.backend_port = port(6380);
  value.service_id = 7;
  value.ingress_rule = 16;
  auto resolved = enrich(value, shop());
  const auto flow = to_json(resolved, "n");
  EXPECT_EQ(flow["service"], json::parse(R"({"namespace":"shop","name":"db","port_name":"redis",
                                             "address":"10.96.0.5","port":6379})"));
  EXPECT_EQ(flow["backend"], json::parse(R"({"address":"10.0.0.20","port":6380,"namespace":"shop","pod":"db-0"})"));
  EXPECT_EQ(flow["destination"]["address"], "10.96.0.5");
  EXPECT_EQ(flow["destination"]["pod"], "db-0");
  EXPECT_EQ(flow["rule"]["egress"]["kind"], "no_policy");
  EXPECT_EQ(flow["rule"]["ingress"]["policy"], "shop/allow-web");
  EXPECT_EQ(flow["rule"]["ingress"]["location"]["line"], 12);
  EXPECT_EQ(flow["deciding"], nullptr);
}

TEST(Render, TranslatedSocketFindsItsSourceByEndpoint) {
  auto value = event(WEFT_EVENT_TRANSLATED);
  value.saddr = {};
  value.sport = 0;
  value.daddr = addr("fd00:96::5");
  value.backend_addr = addr("fd00::20");
  value.hook = WEFT_HOOK_SOCKET;
  value.service_id = 99;
  const auto flow = to_json(enrich(value, shop()), "n");
  EXPECT_EQ(flow["source"]["pod"], "web-0");
  EXPECT_EQ(flow["source"]["address"], "fd00::10");
  EXPECT_EQ(flow["family"], 6);
  EXPECT_EQ(flow["service"], nullptr);
  EXPECT_EQ(flow["rule"], json::parse(R"({"egress":null,"ingress":null})"));
}

TEST(Render, EveryHookHasAName) {
  const std::pair<std::uint8_t, const char*> names[] = {{WEFT_HOOK_FROM_POD, "from-pod"},
                                                        {WEFT_HOOK_TO_POD, "to-pod"},
                                                        {WEFT_HOOK_FROM_DEVICE, "from-device"},
                                                        {WEFT_HOOK_TO_DEVICE, "to-device"},
                                                        {WEFT_HOOK_SOCKET, "socket"},
                                                        {WEFT_HOOK_XDP, "xdp"},
                                                        {WEFT_HOOK_FROM_OVERLAY, "from-overlay"},
                                                        {WEFT_HOOK_FROM_HOST, "from-host"}};
  for (const auto& [hook, name] : names) {
    auto value = event(WEFT_EVENT_NEW);
    value.hook = hook;
    EXPECT_TRUE(decode_event(bytes(value))) << name;
    EXPECT_EQ(to_json(enrich(value, shop()), "n")["hook"], name);
  }
}

TEST(Render, PeersThatAreNoPods) {
  struct Case {
    const char* address;
    std::uint32_t identity;
    const char* kind;
    json labels;
  };
  const std::vector<Case> cases{{"10.0.0.1", 1, "host", {"reserved:host"}},
                                {"1.1.1.1", 2, "world", {"reserved:world"}},
                                {"192.0.2.1", 1U << 24, "cidr", json::array()},
                                {"192.0.2.2", 0, "unknown", json::array()}};
  for (const auto& entry : cases) {
    auto value = event();
    value.saddr = addr(entry.address);
    value.src_endpoint = 0;
    value.src_identity = entry.identity;
    const auto flow = to_json(enrich(value, shop()), "n");
    EXPECT_EQ(flow["source"]["kind"], entry.kind);
    EXPECT_EQ(flow["source"]["labels"], entry.labels) << entry.kind;
    EXPECT_EQ(flow["rule"]["egress"], nullptr);
  }
  auto ping = event();
  ping.protocol = 1;
  EXPECT_EQ(to_json(enrich(ping, shop()), "n")["source"]["port"], 0);
  EXPECT_EQ(to_json(enrich(ping, shop()), "n")["tcp_flags"], nullptr);
  EXPECT_EQ(tcp_flags_text(0x12), "SYN,ACK");
}

TEST(Render, RuleNotKnownAnyMoreKeepsItsNumber) {
  auto value = event(WEFT_EVENT_DENIED);
  value.ingress_rule = 4242;
  const auto rule = to_json(enrich(value, shop()), "n")["rule"]["ingress"];
  EXPECT_EQ(rule["id"], 4242);
  EXPECT_THAT(rule["text"].get<std::string>(), HasSubstr("4242"));
}

class Format : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
    store_.set_enrichment(shop());
  }
  json flow(const weft_event& value) {
    store_.add(value);
    return to_json(*store_.find(store_.next() - 1), "n");
  }
  FlowStore store_{fixed_clock()};
};

TEST_F(Format, CompactLines) {
  EXPECT_EQ(compact_line(flow(event(WEFT_EVENT_DENIED)), false),
            "03:04:05.000 shop/web-0:34567 -> shop/db-0:6379 TCP  DROPPED policy-denied  "
            "default deny ingress by shop/db");
  EXPECT_THAT(compact_line(flow(event(WEFT_EVENT_DENIED)), true), HasSubstr("\x1b[31mDROPPED\x1b[0m"));
  EXPECT_EQ(compact_line(flow(event()), false),
            "03:04:05.000 shop/web-0:34567 -> shop/db-0:6379 TCP  FORWARDED new  no policy");

  auto service = event();
  service.daddr = addr("10.96.0.5");
  service.backend_addr = addr("10.0.0.20");
  service.backend_port = port(6380);
  service.service_id = 7;
  service.ingress_rule = 16;
  EXPECT_EQ(compact_line(flow(service), false),
            "03:04:05.000 shop/web-0:34567 -> shop/db-0:6380 via svc/shop/db:6379 TCP  FORWARDED new  "
            "shop/allow-web ingress rule 0");

  auto closed = event(WEFT_EVENT_CLOSED);
  closed.packets = 12;
  closed.bytes = 1500;
  closed.reply_packets = 10;
  closed.reply_bytes = 2'400'000;
  EXPECT_EQ(detail_text(flow(closed)), "closed  sent 1.5 KB in 12 packets, received 2.4 MB in 10");

  auto spoofed = event(WEFT_EVENT_DENIED);
  spoofed.drop_reason = WEFT_DROP_SPOOFED_SOURCE;
  spoofed.ingress_rule = 0;
  EXPECT_EQ(detail_text(flow(spoofed)), "spoofed-source  the source address does not belong to the sending endpoint");
  EXPECT_EQ(compact_line({{"lost", 5}}, false), "             ... 5 events lost");
}

TEST_F(Format, AddressesOfBothFamilies) {
  auto value = event();
  value.src_endpoint = 0;
  value.src_identity = 2;
  value.saddr = addr("2001:db8::1");
  EXPECT_EQ(source_text(flow(value)), "world [2001:db8::1]:34567");
  value.src_identity = 1U << 24;
  EXPECT_EQ(source_text(flow(value)), "[2001:db8::1]:34567");
  value.saddr = addr("192.0.2.7");
  value.protocol = 1;
  EXPECT_EQ(source_text(flow(value)), "192.0.2.7");
}

TEST_F(Format, OddJsonPrintsSomething) {
  for (const auto* text : {"null", "{}", "[]", R"({"source":3,"rule":[],"time":1,"type":"denied"})"}) {
    (void)compact_line(json::parse(text), true);
    EXPECT_EQ(flow_cells(json::parse(text)).size(), flow_columns().size());
  }
}

TEST(Time, ParsesWhatPeopleWrite) {
  const Nanoseconds now = Nanoseconds{1767323045} * 1'000'000'000;
  struct Case {
    const char* text;
    Nanoseconds before_now;
  };
  const std::vector<Case> cases{{"2026-01-02T03:04:05Z", 0},      {"2026-01-02t03:04:04.5z", 500'000'000},
                                {"2026-01-02T05:04:05+02:00", 0}, {"2026-01-01T22:04:05-05:00", 0},
                                {"90s", 90'000'000'000},          {"1h30m", 5'400'000'000'000},
                                {"500ms", 500'000'000},           {"2d", Nanoseconds{172800} * 1'000'000'000}};
  for (const auto& entry : cases) {
    auto time = parse_time(entry.text, now);
    ASSERT_TRUE(time) << entry.text;
    EXPECT_EQ(now - *time, entry.before_now) << entry.text;
  }
  for (const auto* text : {"", "5", "m", "5x", "-5m", "2026-01-02", "2026-02-30T00:00:00Z", "2026-01-02T03:04:05",
                           "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05Zx", "99999999999999d", "9999-01-01T00:00:00Z"})
    EXPECT_FALSE(parse_time(text, now)) << text;
  EXPECT_EQ(format_time(now + 7), "2026-01-02T03:04:05.000000007Z");
}

}  // namespace
}  // namespace weft::flow
