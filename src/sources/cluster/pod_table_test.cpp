#include "sources/cluster/pod_table.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace weft::cluster {
namespace {

IpAddress address(const char* text) { return IpAddress::parse(text).value(); }

SharedEndpoint pod(const char* where, IdentityNumber identity = 300) {
  return {.addresses = {address(where)}, .identity = identity};
}

TEST(HashSlots, HoldWhatWasFiledAndNoMore) {
  std::mt19937 random(1);
  HashSlots slots;
  std::multiset<std::pair<std::uint32_t, std::uint32_t>> model;
  for (int round = 0; round < 20000; ++round) {
    // Few hashes, and many of them neighbours: they collide all the time.
    const std::pair<std::uint32_t, std::uint32_t> entry{random() % 50 + (random() % 2) * 0xffff'ff00U, random() % 4};
    if (round % 5000 < 2500 ? random() % 3 != 0 : random() % 3 == 0) {
      slots.insert(entry.first, entry.second);
      model.insert(entry);
    } else {
      slots.erase(entry.first, entry.second);
      if (const auto found = model.find(entry); found != model.end()) model.erase(found);
    }
    ASSERT_EQ(slots.size(), model.size());
    std::multiset<std::uint32_t> seen;
    slots.visit(entry.first, [&](std::uint32_t value) { seen.insert(value); });
    std::multiset<std::uint32_t> expected;
    for (auto at = model.lower_bound({entry.first, 0}); at != model.end() && at->first == entry.first; ++at)
      expected.insert(at->second);
    ASSERT_EQ(seen, expected) << "round " << round;
  }
}

TEST(PodTable, APodComesBackAsItWasTold) {
  PodTable table("here");
  SharedEndpoint full{.addresses = {address("10.0.0.1"), address("fd00::1"), address("::")},
                      .identity = 65535,
                      .ready = false,
                      .terminating = true,
                      .host_network = true,
                      .weight = 1000,
                      .ports = {{std::string(300, 'p'), 65535, Protocol::sctp}, {"", 1, Protocol::udp}}};
  const SharedEndpoints pods{{{"a", "x"}, full}, {{"a", "y"}, {}}, {{std::string(253, 'n'), "z"}, pod("10.0.0.2")}};
  EXPECT_EQ(table.replace("there", pods).set, pods);
  EXPECT_EQ(table.pods_of("there"), pods);
  EXPECT_EQ(table.count_of("there"), 3U);
  EXPECT_EQ(table.size(), 3U);
  EXPECT_EQ(table.named({"a", "x"}), (std::vector<ToldPod>{{"there", {"a", "x"}, full}}));
  EXPECT_TRUE(table.replace("there", pods).empty());
}

// Whatever is believed, the next list is compared with what was told.
TEST(PodTable, WhatIsNotBelievedIsLeftOutWhereOthersLook) {
  PodTable table("here");
  const SharedEndpoint two{.addresses = {address("10.0.0.1"), address("10.0.9.1")}, .identity = 300, .ports = {}};
  table.believe([](const std::string& node, const IpAddress& told, bool) {
    return node == "there" && told == address("10.0.0.1");
  });
  const SharedEndpoints pods{{{"a", "x"}, two}};
  (void)table.replace("there", pods);
  EXPECT_EQ(table.named({"a", "x"}).at(0).told.addresses, std::vector{address("10.0.0.1")});
  EXPECT_EQ(table.at(address("10.0.0.1")).size(), 1U);
  EXPECT_TRUE(table.at(address("10.0.9.1")).empty());
  EXPECT_EQ(table.pods_of("there"), pods);
  EXPECT_TRUE(table.replace("there", pods).empty());
  std::vector<std::string> disowned;
  table.each_disowned("there", [&](const PodName& pod, const IpAddress& each) {
    disowned.push_back(pod.to_string() + " " + each.to_string());
  });
  EXPECT_EQ(disowned, std::vector<std::string>{"a/x 10.0.9.1"});
  EXPECT_EQ(table.replace("there", {}).left, two.addresses);
}

TEST(PodTable, ADifferenceNamesWhatIsAnotherAndTheAddressesThatWereLeft) {
  PodTable table("here");
  (void)table.replace(
      "there",
      {{{"a", "stays"}, pod("10.0.0.1")}, {{"a", "moves"}, pod("10.0.0.2")}, {{"a", "goes"}, pod("10.0.0.3")}});
  const auto change = table.replace(
      "there", {{{"a", "stays"}, pod("10.0.0.1")}, {{"a", "moves"}, pod("10.0.0.4")}, {{"a", "new"}, pod("10.0.0.5")}});
  EXPECT_EQ(change.set, (SharedEndpoints{{{"a", "moves"}, pod("10.0.0.4")}, {{"a", "new"}, pod("10.0.0.5")}}));
  EXPECT_EQ(change.gone, (std::vector<PodName>{{"a", "goes"}}));
  EXPECT_EQ(change.left, (std::vector{address("10.0.0.2"), address("10.0.0.3")}));
  EXPECT_TRUE(table.at(address("10.0.0.2")).empty());
  EXPECT_EQ(table.at(address("10.0.0.4")).front().name.name, "moves");
}

TEST(PodTable, WhoClaimsTheSameIsToldInOrder) {
  PodTable table("here");
  (void)table.replace("c", {{{"a", "one"}, pod("10.0.0.1")}});
  (void)table.replace("b", {{{"a", "two"}, pod("10.0.0.1")}, {{"a", "one"}, pod("10.0.0.2")}});
  (void)table.replace("here", {{{"a", "one"}, pod("10.0.0.1", 999)}});
  auto host = pod("10.0.0.1");
  host.host_network = true;
  (void)table.replace("a", {{{"a", "host"}, host}});
  const auto at = table.at(address("10.0.0.1"));
  ASSERT_EQ(at.size(), 2U) << "without this node's pods and those that have a node's addresses";
  EXPECT_EQ(at[0].node, "c");
  EXPECT_EQ(at[1].name.name, "two");
  const auto named = table.named({"a", "one"});
  ASSERT_EQ(named.size(), 2U);
  EXPECT_EQ(named[0].node, "b");
  EXPECT_FALSE(table.told_once({"a", "one"}));
  EXPECT_TRUE(table.told_once({"a", "two"}));
  EXPECT_FALSE(table.identities().contains(999)) << "this node's own";
  EXPECT_EQ(table.identities().at(300), 3U);
}

TEST(PodTable, IdentitiesCountAndTellWhenThereIsAnotherOne) {
  PodTable table("here");
  (void)table.replace("b", {{{"a", "one"}, pod("10.0.0.1", 301)}});
  const auto revision = table.identities_revision();
  (void)table.replace("c", {{{"a", "two"}, pod("10.0.0.2", 301)}});
  EXPECT_EQ(table.identities_revision(), revision);
  (void)table.replace("c", {{{"a", "two"}, pod("10.0.0.2", 302)}});
  EXPECT_NE(table.identities_revision(), revision);
  (void)table.replace("c", {});
  EXPECT_EQ(table.identities(), (std::map<IdentityNumber, std::uint32_t>{{301, 1}}));
  EXPECT_EQ(table.size(), 1U);
}

TEST(PodTable, OfSlicesTheHighestCountsAndTheOthersStay) {
  PodTable table("here");
  (void)table.replace_slices("n", {{0, {{{"a", "one"}, pod("10.0.0.1")}, {{"a", "two"}, pod("10.0.0.2")}}},
                                   {2, {{{"a", "one"}, pod("10.0.0.9", 309)}}}});
  const auto both = SharedEndpoints{{{"a", "one"}, pod("10.0.0.9", 309)}, {{"a", "two"}, pod("10.0.0.2")}};
  EXPECT_EQ(table.pods_of("n"), both);
  EXPECT_EQ(table.size(), 2U);
  EXPECT_EQ(table.count_of("n"), 2U);
  EXPECT_TRUE(table.at(address("10.0.0.1")).empty());
  std::size_t all = 0;
  table.each([&](const ToldPod&) { ++all; });
  EXPECT_EQ(all, 2U);
  EXPECT_EQ(table.identities(), (PodTable::Identities{{300, 1}, {309, 1}}));
  // What moves from one to another at once was never away.
  EXPECT_TRUE(table.replace_slices("n", {{0, {}}, {5, {{{"a", "two"}, pod("10.0.0.2")}}}}).empty());
  EXPECT_TRUE(table.replace_slices("n", {{1, {{{"a", "one"}, pod("10.0.0.1")}}}}).empty());
  // The one that counts goes, and the other is told.
  const auto difference = table.replace_slices("n", {{2, {}}});
  EXPECT_EQ(difference.set, (SharedEndpoints{{{"a", "one"}, pod("10.0.0.1")}}));
  EXPECT_EQ(difference.left, std::vector{address("10.0.0.9")});
  EXPECT_EQ(table.pods_of("n", 5).size(), 1U);
  (void)table.replace_slices("n", {{1, {}}, {5, {}}});
  EXPECT_EQ(table.size(), 0U);
}

// Any lists one after the other leave what the last of each node says.
TEST(PodTable, RandomListsAreAsInAMapOfMaps) {
  std::mt19937 random(7);
  PodTable table("n0");
  std::map<std::string, SharedEndpoints> model;
  for (int round = 0; round < 2000; ++round) {
    const auto node = "n" + std::to_string(random() % 6);
    SharedEndpoints pods;
    for (auto left = random() % 6; left > 0; --left)
      pods[{"s" + std::to_string(random() % 2), "p" + std::to_string(random() % 8)}] = {
          .addresses = {IpAddress::v4(0x0a000000 + random() % 10)},
          .identity = static_cast<IdentityNumber>(300 + random() % 3)};
    (void)table.replace(node, pods);
    model[node] = pods;
    std::size_t all = 0;
    for (const auto& [name, list] : model) {
      ASSERT_EQ(table.pods_of(name), list);
      all += list.size();
    }
    ASSERT_EQ(table.size(), all);
    const auto where = IpAddress::v4(0x0a000000 + random() % 10);
    std::set<std::pair<PodName, std::string>> expected;
    for (const auto& [name, list] : model)
      for (const auto& [pod_name, told] : list)
        if (name != "n0" && told.addresses.front() == where) expected.insert({pod_name, name});
    std::vector<std::pair<PodName, std::string>> found;
    for (const auto& each : table.at(where)) found.emplace_back(each.name, each.node);
    ASSERT_EQ(found, std::vector(expected.begin(), expected.end()));
  }
}

}  // namespace
}  // namespace weft::cluster
