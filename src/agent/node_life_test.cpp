#include "agent/node_life.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/node_testing.h"
#include "sys/fake_netlink.h"

namespace weft::agent {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

class NodeLifeTest : public ::testing::Test {
 protected:
  std::string unmanaged() {
    const auto found = faults.texts().find("unmanaged pods");
    return found == faults.texts().end() ? "none" : found->second;
  }
  static PodStatus running(const std::string& address) {
    return {.uid = "u", .running = true, .host_network = false, .addresses = {IpAddress::parse(address).value()}};
  }

  Config config;
  Faults faults;
  sys::FakeKernel kernel;
  std::unique_ptr<sys::Netlink> netlink = kernel.open();
  NodeLife life{NodeLife::Parts{config, faults, *netlink, [](const std::string&) {}}};
  std::chrono::steady_clock::time_point start{};
  std::map<model::ObjectKey, PodStatus> pods;
  std::map<store::EndpointKey, store::EndpointRecord> records;
};

TEST_F(NodeLifeTest, PodsThatAnotherNetworkAttachedAreNamed) {
  pods[{"shop", "old"}] = running("10.9.9.9");
  pods[{"shop", "ours"}] = running("10.244.0.7");
  pods[{"shop", "host"}] = running("192.0.2.2");
  pods[{"shop", "host"}].host_network = true;
  pods[{"shop", "waiting"}] = PodStatus{.uid = "w"};
  const auto record = testing::ready_record({"shop", "ours"}, 7, IpAddress::parse("10.244.0.7").value());
  records[record.key] = record;
  EXPECT_THAT(life.check_pods(pods, records, start), ::testing::ElementsAre(*IpAddress::parse("10.9.9.9")));
  EXPECT_EQ(unmanaged(), "none") << "it may be attached anew at this moment";
  life.check_pods(pods, records, start + seconds(30));
  EXPECT_THAT(unmanaged(), HasSubstr("not Weft (1): shop/old; no NetworkPolicy"));
  nlohmann::json status;
  life.add_status(status);
  EXPECT_EQ(status["unmanaged"], nlohmann::json({"shop/old"}));
  // Made again under the same name.
  pods.erase({"shop", "old"});
  life.check_pods(pods, records, start + seconds(31));
  EXPECT_EQ(unmanaged(), "none");
}

TEST_F(NodeLifeTest, OfManyAFewAreNamed) {
  for (int i = 0; i < 9; ++i) pods[{"shop", "old-" + std::to_string(i)}] = running("10.9.9.9");
  life.check_pods(pods, records, start);
  life.check_pods(pods, records, start + seconds(30));
  EXPECT_THAT(unmanaged(), HasSubstr("(9): shop/old-0,"));
  EXPECT_THAT(unmanaged(), HasSubstr("and 4 more;"));
  EXPECT_THAT(unmanaged(), Not(HasSubstr("old-7")));
}

TEST_F(NodeLifeTest, WithoutKubernetesNothingIsTold) {
  life.tell_refused({"shop", "web"}, "u", {ErrorCode::exhausted, "no address is left", ""});
  life.tell_new("NotServed", {{{model::Kind::service, {"shop", "web"}}, "no room"}}, {"shop"});
  life.check("not ready", Node());
  EXPECT_TRUE(faults.texts().empty());
}

TEST(RefusalReason, IsOneForEachThingToDo) {
  EXPECT_EQ(refusal_reason(ErrorCode::exhausted), "NetworkExhausted");
  EXPECT_EQ(refusal_reason(ErrorCode::unavailable), "NetworkNotReady");
  EXPECT_EQ(refusal_reason(ErrorCode::not_found), "NetworkRefused");
  EXPECT_EQ(refusal_reason(ErrorCode::io), "NetworkFailed");
}

}  // namespace
}  // namespace weft::agent
