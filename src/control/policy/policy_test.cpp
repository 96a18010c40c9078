#include "control/policy/policy.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "control/policy/room.h"
#include "control/policy/test_world.h"

namespace weft::control {
namespace {

using namespace test;  // NOLINT: the builders are this test's vocabulary

const LabelMap web{{"app", "web"}};
const LabelMap db{{"app", "db"}};

// shop/web, shop/db and dev/web.
struct Shop : World {
  Shop() {
    input.namespaces = {{"shop", {{"team", "sales"}}}};
    pod("shop/web", web, "10.1.0.2", {{"http", 8080, Protocol::tcp}});
    pod("shop/db", db, "10.1.0.3", {{"http", 80, Protocol::tcp}});
    pod("dev/web", web, "10.1.0.4");
  }
  RuleDescription rule_of(const PolicyAnswer& answer) { return *rules.find(answer.rule); }
};

TEST(PolicyPeers, PodsOfOtherNodesArePeersAndNothingIsEnforcedForThem) {
  Shop shop;
  auto& inward = shop.policy("shop/db", db);
  inward.ingress = {{.peers = {pods({{"app", "far"}})}, .ports = {named("http")}}};
  auto& outward = shop.policy("shop/web", web);
  outward.applies_egress = true;
  outward.egress = {{.peers = {pods({{"app", "far"}})}, .ports = {named("metrics")}}};
  shop.policy("shop/far", {{"app", "far"}});
  shop.input.peers.push_back({.pod = {"shop", ""},
                              .identity = 700,
                              .labels = {{"app", "far"}},
                              .ports = {{"metrics", 9090, Protocol::tcp}},
                              .addresses = {}});
  shop.compile();
  const auto allowed = [&](std::string_view pod, weft_direction direction, IdentityId peer, std::uint16_t number) {
    return evaluate(shop.compiled.rows, shop.stand(pod), direction, peer, 0, Protocol::tcp, number).allowed;
  };
  EXPECT_TRUE(allowed("shop/db", WEFT_INGRESS, 700, 80));
  EXPECT_FALSE(allowed("shop/db", WEFT_INGRESS, 700, 81));
  EXPECT_FALSE(allowed("shop/db", WEFT_INGRESS, 701, 80));
  EXPECT_TRUE(allowed("shop/web", WEFT_EGRESS, 700, 9090));
  EXPECT_FALSE(allowed("shop/web", WEFT_EGRESS, 700, 80));
  std::set<std::uint32_t> classes;
  for (const auto& [key, entry] : shop.compiled.rows) classes.insert(key.policy_class);
  EXPECT_EQ(classes.size(), 2U);  // none for a policy that only selects pods elsewhere
}

TEST(PolicyRoom, NamespacesShareItAndTheSmallerClaimsComeFirst) {
  using policy_internal::without_room;
  using Keys = std::set<model::ObjectKey>;
  EXPECT_EQ(without_room({{{"a", "1"}, 5}, {{"b", "1"}, 5}}, 10), Keys());
  EXPECT_EQ(without_room({{{"a", "1"}, 100}, {{"b", "1"}, 5}}, 10), (Keys{{"a", "1"}}));
  EXPECT_EQ(without_room({{{"a", "1"}, 6}, {{"a", "2"}, 2}, {{"b", "1"}, 5}, {{"c", "1"}, 1}}, 10), (Keys{{"a", "1"}}))
      << "what c leaves is for a and b";
  // Many small ones take no more than a large one.
  std::map<model::ObjectKey, std::size_t> claims{{{"shop", "web"}, 40}};
  for (int i = 0; i < 100; ++i) claims[{"evil", fmt::format("p{}", i)}] = 1;
  const auto without = without_room(claims, 100);
  EXPECT_EQ(without.size(), 40U);
  EXPECT_FALSE(without.contains({"shop", "web"}));
  EXPECT_EQ(without_room({{{"a", "1"}, 1}}, 0), (Keys{{"a", "1"}}));
}

TEST(PolicyRoom, APolicyWithoutRoomAllowsNothingAndOthersGoOn) {
  Shop shop;
  shop.policy("shop/db", db).ingress = {{.peers = {pods(web)}, .ports = {port(80)}}};
  auto& big = shop.policy("dev/big", web);
  big.applies_egress = true;
  for (int i = 1; i <= 20; ++i) big.egress.push_back({.peers = {block(fmt::format("192.0.2.{}/32", i))}, .ports = {}});
  for (int i = 1; i <= 20; ++i) big.egress[0].ports.push_back(port(static_cast<std::uint16_t>(1000 * i)));
  const auto db_allows = [&] {
    const auto& pods = shop.input.endpoints;
    const auto from = std::ranges::find(pods, model::ObjectKey{"shop", "web"}, &PolicyEndpoint::pod)->identity;
    return evaluate(shop.compiled.rows, shop.stand("shop/db"), WEFT_INGRESS, from, 0, Protocol::tcp, 80).allowed;
  };
  const auto big_allows = [&] {
    const auto known = shop.cidrs.all().find(cidr("192.0.2.2/32"));
    return known != shop.cidrs.all().end() && evaluate(shop.compiled.rows, shop.stand("dev/web"), WEFT_EGRESS,
                                                       WEFT_IDENTITY_WORLD, known->second, Protocol::tcp, 80)
                                                  .allowed;
  };
  shop.compile();
  EXPECT_TRUE(shop.compiled.closed.empty());
  EXPECT_TRUE(db_allows());
  EXPECT_TRUE(big_allows());
  const auto open = shop.stand("dev/web").policy_class;
  for (const auto in_rows : {true, false}) {
    SCOPED_TRACE(in_rows);
    (in_rows ? shop.input.row_room : shop.input.cidr_room) = 10;
    shop.compile();
    EXPECT_EQ(shop.compiled.closed, (std::set<model::ObjectKey>{{"dev", "big"}}));
    EXPECT_LE(shop.compiled.rows.size(), 10U);
    EXPECT_EQ(shop.compiled.cidrs.empty(), !in_rows);
    EXPECT_TRUE(db_allows());
    EXPECT_FALSE(big_allows());
    EXPECT_TRUE(shop.stand("dev/web").enforced[WEFT_EGRESS]);
    EXPECT_NE(shop.stand("dev/web").policy_class, open) << "packets see the one or the other";
    shop.input.row_room = shop.input.cidr_room = SIZE_MAX;
    shop.compile();
    EXPECT_TRUE(big_allows());
  }
}

TEST(PortPrefixes, CoverExactlyTheRange) {
  using Pairs = std::vector<std::pair<std::uint16_t, unsigned>>;
  EXPECT_EQ(port_prefixes(80, 80), (Pairs{{80, 16}}));
  EXPECT_EQ(port_prefixes(0, 65535), (Pairs{{0, 0}}));
  EXPECT_EQ(port_prefixes(8000, 8003), (Pairs{{8000, 14}}));
  EXPECT_TRUE(port_prefixes(2, 1).empty());
  EXPECT_EQ(port_prefixes(65535, 65535), (Pairs{{65535, 16}}));
  for (const auto& [first, last] : std::vector<std::pair<int, int>>{{1, 65535}, {1, 65534}, {1000, 32767}, {3, 9}}) {
    const auto prefixes = port_prefixes(static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last));
    EXPECT_LE(prefixes.size(), 30U);
    std::vector<int> covered(65536, 0);
    for (const auto& [start, length] : prefixes)
      for (unsigned i = 0; i < 1U << (16 - length); ++i) ++covered[start + i];
    for (int number = 0; number < 65536; ++number)
      ASSERT_EQ(covered[static_cast<std::size_t>(number)], number >= first && number <= last) << number;
  }
}

TEST(RuleTable, IdsAreStableAndRestored) {
  RuleTable table;
  RuleDescription rule{.kind = RuleDescription::Kind::rule, .policy = {"shop", "allow"}, .index = 2};
  const auto id = table.id(rule);
  EXPECT_EQ(id, RuleTable::first);
  EXPECT_EQ(table.id(rule), id);
  EXPECT_EQ(table.find(id)->to_string(), "shop/allow ingress rule 2");
  const RuleDescription deny{.kind = RuleDescription::Kind::default_deny,
                             .direction = WEFT_EGRESS,
                             .isolating = {{"shop", "a"}, {"shop", "b"}}};
  EXPECT_EQ(table.find(table.id(deny))->to_string(), "default deny egress by shop/a, shop/b");
  EXPECT_EQ(table.find(0)->kind, RuleDescription::Kind::no_policy);
  EXPECT_EQ(table.find(1)->kind, RuleDescription::Kind::host_allowed);
  EXPECT_EQ(table.find(999), nullptr);

  RuleTable restarted(table.all());
  EXPECT_EQ(restarted.id(deny), table.id(deny));
  rule.index = 3;
  EXPECT_EQ(restarted.id(rule), RuleTable::first + 2);
}

TEST(RuleTable, ForgetsWhatHasLongBeenUnusedAndNeverGivesItsNumberAgain) {
  using std::chrono::hours;
  const RuleTable::Time start{hours(1000)};
  const auto rule = [](int index) {
    return RuleDescription{.kind = RuleDescription::Kind::rule, .policy = {"shop", "p"}, .index = index};
  };
  RuleTable table;
  const auto first = table.id(rule(0));
  const auto second = table.id(rule(1));
  table.settle(start);
  EXPECT_EQ(table.forget_unused(start + hours(9)), 0U) << "both are in use";

  table.begin_use();
  (void)table.id(rule(1));
  EXPECT_EQ(table.forget_unused(start + hours(9)), 0U) << "the maps may still hold the rows before";
  table.settle(start + hours(1));
  table.settle(start + hours(2));
  EXPECT_EQ(table.forget_unused(start), 0U);
  const auto revision = table.revision();
  EXPECT_EQ(table.forget_unused(start + hours(1)), 1U) << "counted from when it first was unused";
  EXPECT_GT(table.revision(), revision);
  EXPECT_EQ(table.find(first), nullptr);
  EXPECT_NE(table.find(second), nullptr);

  table.begin_use();
  EXPECT_EQ(table.id(rule(0)), second + 1) << "the same rule later is another number";
  table.settle(start + hours(3));
  table.begin_use();
  (void)table.id(rule(0));
  table.settle(start + hours(4));
  EXPECT_EQ(table.forget_unused(start + hours(3)), 1U) << "unused once, used again, unused again";
  table.begin_use();
  table.settle(start + hours(5));
  EXPECT_EQ(table.forget_unused(start + hours(9)), 0U) << "the latest number";
  EXPECT_EQ(RuleTable(table.all()).id(rule(7)), second + 2) << "so a restart counts on";
}

TEST(RuleTable, KeepsWhatIsUsedAgain) {
  const RuleTable::Time start{std::chrono::hours(1000)};
  Shop world;
  world.policy("shop/a", db).ingress = {{}};
  world.policy("shop/b", db).ingress = {{}};
  world.compile();
  world.rules.settle(start);
  world.remove_policy("shop/a");
  world.compile();
  world.rules.settle(start);
  world.policy("shop/a", db).ingress = {{}};
  world.compile();
  const auto all = world.rules.all().size();
  EXPECT_EQ(world.rules.forget_unused(start), 0U) << "a is in use again, though not yet in the maps";
  world.rules.settle(start);
  EXPECT_EQ(world.rules.forget_unused(start), 0U) << "and the default deny of b alone has the latest number";
  EXPECT_EQ(world.rules.all().size(), all);
  world.remove_policy("shop/b");
  world.compile();
  world.rules.settle(start);
  EXPECT_EQ(world.rules.forget_unused(start), 3U) << "b's rule, both default denies with b";
}

TEST(PolicyCompiler, UnselectedPodsAreNotEnforced) {
  Shop world;
  world.compile();
  EXPECT_EQ(world.stand("shop/web"), EndpointPolicy{});
  EXPECT_TRUE(world.compiled.rows.empty());
  EXPECT_TRUE(world.ingress("dev/web", "shop/web", 1));
}

TEST(PolicyCompiler, EmptySelectorWithoutRulesIsDefaultDeny) {
  Shop world;
  world.policy("shop/deny");
  world.compile();
  EXPECT_FALSE(world.ingress("shop/web", "shop/db", 80));
  EXPECT_FALSE(world.ingress("192.0.2.1", "shop/db", 80));
  EXPECT_TRUE(world.egress("shop/db", "192.0.2.1", 80)) << "only Ingress is isolated";
  EXPECT_TRUE(world.ingress("shop/web", "dev/web", 80)) << "another namespace";
  const auto rule = world.rule_of(world.ask(WEFT_INGRESS, "shop/db", "shop/web", 80));
  EXPECT_EQ(rule.to_string(), "default deny ingress by shop/deny");
  EXPECT_TRUE(world.compiled.rows.empty());
}

TEST(PolicyCompiler, PeersByPodNamespaceAndBoth) {
  Shop world;
  auto& allow = world.policy("shop/allow", db);
  allow.ingress = {{.peers = {pods(web)}, .ports = {port(80)}}};
  world.compile();
  EXPECT_TRUE(world.ingress("shop/web", "shop/db", 80));
  EXPECT_FALSE(world.ingress("shop/web", "shop/db", 81));
  EXPECT_FALSE(world.ingress("shop/web", "shop/db", 80, Protocol::udp));
  EXPECT_FALSE(world.ingress("dev/web", "shop/db", 80)) << "podSelector alone stays in the namespace";
  EXPECT_EQ(world.rule_of(world.ask(WEFT_INGRESS, "shop/db", "shop/web", 80)).to_string(), "shop/allow ingress rule 0");

  allow.ingress[0].peers = {namespaces({{"kubernetes.io/metadata.name", "dev"}})};
  world.compile();
  EXPECT_TRUE(world.ingress("dev/web", "shop/db", 80)) << "dev has no Namespace object, only its name";
  EXPECT_FALSE(world.ingress("shop/web", "shop/db", 80));

  allow.ingress[0].peers = {{.pod_selector = labels_are(db), .namespace_selector = labels_are({{"team", "sales"}})}};
  world.compile();
  EXPECT_TRUE(world.ingress("shop/db", "shop/db", 80));
  EXPECT_FALSE(world.ingress("shop/web", "shop/db", 80));

  allow.ingress[0].peers = {model::PolicyPeer{}};
  world.compile();
  EXPECT_FALSE(world.ingress("shop/db", "shop/db", 80)) << "a peer that says nothing matches nobody";
}

TEST(PolicyCompiler, RulesWithoutPeersOrPorts) {
  Shop world;
  auto& allow = world.policy("shop/allow", db);
  allow.ingress = {{.peers = {pods(web)}}, {.ports = {every_port(Protocol::udp)}}};
  world.compile();
  EXPECT_TRUE(world.ingress("shop/web", "shop/db", 1));
  EXPECT_TRUE(world.ingress("shop/web", "shop/db", 0, Protocol::icmp)) << "no ports: every protocol";
  EXPECT_TRUE(world.ingress("192.0.2.1", "shop/db", 53, Protocol::udp));
  EXPECT_FALSE(world.ingress("192.0.2.1", "shop/db", 0, Protocol::icmp));
  EXPECT_FALSE(world.ingress("192.0.2.1", "shop/db", 53));
  EXPECT_TRUE(world.ingress("shop/web", "shop/db", 132, Protocol::sctp));
}

TEST(PolicyCompiler, PortRanges) {
  Shop world;
  world.policy("shop/allow", db).ingress = {{.ports = {port(1000, Protocol::tcp, 2047)}}};
  world.compile();
  for (const auto& [number, allowed] : std::vector<std::pair<int, bool>>{
           {999, false}, {1000, true}, {1500, true}, {2047, true}, {2048, false}, {0, false}, {65535, false}})
    EXPECT_EQ(world.ingress("192.0.2.1", "shop/db", static_cast<std::uint16_t>(number)), allowed) << number;
}

TEST(PolicyCompiler, BlocksAndExceptionsMeetOtherPoliciesBlocks) {
  Shop world;
  world.policy("shop/allow", db).ingress = {{.peers = {block("10.0.0.0/8", {"10.2.0.0/16"})}}};
  world.policy("dev/other").ingress = {{.peers = {block("10.1.0.0/24"), block("10.2.3.0/24"), block("::/0")}}};
  world.compile();
  EXPECT_TRUE(world.ingress("10.9.0.1", "shop/db", 80));
  EXPECT_TRUE(world.ingress("10.1.0.99", "shop/db", 80)) << "inside a narrower block of another policy";
  EXPECT_TRUE(world.ingress("shop/web", "shop/db", 80)) << "pods have addresses too";
  EXPECT_FALSE(world.ingress("10.2.9.9", "shop/db", 80));
  EXPECT_FALSE(world.ingress("10.2.3.4", "shop/db", 80)) << "narrower than the exception";
  EXPECT_FALSE(world.ingress("11.0.0.1", "shop/db", 80));
  EXPECT_TRUE(world.ingress("2001:db8::1", "dev/web", 80));
  EXPECT_FALSE(world.ingress("11.0.0.1", "dev/web", 80)) << "::/0 is no IPv4";
  EXPECT_EQ(world.compiled.cidrs.size(), 5U);
}

TEST(PolicyCompiler, NamedPortsOfTheSelectedPod) {
  Shop world;
  world.policy("shop/allow").ingress = {{.ports = {named("http")}}};
  world.compile();
  EXPECT_TRUE(world.ingress("dev/web", "shop/web", 8080));
  EXPECT_FALSE(world.ingress("dev/web", "shop/web", 80));
  EXPECT_TRUE(world.ingress("dev/web", "shop/db", 80));
  EXPECT_FALSE(world.ingress("dev/web", "shop/db", 8080));
  EXPECT_FALSE(world.ingress("dev/web", "shop/db", 80, Protocol::udp));
  EXPECT_NE(world.stand("shop/web").policy_class, world.stand("shop/db").policy_class);
}

TEST(PolicyCompiler, NamedPortsOfTheDestination) {
  Shop world;
  world.pod("shop/web-2", web, "10.1.0.5", {{"http", 9090, Protocol::tcp}});
  auto& allow = world.policy("dev/allow");
  allow.applies_ingress = false;
  allow.applies_egress = true;
  allow.egress = {{.peers = {namespaces({})}, .ports = {named("http")}}};
  const auto check = [&] {
    world.compile();
    EXPECT_TRUE(world.egress("dev/web", "shop/web", 8080));
    EXPECT_FALSE(world.egress("dev/web", "shop/web", 9090));
    EXPECT_TRUE(world.egress("dev/web", "shop/web-2", 9090));
    EXPECT_FALSE(world.egress("dev/web", "shop/web-2", 8080)) << "same labels, other ports";
    EXPECT_FALSE(world.egress("dev/web", "10.1.0.77", 8080)) << "no pod, no names";
  };
  check();
  allow.egress[0].peers.clear();
  check();
  allow.egress[0].peers = {block("10.1.0.0/16")};
  check();
  allow.egress[0].peers = {block("10.1.0.0/16", {"10.1.0.5/32"})};
  world.compile();
  EXPECT_TRUE(world.egress("dev/web", "shop/web", 8080));
  EXPECT_FALSE(world.egress("dev/web", "shop/web-2", 9090));
}

TEST(PolicyCompiler, PodsOfOneIdentityThatDisagreeAreNotOverAllowed) {
  Shop world;
  auto& odd = world.pod("shop/web-2", web, "10.1.0.5", {{"http", 9090, Protocol::tcp}});
  odd.identity = world.endpoint("shop/web").identity;
  world.endpoint("dev/web").identity = odd.identity;
  auto& allow = world.policy("shop/allow", db);
  allow.applies_egress = true;
  allow.ingress = {{.peers = {pods(web)}}};
  allow.egress = {{.ports = {named("http")}}};
  world.compile();
  EXPECT_FALSE(world.ingress("shop/web", "shop/db", 80)) << "dev/web has the same number";
  EXPECT_FALSE(world.egress("shop/db", "shop/web", 9090));
  EXPECT_FALSE(world.egress("shop/db", "shop/web-2", 8080));
}

TEST(PolicyCompiler, ReservedIdentitiesAreNoSelectablePeers) {
  Shop world;
  world.endpoint("shop/web").identity = WEFT_IDENTITY_WORLD;
  world.endpoint("dev/web").identity = 0;
  world.policy("shop/allow", db).ingress = {{.peers = {namespaces({})}}};
  world.compile();
  EXPECT_FALSE(world.ingress("192.0.2.1", "shop/db", 80));
  EXPECT_TRUE(world.ingress("shop/db", "shop/db", 80));
}

TEST(PolicyCompiler, FirstRuleNamesASharedKey) {
  Shop world;
  world.policy("shop/b", db).ingress = {{.ports = {port(80)}}};
  world.policy("shop/a", db).ingress = {{.peers = {pods(db)}}, {.ports = {port(80)}}, {.ports = {port(80)}}};
  world.compile();
  EXPECT_EQ(world.rule_of(world.ask(WEFT_INGRESS, "shop/db", "shop/web", 80)).to_string(), "shop/a ingress rule 1");
  EXPECT_EQ(world.rule_of(world.ask(WEFT_INGRESS, "shop/db", "shop/web", 81)).to_string(),
            "default deny ingress by shop/a, shop/b");
}

TEST(PolicyCompiler, ClassesAreSharedAndStable) {
  Shop world;
  world.pod("shop/web-2", {{"app", "web"}, {"pod", "2"}}, "10.1.0.5");
  world.policy("shop/deny").ingress = {{.peers = {pods(web)}}};
  world.compile();
  const auto before = world.compiled;
  const auto number = world.stand("shop/web").policy_class;
  EXPECT_NE(number, 0U);
  EXPECT_EQ(world.stand("shop/web-2").policy_class, number);
  EXPECT_EQ(world.stand("shop/db").policy_class, number);

  world.pod("shop/web-3", {{"app", "web"}, {"pod", "3"}}, "10.1.0.6");
  world.compile();
  EXPECT_EQ(world.stand("shop/web").policy_class, number) << "a new peer only adds rows";
  EXPECT_EQ(world.compiled.rows.size(), before.rows.size() + 1);

  world.policy("shop/deny").ingress = {{.peers = {pods(web)}, .ports = {port(80)}}};
  world.compile();
  const auto edited = world.stand("shop/web").policy_class;
  EXPECT_NE(edited, number) << "an edited policy switches its endpoints to another class";
  world.policy("shop/deny");
  world.compile();
  EXPECT_EQ(world.stand("shop/web").policy_class, number) << "unused for a compile: free";
  world.remove_policy("shop/deny");
  world.compile();
  EXPECT_EQ(world.stand("shop/web").policy_class, 0U);
  EXPECT_TRUE(world.compiled.rows.empty());
}

TEST(PolicyCompiler, RestoredClassesKeepTheirNumbers) {
  Shop world;
  world.policy("shop/deny", db);
  world.compile();
  const auto number = world.stand("shop/db").policy_class;
  Shop restarted;
  restarted.compiler.restore(world.compiler.classes(), 40);
  restarted.policy("shop/deny", db);
  restarted.policy("dev/deny");
  restarted.compile();
  EXPECT_EQ(restarted.stand("shop/db").policy_class, number);
  EXPECT_EQ(restarted.stand("dev/web").policy_class, 41U);
}

TEST(PolicyCompiler, TheRevisionOfClassesGrowsWithThemOnly) {
  Shop world;
  world.policy("shop/deny", db);
  world.compile();
  const auto first = world.compiler.class_revision();
  world.pod("shop/web-3", {{"app", "web"}, {"pod", "3"}}, "10.1.0.6");
  world.compile();
  EXPECT_EQ(world.compiler.class_revision(), first) << "a peer adds rows, no class";
  world.policy("shop/deny", db).ingress = {{.peers = {pods(web)}}};
  world.compile();
  const auto edited = world.compiler.class_revision();
  EXPECT_GT(edited, first) << "as many as before, another one";
  world.policy("shop/more", web);
  world.compile();
  const auto added = world.compiler.class_revision();
  EXPECT_GT(added, edited);
  world.remove_policy("shop/more");
  world.compile();
  const auto removed = world.compiler.class_revision();
  EXPECT_GT(removed, added);
  world.compiler.restore({}, 9);
  EXPECT_GT(world.compiler.class_revision(), removed);
}

TEST(Evaluate, FollowsTheStatedLookupOrder) {
  PolicyRows rows;
  const auto add = [&](IdentityId identity, std::uint16_t number, unsigned length, Protocol protocol, RuleId rule,
                       weft_policy_verdict verdict = WEFT_POLICY_ALLOW) {
    rows[{.policy_class = 1,
          .identity = identity,
          .port = number,
          .protocol = static_cast<std::uint8_t>(protocol),
          .direction_prefix = static_cast<std::uint8_t>(WEFT_EGRESS << 7 | length)}] = {
        .rule = rule, .verdict = static_cast<__u8>(verdict)};
  };
  EndpointPolicy endpoint{.policy_class = 1, .enforced = {false, true}, .default_rule = {0, 99}};
  const auto ask = [&](IdentityId peer, IdentityId cidr_identity, Protocol protocol, std::uint16_t number) {
    return evaluate(rows, endpoint, WEFT_EGRESS, peer, cidr_identity, protocol, number).rule;
  };
  add(300, 0, 0, Protocol::any, 1);
  add(300, 0, 0, Protocol::tcp, 2);
  add(300, 80, 16, Protocol::tcp, 3);
  add(300, 80, 12, Protocol::tcp, 4);
  add(400, 80, 16, Protocol::tcp, 5);
  add(0, 80, 16, Protocol::tcp, 6);
  add(0, 0, 0, Protocol::any, 7, WEFT_POLICY_DENY);
  endpoint.prefix_mask[WEFT_EGRESS] = 1U << 16 | 1U << 12 | 1U;
  EXPECT_EQ(ask(300, 400, Protocol::tcp, 80), 3U);
  EXPECT_EQ(ask(300, 400, Protocol::tcp, 81), 4U);
  EXPECT_EQ(ask(300, 400, Protocol::tcp, 443), 2U);
  EXPECT_EQ(ask(300, 400, Protocol::udp, 443), 1U);
  EXPECT_EQ(ask(301, 400, Protocol::tcp, 80), 5U);
  EXPECT_EQ(ask(301, 401, Protocol::tcp, 80), 6U);
  EXPECT_EQ(ask(301, 401, Protocol::udp, 80), 7U);
  EXPECT_FALSE(evaluate(rows, endpoint, WEFT_EGRESS, 301, 0, Protocol::udp, 80).allowed);
  endpoint.prefix_mask[WEFT_EGRESS] = 1U << 16;
  EXPECT_EQ(ask(300, 400, Protocol::tcp, 81), 99U) << "lengths outside the mask are not looked up";
  EXPECT_TRUE(evaluate(rows, endpoint, WEFT_INGRESS, 300, 0, Protocol::tcp, 81).allowed);
}

}  // namespace
}  // namespace weft::control
