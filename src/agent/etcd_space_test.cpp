#include "agent/etcd_space.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/etcd/testing/world.h"

namespace weft::agent {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

class EtcdSpaceTest : public ::testing::Test {
 protected:
  void pass(seconds time) {
    for (seconds gone{0}; gone < time; gone += seconds(1)) {
      space.check();
      world.time.advance(seconds(1));
    }
  }
  etcd::testing::FakeWorld world;
  Faults faults;
  std::unique_ptr<etcd::Client> client = world.cluster.connect();
  EtcdSpace space{*client, world.time, faults, "http://etcd:2379"};
};

TEST_F(EtcdSpaceTest, AFullOneIsAFaultUntilItIsNotFullAnyMore) {
  pass(seconds(15));
  EXPECT_FALSE(faults.has("etcd space"));
  world.cluster.set_full(true);
  pass(seconds(15));
  ASSERT_TRUE(faults.has("etcd space"));
  EXPECT_THAT(faults.texts().at("etcd space"), HasSubstr("etcd (http://etcd:2379) is out of space since "));
  EXPECT_THAT(faults.remedy("etcd space"), HasSubstr("etcdctl alarm disarm"));
  // Without an answer it is not known to be over.
  world.cluster.set_available(false);
  pass(seconds(30));
  EXPECT_TRUE(faults.has("etcd space"));
  world.cluster.set_available(true);
  world.cluster.set_full(false);
  pass(seconds(30));
  EXPECT_FALSE(faults.has("etcd space"));
}

TEST_F(EtcdSpaceTest, AnAnswerThatComesAfterItsEndIsNobodys) {
  auto other = std::make_unique<EtcdSpace>(*client, world.time, faults, "http://etcd:2379");
  world.cluster.set_full(true);
  other->check();
  other.reset();
  world.time.advance(seconds(5));
  EXPECT_FALSE(faults.has("etcd space"));
}

}  // namespace
}  // namespace weft::agent
