#include "sources/cluster/pool_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/cluster/values.h"
#include "sources/etcd/testing/world.h"

namespace weft::cluster {
namespace {

using ::testing::HasSubstr;

class PoolWriterTest : public ::testing::Test {
 protected:
  static Pool pool(const std::string& name, const std::string& cidr, unsigned length) {
    Pool made{.name = name, .ranges = {}};
    if (!cidr.empty()) made.ranges.push_back({Cidr::parse(cidr).value(), length});
    return made;
  }
  // What became of it: the names of all pools, or the error.
  std::string change(const Pool& wanted) {
    std::string answer;
    writer_.change(wanted, [&](const Result<std::vector<Pool>>& pools) {
      answer = pools ? names_of(*pools) : pools.error().message;
    });
    EXPECT_TRUE(answer.empty()) << "it does not run inside the call";
    EXPECT_TRUE(world_.run_until([&] { return !answer.empty(); }));
    return answer;
  }
  void claim(const std::string& block) {
    ASSERT_TRUE(world_.cluster.store().put(
        {.key = "/weft/v1/c/blocks/" + block, .value = encode(Incarnation{"node-a", "boot"})}));
  }

  etcd::testing::FakeWorld world_;
  std::unique_ptr<etcd::Client> client_ = world_.cluster.connect();
  PoolWriter writer_{{.client = *client_,
                      .scheduler = world_.time,
                      .random = etcd::testing::fixed_random(),
                      .keys = Keyspace::make("c").value()}};
};

TEST_F(PoolWriterTest, PoolsComeGrowAndGo) {
  EXPECT_EQ(change(pool("blue", "10.50.0.0/24", 26)), "blue");
  EXPECT_EQ(change(pool("green", "10.51.0.0/24", 26)), "blue, green");
  claim("blue/10.50.0.0/26");
  auto grown = pool("blue", "10.50.0.0/24", 26);
  grown.ranges.push_back({Cidr::parse("10.52.0.0/24").value(), 26});
  EXPECT_EQ(change(grown), "blue, green");
  EXPECT_EQ(change(pool("green", "", 0)), "blue");
  EXPECT_EQ(change(pool("green", "", 0)), "blue") << "it is gone already";
}

TEST_F(PoolWriterTest, WhatWouldCutBlocksOrOverlapsIsRefused) {
  EXPECT_EQ(change(pool("blue", "10.50.0.0/24", 26)), "blue");
  EXPECT_THAT(change(pool("green", "10.50.0.0/16", 26)), HasSubstr("overlaps"));
  claim("blue/10.50.0.64/26");
  EXPECT_EQ(change(pool("blue", "10.50.0.0/24", 28)), "PodAddressPool blue is in use: 10.50.0.64/26 of node node-a");
  EXPECT_EQ(change(pool("blue", "", 0)), "PodAddressPool blue is in use: 10.50.0.64/26 of node node-a");
}

TEST_F(PoolWriterTest, LostAnswersAndAnEtcdThatIsAway) {
  // Of the write: what is read before it has been answered.
  world_.cluster.set_latency(std::chrono::milliseconds(10));
  std::string answer;
  writer_.change(pool("blue", "10.50.0.0/24", 26),
                 [&](const Result<std::vector<Pool>>& pools) { answer = names_of(*pools); });
  world_.time.advance(std::chrono::milliseconds(5));
  world_.cluster.lose_answers(1);
  EXPECT_TRUE(world_.run_until([&] { return !answer.empty(); }));
  EXPECT_EQ(answer, "blue");
  world_.cluster.set_latency(std::chrono::milliseconds(0));
  world_.cluster.set_available(false);
  EXPECT_THAT(change(pool("green", "10.51.0.0/24", 26)), HasSubstr("fake"));
  world_.cluster.set_available(true);
  EXPECT_EQ(change(pool("green", "10.51.0.0/24", 26)), "blue, green");
}

TEST_F(PoolWriterTest, OneAfterTheOther) {
  std::string order;
  const auto note = [&](const Result<std::vector<Pool>>& pools) { order += names_of(*pools) + ";"; };
  writer_.change(pool("a", "10.50.0.0/24", 26), note);
  writer_.change(pool("b", "10.51.0.0/24", 26), note);
  writer_.read(note);
  EXPECT_TRUE(world_.run_until([&] { return order == "a;a, b;a, b;"; })) << order;
}

}  // namespace
}  // namespace weft::cluster
