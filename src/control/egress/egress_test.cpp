#include "control/egress/egress.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace weft::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
Cidr cidr(const char* text) { return Cidr::parse(text).value(); }
const auto floating = ip("192.0.2.100");

model::LabelSelector matching(const std::string& key, const std::string& value) {
  return {{{key, model::LabelRequirement::Operator::in, {value}}}};
}

// Nodes a (this one), b and c, label role=gateway at b and c; identities 300 (app=bank) and 301 (app=web) of namespace
// shop, 302 (app=bank) of namespace other.
class EgressTest : public ::testing::Test {
 protected:
  EgressTest() {
    add_node("a", 0, "192.0.2.1", "2001:db8::1");
    add_node("b", 2, "192.0.2.2", "2001:db8::2");
    add_node("c", 3, "192.0.2.3", "2001:db8::3");
    nodes_["a"].self = true;
    nodes_["b"].labels = nodes_["c"].labels = {{"role", "gateway"}};
    for (const auto& [id, space, app] :
         {std::tuple{300U, "shop", "bank"}, {301U, "shop", "web"}, {302U, "other", "bank"}})
      identities_[id] = {id, identity_labels(space, {{"app", app}})};
    addresses_ = {ip("192.0.2.1"), ip("2001:db8::1")};
    uplinks_ = {{"eth0", 4, ip("192.0.2.1"), ip("2001:db8::1"), {cidr("192.0.2.0/24"), cidr("2001:db8::/64")}},
                {"eth1", 5, ip("198.51.100.1"), std::nullopt, {cidr("198.51.100.0/24")}}};
  }
  void add_node(const char* name, std::uint32_t number, const char* v4, const char* v6) {
    nodes_[name] = {.underlay = {ip(v4), ip(v6)}, .number = number, .alive = true};
  }
  model::EgressGateway& gateway(const std::string& name) {
    auto& made = gateways_[{"", name}];
    if (!made.gateways.empty()) return made;
    made.meta.name = name;
    made.selectors = {{.pod_selector = matching("app", "bank"), .namespace_selector = {}}};
    made.destinations = {cidr("0.0.0.0/0")};
    made.gateways = {by_label()};
    return made;
  }
  static model::EgressNodes by_label() { return {.node = {}, .node_selector = matching("role", "gateway")}; }
  static model::EgressNodes by_name(const std::string& node) { return {.node = node}; }
  EgressPlan plan() {
    return plan_egress({.gateways = gateways_,
                        .identities = identities_,
                        .namespaces = namespaces_,
                        .nodes = nodes_,
                        .holders = holders_,
                        .refused = refused_,
                        .addresses = addresses_,
                        .uplinks = uplinks_,
                        .room = room_});
  }
  // "2 3 /1 192.0.2.1": the gateways in order, how many take new flows, this node's address.
  static std::string text_of(const weft_egress& row) {
    if ((row.flags & WEFT_EGRESS_EXCLUDED) != 0) return "excluded";
    std::string text;
    for (int i = 0; i < row.count; ++i)
      text += row.node[i] == WEFT_EGRESS_HERE ? "here " : fmt::format("{} ", row.node[i]);
    text += fmt::format("/{}", row.spread);
    if ((row.flags & WEFT_EGRESS_GATEWAY) == 0) return text;
    IpAddress::Bytes bytes{};
    std::memcpy(bytes.data(), &row.address, sizeof row.address);
    text += " " + IpAddress(bytes).to_string();
    return row.ifindex == 0 ? text : text + fmt::format("%{}", row.ifindex);
  }
  std::string row(const EgressPlan& plan, IdentityId identity, const char* destination) {
    const auto found = plan.rows.find({identity, cidr(destination)});
    return found == plan.rows.end() ? "none" : text_of(found->second.row);
  }
  std::string row(IdentityId identity = 300, const char* destination = "0.0.0.0/0") {
    return row(plan(), identity, destination);
  }
  std::string why(const EgressPlan& plan, const std::string& node, const std::string& name = "g") {
    for (const auto& candidate : plan.gateways.at({"", name}).candidates)
      if (candidate.node == node) return candidate.why_not;
    return "no candidate";
  }

