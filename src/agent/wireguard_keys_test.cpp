#include "agent/wireguard_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "agent/node_to_node.h"
#include "sys/system.h"

namespace weft::agent {
namespace {

using testing::HasSubstr;
using testing::Not;

class WireGuardKeysTest : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  std::string path_ = testing::TempDir() + "wireguard-" + std::to_string(::getpid()) + ".json";
};

TEST_F(WireGuardKeysTest, AreKeptForTheNodeAlone) {
  EXPECT_TRUE(load_wireguard_keys(path_).value().pairs.empty()) << "none yet";
  WireGuardKeys keys;
  keys.pairs[7] = make_wireguard_pair().value();
  keys.pairs[8] = make_wireguard_pair().value();
  keys.settled = 7;
  ASSERT_TRUE(save_wireguard_keys(path_, keys));
  EXPECT_EQ(load_wireguard_keys(path_).value(), keys);
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(WireGuardKeysTest, ADamagedFileIsNotTakenForNone) {
  for (const auto* text : {"", "{}", R"({"version":2,"keys":[]})", R"({"version":1,"keys":7})",
                           R"({"version":1,"keys":[7]})", R"({"version":1,"keys":[{"generation":1}]})",
                           R"({"version":1,"keys":[{"generation":1,"private_key":"secret-of-mine"}]})"}) {
    ASSERT_TRUE(sys::write_file_atomically(path_, text, 0600));
    const auto keys = load_wireguard_keys(path_);
    ASSERT_FALSE(keys) << text;
    EXPECT_THAT(keys.error().message, HasSubstr(path_));
    EXPECT_THAT(keys.error().text(), HasSubstr("put the file back"));
    EXPECT_THAT(keys.error().message, Not(HasSubstr("secret-of-mine")));
  }
}

TEST(NodeToNode, EtcdAndWireGuardItselfGoPast) {
  const auto rules = NodeToNode::rules_for({"https://10.0.0.1:2379", "http://etcd.example:4001"});
  EXPECT_EQ(rules.size(), 12U);
  std::uint32_t last_exception = 0;
  std::uint32_t first_rule = 0xffffffff;
  for (const auto& rule : rules) {
    if (rule.table == node_table) {
      first_rule = std::min(first_rule, rule.priority);
      EXPECT_TRUE(rule.local) << "pods' packets have ways of their own";
    } else {
      last_exception = std::max(last_exception, rule.priority);
    }
  }
  EXPECT_LT(last_exception, first_rule);
  EXPECT_TRUE(rules.contains({.family = Family::v6, .priority = 8699, .table = 254, .tcp_source = 4001}));
  EXPECT_TRUE(rules.contains({.family = Family::v4, .priority = 8698, .table = 254, .mark = wireguard_mark}));
}

}  // namespace
}  // namespace weft::agent
