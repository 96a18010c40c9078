#include "datapath/tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>

#include "datapath/testing.h"

namespace weft::datapath {
namespace {

using testing::FakeMaps;

weft_addr address(unsigned n) { return to_abi(*IpAddress::parse("10.0.0." + std::to_string(n))); }

weft_policy_key policy_key(std::uint32_t policy_class, std::uint32_t identity) {
  weft_policy_key key{};
  key.policy_class = policy_class;
  key.identity = identity;
  return key;
}

weft_endpoint endpoint(unsigned n, std::uint32_t policy_class) {
  weft_endpoint row{};
  row.ifindex = 100 + n;
  row.endpoint_id = n;
  row.identity = 256 + n;
  row.policy_class = policy_class;
  row.flags = policy_class == 0 ? 0 : WEFT_ENDPOINT_INGRESS_ENFORCED;
  return row;
}

void add_identity(DesiredRows& rows, const std::string& cidr, std::uint32_t identity) {
  rows.identities[to_abi(*Cidr::parse(cidr))] = {identity, 0};
}

// Two pods of class 1, which lets two identities in.
DesiredRows small_world() {
  DesiredRows rows;
  rows.remotes.whole = true;
  rows.config.nat_port_min = 50000;
  rows.policy[policy_key(1, 256)] = {16, WEFT_POLICY_ALLOW, {}};
  rows.policy[policy_key(1, 257)] = {16, WEFT_POLICY_ALLOW, {}};
  rows.endpoints[address(2)] = endpoint(2, 1);
  rows.endpoints[address(3)] = endpoint(3, 1);
  rows.netns[77] = {2, 0};
  rows.devices[4] = {};
  rows.devices[4].mtu = 1500;
  add_identity(rows, "0.0.0.0/0", WEFT_IDENTITY_WORLD);
  return rows;
}

void until_done(Tables& tables) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!tables.retry()) {
    ASSERT_LT(std::chrono::steady_clock::now(), end) << tables.status().last_error;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

class TablesTest : public ::testing::Test {
 protected:
  std::unique_ptr<Tables> open() {
    auto tables = maps.open();
    EXPECT_TRUE(tables) << tables.error().message;
    return std::move(*tables);
  }
  // The epoch after `rows` minus the one before, both as the kernel's programs see them.
  std::uint32_t epochs_for(Tables& tables, const DesiredRows& rows) {
    const auto before = maps.all().config.epoch;
    const auto applied = tables.apply(rows, {});
    EXPECT_TRUE(applied) << applied.error().message;
    EXPECT_TRUE(testing::same(maps.all(), rows));
    EXPECT_EQ(maps.all().config.epoch, tables.epoch());
    return maps.all().config.epoch - before;
  }
  FakeMaps maps;
};

TEST_F(TablesTest, BringsTheMapsToTheRows) {
  auto tables = open();
  const auto rows = small_world();
  ASSERT_TRUE(tables->apply(rows, {}));
  EXPECT_TRUE(testing::same(maps.all(), rows));
  EXPECT_EQ(maps.all().config.nat_port_min, 50000);
  EXPECT_EQ(tables->status().pending, 0U);
}

TEST_F(TablesTest, UnchangedRowsAreNotWrittenAgain) {
  auto tables = open();
  ASSERT_TRUE(tables->apply(small_world(), {}));
  const auto writes = maps.writes();
  EXPECT_EQ(epochs_for(*tables, small_world()), 0U);
  EXPECT_EQ(maps.writes(), writes);
}

TEST_F(TablesTest, PureAdditionsKeepTheEpoch) {
  auto tables = open();
  auto rows = small_world();
  ASSERT_TRUE(tables->apply(rows, {}));
  rows.endpoints[address(4)] = endpoint(4, 1);
  rows.netns[78] = {4, 0};
  EXPECT_EQ(epochs_for(*tables, rows), 0U) << "a new pod";
  rows.policy[policy_key(1, 260)] = {16, WEFT_POLICY_ALLOW, {}};
  EXPECT_EQ(epochs_for(*tables, rows), 0U) << "a new peer";
  rows.config.flags |= WEFT_CONFIG_EVENTS | WEFT_CONFIG_SERVICES;
  EXPECT_EQ(epochs_for(*tables, rows), 0U) << "events switched on";
}

TEST_F(TablesTest, EachChangeOfADecisionIsOneEpoch) {
  auto tables = open();
  auto rows = small_world();
  ASSERT_TRUE(tables->apply(rows, {}));
  rows.policy[policy_key(2, 257)] = {17, WEFT_POLICY_ALLOW, {}};
  rows.endpoints[address(2)] = endpoint(2, 2);
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "another class";
  rows.policy.erase(policy_key(1, 256));
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "a peer of a live class is gone";
  rows.policy.erase(policy_key(1, 257));
  rows.endpoints[address(3)] = endpoint(3, 2);
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "a class gives way to another";
  rows.policy[policy_key(2, 257)].rule = 18;
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "a row replaced";
  add_identity(rows, "10.9.0.0/16", 1 << 24);
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "an address becomes somebody else's";
  rows.devices[4].mtu = 1400;
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "an uplink changed";
  rows.config.flags |= WEFT_CONFIG_MASQUERADE_V4;
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "translation switched on";
  rows.endpoints.erase(address(3));
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "a pod is gone";
}

weft_node way(weft_way way) {
  weft_node node{};
  node.addr = to_abi(*IpAddress::parse("192.0.2.7"));
  node.mtu = 1450;
  node.way = static_cast<std::uint8_t>(way);
  return node;
}

TEST_F(TablesTest, OtherNodesAreRowsLikeEndpoints) {
  auto tables = open();
  auto rows = small_world();
  ASSERT_TRUE(tables->apply(rows, {}));
  rows.nodes[1] = way(WEFT_WAY_DIRECT);
  rows.remotes.set[address(99)] = {300, 0, 1, 0};
  EXPECT_EQ(epochs_for(*tables, rows), 0U) << "a node and its pod are new";
  rows.remotes.set[address(98)] = {301, 0, 1, 0};
  EXPECT_EQ(epochs_for(*tables, rows), 0U) << "another pod";
  rows.remotes.set[address(99)].identity = 302;
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "it is somebody else";
  rows.nodes[2] = way(WEFT_WAY_VXLAN);
  rows.remotes.set[address(99)].node = 2;
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "it moved";
  rows.nodes[1] = way(WEFT_WAY_GENEVE);
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "another way";
  rows.remotes.set.erase(address(98));
  rows.nodes.erase(1);
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "a node and its pod are gone";
  rows.config.flags |= WEFT_CONFIG_NODES;
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "nodes are looked at";
  // a second run takes over what is there
  auto again = open();
  EXPECT_EQ(epochs_for(*again, rows), 1U);
  EXPECT_TRUE(testing::same(maps.all(), rows));
}

TEST_F(TablesTest, EveryChangeOfEgressGatewaysDecidesAnew) {
  auto tables = open();
  auto rows = small_world();
  ASSERT_TRUE(tables->apply(rows, {}));
  const weft_egress_key key{32 + 96, 300, to_abi(*IpAddress::parse("0.0.0.0"))};
  weft_egress row{};
  row.count = row.spread = 1;
  row.node[0] = 1;
  rows.egress[key] = row;
  rows.nodes[1] = way(WEFT_WAY_DIRECT);
  rows.next_hops[1] = {to_abi(*IpAddress::parse("192.0.2.7")), {}};
  rows.config.flags |= WEFT_CONFIG_EGRESS;
  maps.written = [&](const std::string&) {
    const auto now = maps.all();
    for (const auto& [prefix, entry] : now.egress)
      EXPECT_TRUE(now.next_hops.contains(entry.node[0]) && now.nodes.contains(entry.node[0])) << entry.node[0];
  };
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "pods leave by a gateway";
  rows.egress[key].node[0] = 2;
  rows.nodes[2] = way(WEFT_WAY_DIRECT);
  rows.next_hops[2] = {to_abi(*IpAddress::parse("192.0.2.8")), {}};
  rows.next_hops.erase(1);
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "by another one";
  rows.egress.clear();
  rows.next_hops.clear();
  rows.config.flags &= ~static_cast<std::uint32_t>(WEFT_CONFIG_EGRESS);
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "by none";
  EXPECT_TRUE(testing::same(maps.all(), rows));
}

TEST_F(TablesTest, AWayIsThereBeforeTheAddressesItLeadsToAndAfterThem) {
  auto tables = open();
  auto rows = small_world();
  ASSERT_TRUE(tables->apply(rows, {}));
  maps.written = [&](const std::string&) {
    const auto now = maps.all();
    for (const auto& [key, remote] : now.remotes.set) EXPECT_TRUE(now.nodes.contains(remote.node)) << remote.node;
  };
  rows.nodes[1] = way(WEFT_WAY_VXLAN);
  rows.nodes[2] = way(WEFT_WAY_VXLAN);
  rows.remotes.set[address(99)] = {300, 0, 1, 0};
  ASSERT_TRUE(tables->apply(rows, {}));
  rows.nodes[2] = way(WEFT_WAY_GENEVE);
  rows.nodes[3] = way(WEFT_WAY_DIRECT);
  rows.nodes.erase(1);
  rows.remotes.set[address(99)].node = 3;
  ASSERT_TRUE(tables->apply(rows, {}));
  rows.nodes.erase(3);
  rows.remotes.set.erase(address(99));
  ASSERT_TRUE(tables->apply(rows, {}));
  EXPECT_TRUE(testing::same(maps.all(), rows));
}

// A peer elsewhere that its CIDR let in before, and its own identity after: allowed at every moment between.
TEST_F(TablesTest, AnAddressElsewhereLeavesItsCidrAfterTheClassesHave) {
  auto tables = open();
  auto rows = small_world();
  constexpr std::uint32_t kCidr = 1U << 24;
  add_identity(rows, "10.0.0.64/26", kCidr);
  rows.nodes[1] = way(WEFT_WAY_VXLAN);
  rows.remotes.set[address(99)] = {300, kCidr, 1, 0};
  rows.policy[policy_key(1, kCidr)] = {16, WEFT_POLICY_ALLOW, {}};
  ASSERT_TRUE(tables->apply(rows, {}));
  maps.written = [&](const std::string& map) {
    const auto now = maps.all();
    const auto& peer = now.remotes.set.at(address(99));
    const auto& pod = now.endpoints.at(address(2));
    EXPECT_TRUE(now.policy.contains(policy_key(pod.policy_class, peer.identity)) ||
                now.policy.contains(policy_key(pod.policy_class, peer.cidr_identity)))
        << "after a write to " << map;
  };
  rows.identities.erase(to_abi(*Cidr::parse("10.0.0.64/26")));
  rows.policy.clear();
  rows.policy[policy_key(2, 300)] = {17, WEFT_POLICY_ALLOW, {}};
  rows.remotes.set[address(99)].cidr_identity = 0;
  rows.endpoints[address(2)] = endpoint(2, 2);
  rows.endpoints[address(3)] = endpoint(3, 2);
  ASSERT_TRUE(tables->apply(rows, {}));
  EXPECT_TRUE(testing::same(maps.all(), rows));
}

TEST_F(TablesTest, OtherNodesPodsChangeOneByOne) {
  auto tables = open();
  auto rows = small_world();
  rows.nodes[1] = way(WEFT_WAY_VXLAN);
  for (unsigned n = 100; n < 200; ++n) rows.remotes.set[address(n)] = {300, 0, 1, 0};
  ASSERT_TRUE(tables->apply(rows, {}));
  const auto change = [&](const RemoteRows& remotes) {
    const auto epoch = maps.all().config.epoch;
    const auto writes = maps.writes();
    EXPECT_TRUE(tables->apply({}, rows.announced, rows.config, remotes));
    return std::pair(maps.all().config.epoch - epoch, maps.writes() - writes);
  };
  RemoteRows more;
  more.set[address(200)] = rows.remotes.set[address(200)] = {301, 0, 1, 0};
  EXPECT_EQ(change(more), (std::pair{0U, std::uint64_t{1}})) << "one more: one row";
  EXPECT_EQ(change(more), (std::pair{0U, std::uint64_t{0}})) << "the same again";
  RemoteRows other;
  other.set[address(100)] = rows.remotes.set[address(100)] = {302, 0, 1, 0};
  EXPECT_EQ(change(other), (std::pair{1U, std::uint64_t{2}})) << "somebody else: a row and an epoch";
  RemoteRows less;
  less.gone = {address(101)};
  rows.remotes.set.erase(address(101));
  EXPECT_EQ(change(less).first, 1U);
  EXPECT_TRUE(testing::same(maps.all(), rows));
  // What is there when an agent starts stays until somebody knows all of it.
  auto again = open();
  auto unknown = rows;
  unknown.remotes = {};
  ASSERT_TRUE(again->apply(unknown, {}));
  EXPECT_TRUE(testing::same(maps.all(), rows));
  ASSERT_TRUE(again->apply(small_world(), {}));
  EXPECT_TRUE(testing::same(maps.all(), small_world()));
}

TEST_F(TablesTest, WhatFindsNoRoomIsLeftOutAndComesWhenThereIsSome) {
  FakeMaps small({{"weft_remote_v1", 4}});
  auto tables = *small.open();
  auto rows = small_world();
  rows.nodes[1] = way(WEFT_WAY_VXLAN);
  for (unsigned n = 100; n < 107; ++n) rows.remotes.set[address(n)] = {300, 0, 1, 0};
  rows.endpoints[address(4)] = endpoint(4, 1);
  ASSERT_TRUE(tables->apply(rows, {})) << "all else is published";
  EXPECT_EQ(small.all().remotes.set.size(), 4U);
  EXPECT_EQ(small.endpoints().size(), 3U);
  EXPECT_EQ(tables->remotes_left_out(), 3U);
  EXPECT_EQ(tables->status().pending, 0U);
  RemoteRows less;
  less.gone = {address(100), address(106)};
  ASSERT_TRUE(tables->apply({}, rows.announced, rows.config, less));
  EXPECT_EQ(tables->remotes_left_out(), 1U);
  EXPECT_EQ(small.all().remotes.set.size(), 4U);
  for (const auto n : {100U, 101U, 102U, 106U}) rows.remotes.set.erase(address(n));
  ASSERT_TRUE(tables->apply(rows, {}));
  EXPECT_EQ(tables->remotes_left_out(), 0U);
  EXPECT_TRUE(testing::same(small.all(), rows));
}

TEST_F(TablesTest, ANodeBeyondTheTableIsRefused) {
  auto tables = open();
  auto rows = small_world();
  ASSERT_TRUE(tables->apply(rows, {}));
  const auto writes = maps.writes();
  for (const std::uint32_t index : {0U, 1024U}) {
    auto more = rows;
    more.nodes[index] = way(WEFT_WAY_DIRECT);
    const auto refused = tables->apply(more, {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
    EXPECT_NE(refused.error().message.find("weft_node_v1"), std::string::npos) << refused.error().message;
  }
  EXPECT_EQ(maps.writes(), writes);
}

TEST_F(TablesTest, RowsOfADeadClassGoWithoutAnEpoch) {
  auto tables = open();
  auto rows = small_world();
  rows.policy[policy_key(9, 256)] = {16, WEFT_POLICY_ALLOW, {}};
  ASSERT_TRUE(tables->apply(rows, {}));
  rows.policy.erase(policy_key(9, 256));
  EXPECT_EQ(epochs_for(*tables, rows), 0U);
}

// A packet may read the maps after any single write: what leads somewhere must lead somewhere whole.
class OrderTest : public TablesTest {
 protected:
  void watch(const DesiredRows& before, const DesiredRows& after) {
    maps.written = [this, before, after](const std::string& map) {
      check_classes(before, after);
      if (map == "weft_config_v3")
        since_epoch.clear();
      else if (map != "weft_netns_v1")
        since_epoch.push_back(map);
    };
  }
  // Every endpoint's class has at least the rows that its old and its new state share.
  void check_classes(const DesiredRows& before, const DesiredRows& after) {
    const auto rows = maps.policy();
    for (const auto& [where, row] : maps.endpoints()) {
      const auto old_row = before.endpoints.find(where);
      const bool is_old = old_row != before.endpoints.end() && std::memcmp(&old_row->second, &row, sizeof row) == 0;
      const auto& world = is_old ? before.policy : after.policy;
      const auto& other = is_old ? after.policy : before.policy;
      const bool live_in_both =
          is_old && after.endpoints.contains(where) && after.endpoints.at(where).policy_class == row.policy_class;
      for (const auto& [key, entry] : world) {
        const bool needed = key.policy_class == row.policy_class && (!live_in_both || other.contains(key));
        ASSERT_TRUE(!needed || rows.contains(key)) << "class " << key.policy_class << " lacks " << key.identity;
      }
    }
  }
  std::vector<std::string> since_epoch;  // maps written after the last epoch
};

TEST_F(OrderTest, NoWriteShowsHalfAPolicy) {
  auto tables = open();
  const auto first = small_world();
  watch({}, first);
  ASSERT_TRUE(tables->apply(first, {}));
  auto second = first;
  second.policy.clear();
  second.policy[policy_key(2, 256)] = {17, WEFT_POLICY_ALLOW, {}};
  second.policy[policy_key(2, 1 << 24)] = {17, WEFT_POLICY_ALLOW, {}};
  add_identity(second, "192.0.2.0/24", 1 << 24);
  second.endpoints[address(2)] = endpoint(2, 2);
  second.endpoints[address(3)] = endpoint(3, 2);
  watch(first, second);
  ASSERT_TRUE(tables->apply(second, {}));
  EXPECT_THAT(since_epoch, ::testing::Each("weft_policy_v1"));
}

TEST_F(OrderTest, ARevocationInALiveClassIsFollowedByItsEpoch) {
  auto tables = open();
  auto rows = small_world();
  ASSERT_TRUE(tables->apply(rows, {}));
  const auto before = rows;
  rows.policy.erase(policy_key(1, 256));
  watch(before, rows);
  ASSERT_TRUE(tables->apply(rows, {}));
  // A flow decided again between the removal and an earlier epoch would be allowed for ever.
  EXPECT_TRUE(since_epoch.empty()) << since_epoch.front();
}

TEST_F(TablesTest, AddressesChangeHandsOnlyWhenEveryPolicyRowIsThere) {
  auto tables = open();
  auto rows = small_world();
  ASSERT_TRUE(tables->apply(rows, {}));
  const auto good = maps.all();
  add_identity(rows, "192.0.2.0/24", 1 << 24);
  rows.policy[policy_key(2, 1 << 24)] = {17, WEFT_POLICY_ALLOW, {}};
  rows.endpoints[address(2)] = endpoint(2, 2);
  maps.fails = [](std::uint64_t, const std::string& map) { return map == "weft_policy_v1"; };
  const auto applied = tables->apply(rows, {});
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code, ErrorCode::io);
  EXPECT_THAT(applied.error().message, ::testing::HasSubstr("weft_policy_v1"));
  EXPECT_TRUE(testing::same(good.identities, maps.all().identities));
  EXPECT_TRUE(testing::same(good.endpoints, maps.all().endpoints));
  EXPECT_GT(tables->status().failed, 0U);
  maps.heal();
  until_done(*tables);
  EXPECT_TRUE(testing::same(maps.all(), rows));
}

TEST_F(TablesTest, OverflowIsRefusedWholeAndNamesTheMap) {
  FakeMaps small({{"weft_ep_v1", 2}});
  auto tables = *small.open();
  auto rows = small_world();
  ASSERT_TRUE(tables->apply(rows, {}));
  const auto writes = small.writes();
  auto more = rows;
  more.policy[policy_key(5, 256)] = {16, WEFT_POLICY_ALLOW, {}};
  more.endpoints[address(4)] = endpoint(4, 5);
  const auto refused = tables->apply(more, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr("weft_ep_v1"));
  EXPECT_EQ(small.writes(), writes);
  EXPECT_TRUE(tables->retry());
  EXPECT_TRUE(testing::same(small.all(), rows)) << "nothing of it is remembered";
}

TEST_F(TablesTest, ARefusedChangeOverCannotGetStuckHalfWay) {
  // Both classes fit alone, not together: without the refusal the additions could never complete.
  FakeMaps small({{"weft_policy_v1", 3}});
  auto tables = *small.open();
  auto rows = small_world();
  ASSERT_TRUE(tables->apply(rows, {}));
  auto other = rows;
  other.policy.clear();
  other.policy[policy_key(2, 256)] = {16, WEFT_POLICY_ALLOW, {}};
  other.policy[policy_key(2, 257)] = {16, WEFT_POLICY_ALLOW, {}};
  other.endpoints[address(2)] = endpoint(2, 2);
  other.endpoints[address(3)] = endpoint(3, 2);
  const auto refused = tables->apply(other, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr("weft_policy_v1 holds 3 entries, 4 are needed"));
  EXPECT_TRUE(testing::same(small.all(), rows));
}

TEST_F(TablesTest, ARestartAdoptsWhatIsThereAndDecidesFlowsAgain) {
  auto rows = small_world();
  std::uint32_t epoch = 0;
  {
    auto tables = open();
    ASSERT_TRUE(tables->apply(rows, {}));
    rows.endpoints[address(2)].mtu = 1400;
    ASSERT_TRUE(tables->apply(rows, {}));
    epoch = tables->epoch();
  }
  const auto writes = maps.writes();
  auto tables = open();
  EXPECT_EQ(tables->epoch(), epoch);
  EXPECT_EQ(maps.writes(), writes) << "opening writes nothing";
  EXPECT_EQ(epochs_for(*tables, rows), 1U) << "the last run may have ended between a row and its epoch";
  EXPECT_EQ(maps.writes(), writes + 1) << "only the config";
  EXPECT_EQ(epochs_for(*tables, rows), 0U);
}

TEST_F(TablesTest, ARetryBeforeTheFirstApplyKeepsWhatIsThere) {
  const auto rows = small_world();
  ASSERT_TRUE(open()->apply(rows, {}));
  auto tables = open();
  tables->retry();
  EXPECT_TRUE(testing::same(maps.all(), rows));
  EXPECT_EQ(maps.all().config.nat_port_min, rows.config.nat_port_min);
}

TEST_F(TablesTest, ARestartPrunesWhatIsNoLongerWanted) {
  auto rows = small_world();
  ASSERT_TRUE(open()->apply(rows, {}));
  rows.endpoints.erase(address(3));
  ASSERT_TRUE(open()->apply(rows, {}));
  EXPECT_TRUE(testing::same(maps.all(), rows));
}

// A run that ends after any write leaves maps from which the next one finishes, with a new epoch.
TEST_F(TablesTest, ACrashAfterAnyWriteIsFinishedByTheNextRun) {
  const auto first = small_world();
  auto second = first;
  second.policy.clear();
  second.policy[policy_key(2, 256)] = {17, WEFT_POLICY_ALLOW, {}};
  second.endpoints[address(2)] = endpoint(2, 2);
  second.endpoints[address(3)] = endpoint(3, 2);
  add_identity(second, "192.0.2.0/24", 1 << 24);
  for (std::uint64_t crash = 1; crash < 20; ++crash) {
    FakeMaps broken;
    {
      auto tables = *broken.open();
      ASSERT_TRUE(tables->apply(first, {}));
      const auto last = broken.writes() + crash;
      broken.fails = [last](std::uint64_t number, const std::string&) { return number >= last; };
      (void)tables->apply(second, {});
    }
    broken.heal();
    const auto epoch = broken.all().config.epoch;
    auto tables = *broken.open();
    ASSERT_TRUE(tables->apply(second, {}));
    EXPECT_TRUE(testing::same(broken.all(), second));
    EXPECT_GT(broken.all().config.epoch, epoch) << "crash after " << crash;
  }
}

TEST_F(TablesTest, AnEndpointThatSwitchesLateGetsAnEpochOfItsOwn) {
  auto tables = open();
  auto rows = small_world();
  ASSERT_TRUE(tables->apply(rows, {}));
  rows.endpoints[address(2)].flags = 0;
  rows.endpoints[address(3)].flags = 0;
  const auto last = maps.writes() + 2;
  maps.fails = [last](std::uint64_t number, const std::string&) { return number == last; };
  ASSERT_FALSE(tables->apply(rows, {}));
  const auto epoch = maps.all().config.epoch;
  maps.heal();
  until_done(*tables);
  EXPECT_TRUE(testing::same(maps.all(), rows));
  EXPECT_GT(maps.all().config.epoch, epoch) << "flows decided meanwhile under the old row must be decided again";
}

TEST_F(TablesTest, AFailingConfigIsOwedToo) {
  auto tables = open();
  auto rows = small_world();
  ASSERT_TRUE(tables->apply(rows, {}));
  rows.endpoints[address(2)].flags = 0;
  maps.fails = [](std::uint64_t, const std::string& map) { return map == "weft_config_v3"; };
  const auto epoch = maps.all().config.epoch;
  ASSERT_FALSE(tables->apply(rows, {}));
  EXPECT_GT(tables->status().failed, 0U);
  EXPECT_THAT(tables->status().last_error, ::testing::HasSubstr("weft_config_v3"));
  maps.heal();
  EXPECT_TRUE(tables->retry());
  EXPECT_EQ(maps.all().config.epoch, epoch + 1);
  EXPECT_EQ(tables->status().failed, 0U);
}

DesiredRows random_world(std::mt19937& random) {
  const auto pick = [&](unsigned limit) { return static_cast<unsigned>(random() % limit); };
  DesiredRows rows;
  rows.remotes.whole = true;
  add_identity(rows, "0.0.0.0/0", WEFT_IDENTITY_WORLD);
  rows.config.nat_port_min = static_cast<std::uint16_t>(50000 + pick(2));
  for (unsigned n = 2; n < 20; ++n)
    if (pick(3) != 0) rows.endpoints[address(n)] = endpoint(n, pick(5));
  for (std::uint32_t policy_class = 1; policy_class < 5; ++policy_class)
    for (unsigned n = 0; n < pick(8); ++n)
      rows.policy[policy_key(policy_class, 256 + pick(12))] = {16 + pick(3), WEFT_POLICY_ALLOW, {}};
  for (unsigned n = 0; n < pick(4); ++n)
    add_identity(rows, "10." + std::to_string(pick(5)) + ".0.0/16", (1U << 24) + pick(3));
  for (unsigned n = 0; n < pick(3); ++n) rows.devices[n + 2].mtu = 1400 + pick(3);
  for (unsigned n = 1; n < 4; ++n)
    if (pick(3) != 0) rows.nodes[n] = way(static_cast<weft_way>(1 + pick(4)));
  for (unsigned n = 100; n < 110; ++n)
    if (pick(3) != 0)
      rows.remotes.set[address(n)] = {256 + pick(12), pick(2) != 0 ? 0 : (1U << 24) + pick(3), pick(4), 0};
  return rows;
}

// Two worlds with the same decisions for flows that exist may share an epoch, others may not: the
// last write that changed a decision comes before the last epoch.
TEST_F(TablesTest, RandomWorldsConvergeWhateverFails) {
  std::mt19937 random(20240611);
  auto tables = open();
  std::uint64_t number = 0;
  std::uint64_t last_switch = 0;
  std::uint64_t last_epoch = 0;
  maps.written = [&](const std::string& map) {
    ++number;
    if (map == "weft_ep_v1" || map == "weft_ipid_v2" || map == "weft_remote_v1" || map == "weft_svc_v2")
      last_switch = number;
    if (map == "weft_config_v3") last_epoch = number;
  };
  for (int round = 0; round < 300; ++round) {
    const auto rows = random_world(random);
    const auto before = maps.all();
    const unsigned every = random() % 3 == 0 ? 0 : 10;
    maps.fails = [&random, every](std::uint64_t, const std::string&) { return every != 0 && random() % every == 0; };
    const auto applied = tables->apply(rows, {});
    if (!applied) {
      ASSERT_EQ(applied.error().code, ErrorCode::io);
      if (random() % 4 == 0) continue;  // the next world comes before this one is complete
      if (random() % 4 == 0) {
        maps.heal();
        tables = open();
        ASSERT_TRUE(tables->apply(rows, {}));
      }
      until_done(*tables);
    }
    ASSERT_TRUE(testing::same(maps.all(), rows)) << "round " << round;
    EXPECT_EQ(maps.all().config.nat_port_min, rows.config.nat_port_min);
    EXPECT_EQ(tables->status().pending, 0U);
    bool replaced = false;
    for (const auto& [where, row] : before.endpoints)
      if (!rows.endpoints.contains(where) || std::memcmp(&rows.endpoints.at(where), &row, sizeof row) != 0)
        replaced = true;
    EXPECT_TRUE(!replaced || last_epoch > last_switch) << "round " << round;
  }
}

TEST_F(TablesTest, AMapOfAnotherLayoutIsRefused) {
  bpfrt::MapInfo info{"weft_policy_v1", 0, "hash", 4, 4, 16, 0};
  bpfrt::FakeMap odd(info);
  const auto opened =
      Tables::open([&](const std::string& name) { return name == "weft_policy_v1" ? &odd : maps.find(name); });
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, ::testing::HasSubstr("weft_policy_v1"));
}

}  // namespace
}  // namespace weft::datapath