  std::map<model::ObjectKey, model::EgressGateway> gateways_;
  std::map<IdentityId, Identity> identities_;
  std::map<std::string, LabelMap> namespaces_;
  std::map<std::string, EgressNode> nodes_;
  std::map<IpAddress, std::string> holders_;
  std::map<IpAddress, std::string> refused_;
  std::set<IpAddress> addresses_;
  std::vector<EgressUplink> uplinks_;
  std::size_t room_ = WEFT_EGRESS_ROWS / 2;
};

TEST_F(EgressTest, NothingComesOfNothing) {
  const auto empty = plan();
  EXPECT_TRUE(empty.rows.empty());
  EXPECT_TRUE(empty.claims.empty());
}

TEST_F(EgressTest, SelectsByPodsAndNamespaces) {
  gateway("g");
  EXPECT_EQ(row(300), "2 3 /1");
  EXPECT_EQ(row(301), "none");
  EXPECT_EQ(row(302), "2 3 /1");
  gateway("g").selectors[0].namespace_selector = matching("team", "money");
  EXPECT_EQ(row(300), "none");
  namespaces_["shop"] = {{"team", "money"}};
  EXPECT_EQ(row(300), "2 3 /1");
  EXPECT_EQ(row(302), "none");
  gateway("g").selectors = {
      {.pod_selector = {}, .namespace_selector = matching("kubernetes.io/metadata.name", "other")}};
  EXPECT_EQ(row(302), "2 3 /1") << "a namespace without an object has its name";
  EXPECT_THAT(plan().gateways.at({"", "g"}).identities, ElementsAre(302));
}

TEST_F(EgressTest, GatewaysInOrderOfTheListThenOfNames) {
  gateway("g").gateways = {by_name("c"), by_label(), by_name("a")};
  EXPECT_EQ(row(), "3 2 here /1 192.0.2.1");
  EXPECT_THAT(plan().nodes, ElementsAre("b", "c"));
  gateway("g").max_gateways = 2;
  EXPECT_EQ(row(), "3 2 here /2 192.0.2.1");
  const auto told = plan().gateways.at({"", "g"});
  EXPECT_TRUE(told.candidates[0].used_v4);
  EXPECT_TRUE(told.candidates[1].used_v4);
  EXPECT_FALSE(told.candidates[2].used_v4);
  EXPECT_TRUE(told.problem.empty());
}

TEST_F(EgressTest, OneThatIsAwayOrSilentIsLeftForTheNext) {
  gateway("g");
  nodes_["b"].healthy = false;
  EXPECT_EQ(row(), "3 /1");
  EXPECT_THAT(why(plan(), "b"), HasSubstr("does not answer"));
  nodes_["c"].healthy = false;
  EXPECT_EQ(row(), "2 3 /1") << "where nobody answers, that says nothing";
  nodes_["b"].alive = false;
  EXPECT_EQ(row(), "3 /1");
  EXPECT_EQ(why(plan(), "b"), "it is away");
  nodes_["c"].alive = false;
  EXPECT_EQ(row(), "/0");
  EXPECT_THAT(plan().gateways.at({"", "g"}).problem, HasSubstr("no gateway can be used for IPv4"));
}

TEST_F(EgressTest, WithoutFailoverTheNextOneIsNotTaken) {
  gateway("g").failover = model::EgressGateway::Failover::drop;
  EXPECT_EQ(row(), "2 /1");
  nodes_["b"].alive = false;
  EXPECT_EQ(row(), "/0");
}

TEST_F(EgressTest, OneThatCannotBeReachedIsNoGateway) {
  gateway("g");
  nodes_["b"].unreachable = "it is on another network";
  EXPECT_EQ(row(), "3 /1");
  EXPECT_EQ(why(plan(), "b"), "it is on another network");
  nodes_["c"].direct = true;
  nodes_["c"].underlay = {ip("192.0.2.3")};
  gateway("g").destinations = {cidr("0.0.0.0/0"), cidr("::/0")};
  EXPECT_EQ(row(), "3 /1");
  EXPECT_EQ(row(300, "::/0"), "/0");
}

TEST_F(EgressTest, EachFamilyHasItsAddress) {
  auto entry = by_name("a");
  entry.interface = "eth1";
  gateway("g").gateways = {entry};
  gateway("g").destinations = {cidr("0.0.0.0/0"), cidr("::/0")};
  addresses_.insert(ip("198.51.100.1"));
  EXPECT_EQ(row(), "here /1 198.51.100.1%5");
  EXPECT_EQ(row(300, "::/0"), "/0") << "eth1 has no IPv6 address";
  gateway("g").gateways = {by_name("a")};
  EXPECT_EQ(row(300, "::/0"), "here /1 2001:db8::1");
}

TEST_F(EgressTest, AnAddressThatIsAskedForIsOneNodesAtATime) {
  auto entry = by_label();
  entry.addresses = {floating};
  gateway("g").gateways = {entry};
  EXPECT_EQ(row(), "/0");
  EXPECT_THAT(why(plan(), "b"), HasSubstr("nobody's yet"));
  holders_[floating] = "c";
  EXPECT_EQ(row(), "3 /1") << "whoever has it keeps it";
  EXPECT_THAT(why(plan(), "b"), HasSubstr("is at node c"));
  nodes_["c"].healthy = false;
  EXPECT_EQ(row(), "3 /1") << "nobody else can have it";
}

TEST_F(EgressTest, TheFirstThatLivesClaimsAFreeAddress) {
  auto entry = by_label();
  entry.addresses = {floating};
  gateway("g").gateways = {entry, by_name("a")};
  gateway("g").gateways[1].addresses = {floating};
  EXPECT_THAT(plan().claims, IsEmpty()) << "b is before this one";
  nodes_["b"].alive = false;
  EXPECT_THAT(plan().claims, IsEmpty());
  nodes_["c"].alive = false;
  EXPECT_THAT(plan().claims, ElementsAre(floating));
  EXPECT_THAT(plan().addresses, IsEmpty()) << "not before it has it";
  holders_[floating] = "a";
  nodes_["b"].alive = nodes_["c"].alive = true;
  EXPECT_THAT(plan().claims, ElementsAre(floating)) << "and keeps it";
  EXPECT_THAT(plan().addresses, ElementsAre(EgressAddress{floating, "eth0"}));
  EXPECT_EQ(row(), "/0") << "it is not on the device yet";
  addresses_.insert(floating);
  EXPECT_EQ(row(), "here /1 192.0.2.100");
  gateway("g").gateways.pop_back();
  EXPECT_THAT(plan().claims, IsEmpty()) << "no gateway any more";
}

TEST_F(EgressTest, AnAddressOfANodesOwnIsClaimedByNoOther) {
  auto entry = by_name("a");
  entry.addresses = {ip("192.0.2.2")};  // b's
  gateway("g").gateways = {entry};
  EXPECT_THAT(plan().claims, IsEmpty());
  EXPECT_THAT(plan().gateways.at({"", "g"}).problem,
              HasSubstr("egressIPs: 192.0.2.2 is node b's own address, node a must not have it"));
}

TEST_F(EgressTest, NobodyIsGivenARoutersAddress) {
  auto entry = by_name("a");
  entry.addresses = {floating};
  gateway("g").gateways = {entry};
  EXPECT_THAT(plan().claims, ElementsAre(floating));
  refused_[floating] = "is a router's";
  EXPECT_THAT(plan().claims, IsEmpty());
  EXPECT_THAT(plan().gateways.at({"", "g"}).problem, HasSubstr("egressIPs: 192.0.2.100 is a router's"));
}

TEST_F(EgressTest, TheDeviceIsTheOneWhoseNetworkHoldsTheAddressOrTheOneNamed) {
  auto entry = by_name("a");
  entry.addresses = {ip("198.51.100.9")};
  gateway("g").gateways = {entry};
  holders_[ip("198.51.100.9")] = "a";
  EXPECT_THAT(plan().addresses, ElementsAre(EgressAddress{ip("198.51.100.9"), "eth1"}));
  gateway("g").gateways[0].interface = "eth0";
  EXPECT_THAT(plan().addresses, ElementsAre(EgressAddress{ip("198.51.100.9"), "eth0"}));
  gateway("g").gateways[0].interface = "eth7";
  EXPECT_THAT(plan().addresses, IsEmpty());
  EXPECT_THAT(plan().gateways.at({"", "g"}).problem, HasSubstr("no uplink eth7"));
}

TEST_F(EgressTest, ExcludedPrefixesAndNarrowerOnes) {
  gateway("g").excluded = {cidr("10.0.0.0/8")};
  EXPECT_EQ(row(300, "10.0.0.0/8"), "excluded");
  // another one has a part of it, and a third excludes nothing
  auto& narrow = gateway("h");
  narrow.destinations = {cidr("10.1.0.0/16")};
  narrow.gateways = {by_name("c")};
  EXPECT_EQ(row(300, "10.1.0.0/16"), "3 /1");
  EXPECT_EQ(row(300, "10.0.0.0/8"), "excluded");
  auto& wide = gateway("i");
  wide.gateways = {by_name("b")};
  EXPECT_EQ(row(300, "10.0.0.0/8"), "2 /1");
  EXPECT_EQ(row(300, "0.0.0.0/0"), "2 3 /1") << "the first by name";
  const auto all = plan();
  EXPECT_EQ(all.find(300, ip("10.1.2.3"))->gateway.name, "h");
  EXPECT_EQ(all.find(300, ip("10.9.2.3"))->gateway.name, "i");
  EXPECT_EQ(all.find(300, ip("8.8.8.8"))->gateway.name, "g");
  EXPECT_EQ(all.find(301, ip("8.8.8.8")), nullptr);
}

TEST_F(EgressTest, EverywhereInIpv6IsNotEverywhereInIpv4) {
  gateway("g").destinations = {cidr("::/0")};
  EXPECT_EQ(row(300, "0.0.0.0/0"), "excluded");
  EXPECT_EQ(plan().find(300, ip("8.8.8.8")), nullptr);
  EXPECT_NE(plan().find(300, ip("2620:fe::fe")), nullptr);
}

TEST_F(EgressTest, NobodyIsToldOfAndNobodyIsNamed) {
  gateway("g").gateways = {by_name("z")};
  EXPECT_EQ(row(), "/0");
  EXPECT_THAT(plan().gateways.at({"", "g"}).problem, HasSubstr("no node is named z"));
  gateway("g").gateways = {{.node = {}, .node_selector = matching("role", "nobody")}};
  EXPECT_THAT(plan().gateways.at({"", "g"}).problem, HasSubstr("no node is named, or selected"));
}

TEST_F(EgressTest, NoMoreThanFit) {
  for (int i = 0; i < 20; ++i) {
    const auto name = fmt::format("n{:02}", i);
    add_node(name.c_str(), static_cast<std::uint32_t>(10 + i), "192.0.2.50", "2001:db8::50");
    nodes_[name].labels = {{"role", "gateway"}};
  }
  gateway("g").max_gateways = WEFT_EGRESS_GATEWAYS;
  EXPECT_EQ(row(), "2 3 10 11 12 13 14 15 /8");
}

TEST_F(EgressTest, AddressesThatNobodyMayHaveAreToldOnEveryNode) {
  auto entry = by_name("b");
  entry.addresses = {floating};
  gateway("g").gateways = {entry};
  refused_[floating] = "is in pod_cidrs: it is a pod's";
  EXPECT_THAT(plan().gateways.at({"", "g"}).problem, HasSubstr("egressIPs: 192.0.2.100 is in pod_cidrs"));
}

TEST_F(EgressTest, WhoHasNoRoomIsClosedAndNamespacesHaveRoomInTurn) {
  identities_.clear();
  for (IdentityId id = 300; id < 310; ++id)
    identities_[id] = {id, identity_labels("many", {{"app", "bank"}, {"of", std::to_string(id)}})};
  identities_[310] = {310, identity_labels("one", {{"app", "bank"}})};
  auto& made = gateway("g");
  made.destinations = {cidr("198.51.100.0/26"), cidr("198.51.100.192/27"), cidr("2001:db8:1::/48"),
                       cidr("2001:db8:8::/48")};
  made.excluded = {cidr("198.51.100.8/29")};
  room_ = 11 * 6;
  const auto all = plan();
  EXPECT_EQ(all.rows.size(), 11U * 6);  // and 0.0.0.0/0, as there is IPv6
  EXPECT_EQ(all.gateways.at({"", "g"}).problem, "");

  room_ = 11 * 3 + 2 * 3 + 2;
  const auto some = plan();
  EXPECT_EQ(some.rows.size(), 11U * 3 + 2 * 3);
  EXPECT_EQ(row(some, 300, "198.51.100.0/26"), "2 3 /1");
  EXPECT_EQ(row(some, 310, "198.51.100.0/26"), "2 3 /1") << "the first of the other namespace, though ten come before";
  for (const char* closed : {"198.51.100.0/24", "2001:db8::/44"}) EXPECT_EQ(row(some, 309, closed), "/0");
  EXPECT_EQ(row(some, 309, "0.0.0.0/0"), "excluded");
  EXPECT_THAT(some.gateways.at({"", "g"}).problem, HasSubstr("no room for 9 of the 11 sets of labels"));
}

TEST_F(EgressTest, ManyGatewaysOfManyCidrsAreSoonPlanned) {
  for (int i = 0; i < 30; ++i) {
    auto& made = gateway(fmt::format("g{:02}", i));
    made.destinations.clear();
    for (int j = 0; j < 1000; ++j) made.destinations.push_back(cidr(fmt::format("10.{}.{}.0/28", i, j % 256).c_str()));
    for (int j = 0; j < 1000; ++j)
      made.destinations.push_back(
          Cidr(IpAddress::v4(0x0b000000U + (static_cast<unsigned>(i) << 16) + static_cast<unsigned>(j) * 16), 28));
    made.excluded = {cidr("10.0.0.0/9")};
  }
  room_ = 60000;
  const auto all = plan();
  EXPECT_EQ(row(all, 300, "11.29.0.0/28"), "2 3 /1");
  EXPECT_EQ(row(all, 300, "10.0.7.0/28"), "excluded");
  EXPECT_EQ(all.rows.size(), 30U * 1000 + 30 * 256 + 1 + 1) << "one identity whole, the other closed";
  room_ = 30000;
  const auto none = plan();
  EXPECT_EQ(none.rows.size(), 2U) << "closed";
  EXPECT_EQ(row(none, 300, "10.0.0.0/7"), "/0");
}

TEST_F(EgressTest, ADeviceThatIsNotThereIsNamed) {
  auto entry = by_name("a");
  entry.interface = "eth7";
  gateway("g").gateways = {entry};
  EXPECT_EQ(plan().gateways.at({"", "g"}).candidates.at(0).why_not, "it has no uplink eth7");
}

// Every node says it, not only the one that nobody looks at.
TEST_F(EgressTest, ADeviceThatAnotherNodeLacksIsNamedAndTheNextGatewayServes) {
  auto entry = by_label();
  entry.interface = "eth7";
  entry.addresses = {floating};
  gateway("g").gateways = {entry};
  holders_[floating] = "c";
  EXPECT_EQ(row(), "3 /1") << "of an earlier version: what it has is not known";
  nodes_["b"].uplinks = {"eth0", "eth1"};
  nodes_["c"].uplinks = {"eth0", "eth7"};
  const auto all = plan();
  EXPECT_EQ(row(all, 300, "0.0.0.0/0"), "3 /1");
  EXPECT_EQ(why(all, "b"), "it has no uplink eth7");
  EXPECT_THAT(all.gateways.at({"", "g"}).problem, HasSubstr("no uplink eth7 is at node b: name another interface"));
  nodes_["b"].uplinks = {"eth7"};
  EXPECT_THAT(plan().gateways.at({"", "g"}).problem, IsEmpty());
}

// As the datapath chooses (bpf/lib/egress.h).
TEST(EgressChoice, MovesOnlyThePodsOfTheOneThatGoes) {
  weft_egress row{};
  row.count = row.spread = 3;
  row.node[0] = 2;
  row.node[1] = 3;
  row.node[2] = WEFT_EGRESS_HERE;
  auto less = row;
  less.count = less.spread = 2;
  std::map<std::uint16_t, int> shares;
  for (int i = 0; i < 300; ++i) {
    const auto pod = IpAddress::v4(0x0a000000U + static_cast<std::uint32_t>(i));
    const auto by = egress_gateway_of(row, pod).value();
    ++shares[by];
    if (by != WEFT_EGRESS_HERE) {
      EXPECT_EQ(egress_gateway_of(less, pod), by);
    }
  }
  ASSERT_EQ(shares.size(), 3U);
  for (const auto& [node, count] : shares) EXPECT_GT(count, 60) << node;
  EXPECT_EQ(egress_gateway_of(weft_egress{}, ip("10.0.0.1")), std::nullopt);
}

}  // namespace
}  // namespace weft::control
