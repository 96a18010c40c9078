// The client against real clusters that lose members, ask for certificates and passwords, forget
// history and come back. What every client must do is in conformance_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/etcd/mirror.h"
#include "sources/etcd/session.h"
#include "sources/etcd/testing/world.h"

namespace weft::etcd::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EtcdClusterTest : public ::testing::Test {
 protected:
  void start(EtcdCluster::Setup setup) {
    cluster_ = std::make_unique<EtcdCluster>(setup);
    options_ = LoopWorld::options(cluster_->endpoints());
    if (setup.tls) {
      options_.tls = {.ca_file = cluster_->directory() + "/ca.pem",
                      .cert_file = cluster_->directory() + "/client.pem",
                      .key_file = cluster_->directory() + "/client.key"};
    }
    // A member serves only once it has a leader; tests with short deadlines begin after that.
    for (int i = 0; i < setup.members; ++i) {
      auto one = options_;
      one.endpoints = {cluster_->endpoint(i)};
      ASSERT_TRUE(world_.status(*world_.connect(one)));
    }
  }
  void SetUp() override {
    if (!etcd_installed()) GTEST_SKIP() << "etcd is not installed (tools/bootstrap test installs it)";
  }
  void must_put(Client& client, const std::string& key, const std::string& value) {
    const auto result = world_.put(client, key, value);
    ASSERT_TRUE(result) << result.error().message;
  }
  std::unique_ptr<Mirror> mirror_of(Client& client) {
    MirrorOptions options{.prefix = "/n/", .page = 2};
    options.backoff = options.watch.backoff = {milliseconds(20), milliseconds(200)};
    options.watch.sign_of_life = milliseconds(500);
    return std::make_unique<Mirror>(
        client, world_.scheduler(), fixed_random(), options,
        MirrorHandlers{.changed = [this](const Change& change) { changes_.push_back(text_of(change)); }, .state = {}});
  }
  // Which member leads.
  int leader() {
    for (int i = 0; i < static_cast<int>(cluster_->endpoints().size()); ++i) {
      auto options = options_;
      options.endpoints = {cluster_->endpoint(i)};
      const auto client = world_.connect(options);
      const auto status = world_.status(*client);
      EXPECT_TRUE(status) << status.error().message;
      if (status && status->leader == status->member_id) return i;
    }
    ADD_FAILURE() << "nobody leads";
    return 0;
  }

  LoopWorld world_;
  std::unique_ptr<EtcdCluster> cluster_;
  Options options_;
  std::vector<std::string> changes_;
};

// As its operators see it: the database reaches its quota, is made smaller, and the alarm is taken back.
TEST_F(EtcdClusterTest, AFullOneSaysSoUntilItsAlarmIsDisarmed) {
  start({.quota_bytes = 1 << 20});
  const auto client = world_.connect(options_);
  EXPECT_FALSE(world_.status(*client)->full);
  const std::string much(100'000, 'x');
  Outcome<PutResult> put;
  for (int i = 0; i < 100 && put; ++i) put = world_.put(*client, "much", much);
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().reason, Reason::exhausted);
  EXPECT_THAT(put.error().to_error().text(), HasSubstr("etcdctl alarm disarm"));
  EXPECT_TRUE(world_.run_until([&] { return world_.status(*client)->full; }));
  const auto revision = std::to_string(world_.status(*client)->revision);
  ASSERT_EQ(cluster_->etcdctl({"compact", revision}), 0);
  ASSERT_EQ(cluster_->etcdctl({"defrag"}), 0);
  ASSERT_EQ(cluster_->etcdctl({"alarm", "disarm"}), 0);
  EXPECT_FALSE(world_.status(*client)->full);
  must_put(*client, "little", "x");
}

class EtcdMembersTest : public EtcdClusterTest {};

TEST_F(EtcdClusterTest, ADeadEndpointInTheListIsPassedOver) {
  start({});
  options_.endpoints.insert(options_.endpoints.begin(), {"http://127.0.0.1:1", "http://127.0.0.1:2"});
  const auto client = world_.connect(options_);
  must_put(*client, "a", "1");
}

TEST_F(EtcdClusterTest, NobodyThereIsToldWithTheEndpointAndInTime) {
  options_ = LoopWorld::options({"http://127.0.0.1:1"});
  options_.call_timeout = milliseconds(300);
  const auto client = world_.connect(options_);
  const auto result = world_.put(*client, "the key", "1");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().reason, Reason::unavailable);
  EXPECT_FALSE(result.error().unsure);
  EXPECT_TRUE(result.error().waited);
  EXPECT_THAT(result.error().message, HasSubstr("put 'the key': http://127.0.0.1:1: connect: "));
}

TEST_F(EtcdClusterTest, ARestartIsSurvivedByRequestsMirrorsAndSessions) {
  start({});
  const auto client = world_.connect(options_);
  must_put(*client, "/n/a", "1");
  const auto mirror = mirror_of(*client);
  Session session(*client, world_.scheduler(), fixed_random(),
                  {.ttl = seconds(10), .backoff = {milliseconds(20), milliseconds(200)}}, {});
  session.bind("/n/node", "here");
  ASSERT_TRUE(world_.run_until([&] { return session.settled() && mirror->view().size() == 2; }));
  changes_.clear();
  cluster_->kill(0);
  ASSERT_TRUE(world_.run_until([&] { return !mirror->live(); }));
  EXPECT_EQ(mirror->view().size(), 2U);
  cluster_->restart(0);
  must_put(*client, "/n/a", "2");
  ASSERT_TRUE(world_.run_until([&] { return !changes_.empty(); }));
  EXPECT_THAT(changes_, ElementsAre("+a=2"));
  EXPECT_EQ(mirror->lists(), 1U);
  EXPECT_TRUE(session.settled());
}

TEST_F(EtcdClusterTest, CompactionWhileTheWatchIsDownIsADifference) {
  start({});
  const auto client = world_.connect(options_);
  for (const auto* key : {"/n/stays", "/n/changes", "/n/goes"}) must_put(*client, key, "1");
  const auto mirror = mirror_of(*client);
  ASSERT_TRUE(world_.run_until([&] { return mirror->live(); }));
  changes_.clear();
  cluster_->kill(0);
  ASSERT_TRUE(world_.run_until([&] { return !mirror->live(); }));
  cluster_->restart(0);
  // The mirror's loop stands still meanwhile: another one changes and compacts.
  {
    LoopWorld elsewhere;
    const auto other = elsewhere.connect(options_);
    ASSERT_TRUE(elsewhere.put(*other, "/n/changes", "2"));
    ASSERT_TRUE(elsewhere.erase(*other, Keys::one("/n/goes")));
    const auto last = elsewhere.put(*other, "/n/comes", "1");
    ASSERT_TRUE(last);
    ASSERT_TRUE(elsewhere.compact(*other, last->revision));
  }
  ASSERT_TRUE(world_.run_until([&] { return mirror->live() && !changes_.empty(); }));
  EXPECT_THAT(changes_, ElementsAre("+changes=2+comes=1-goes=1"));
  EXPECT_EQ(mirror->lists(), 2U);
}

TEST_F(EtcdClusterTest, AWipedServerIsListedAnew) {
  start({});
  const auto client = world_.connect(options_);
  must_put(*client, "/n/a", "1");
  must_put(*client, "/n/b", "1");
  const auto mirror = mirror_of(*client);
  ASSERT_TRUE(world_.run_until([&] { return mirror->live(); }));
  changes_.clear();
  cluster_->kill(0);
  cluster_->erase_data(0);
  cluster_->restart(0);
  ASSERT_TRUE(world_.run_until([&] { return mirror->lists() == 2 && mirror->live(); }));
  EXPECT_THAT(changes_, ElementsAre("-a=1-b=1"));
  must_put(*client, "/n/c", "1");
  ASSERT_TRUE(world_.run_until([&] { return mirror->view().size() == 1; }));
}

TEST_F(EtcdMembersTest, ThreeMembersLoseTheOneInUseThenTheLeader) {
  start({.members = 3});
  options_.call_timeout = seconds(2);  // etcd itself waits 6 s for a leader
  const auto client = world_.connect(options_);
  const auto mirror = mirror_of(*client);
  int written = 0;
  const auto write = [&] {
    // What a caller does whose write may or may not have been applied: it writes again.
    for (int i = 0; i < 50; ++i) {
      const auto result = world_.put(*client, "/n/a", std::to_string(written + 1));
      if (result) break;
      ASSERT_TRUE(result.error().transient()) << result.error().message;
    }
    ++written;
    ASSERT_TRUE(world_.run_until([&] {
      const auto found = mirror->view().find("/n/a");
      return found != mirror->view().end() && found->second.value == std::to_string(written);
    }));
  };
  write();
  const auto status = world_.status(*client);
  ASSERT_TRUE(status);
  const auto endpoints = cluster_->endpoints();
  const int in_use = static_cast<int>(std::ranges::find(endpoints, status->endpoint) - endpoints.begin());
  cluster_->kill(in_use);
  write();
  write();
  cluster_->restart(in_use);
  const int leading = leader();
  cluster_->kill(leading);
  write();
  write();
  EXPECT_EQ(mirror->lists(), 1U) << "nothing was compacted, so nothing had to be listed again";
  cluster_->restart(leading);
}

TEST_F(EtcdMembersTest, WithoutAMajorityWritesFailAndTheViewStays) {
  start({.members = 3});
  options_.call_timeout = seconds(2);
  const auto client = world_.connect(options_);
  must_put(*client, "/n/a", "1");
  const auto mirror = mirror_of(*client);
  ASSERT_TRUE(world_.run_until([&] { return mirror->live(); }));
  cluster_->kill(0);
  cluster_->kill(1);
  const auto result = world_.put(*client, "/n/a", "2");
  ASSERT_FALSE(result);
  EXPECT_TRUE(result.error().transient()) << result.error().message;
  ASSERT_TRUE(world_.run_until([&] { return !mirror->live(); }));
  EXPECT_EQ(mirror->view().at("/n/a").value, "1");
  cluster_->restart(0);
  ASSERT_TRUE(world_.run_until([&] { return mirror->live(); }));
}

TEST_F(EtcdMembersTest, AMemberThatHangsIsLeftForAnother) {
  start({.members = 3});
  options_.call_timeout = milliseconds(500);
  const auto client = world_.connect(options_);
  const auto status = world_.status(*client);
  ASSERT_TRUE(status);
  const auto endpoints = cluster_->endpoints();
  const int in_use = static_cast<int>(std::ranges::find(endpoints, status->endpoint) - endpoints.begin());
  const auto mirror = mirror_of(*client);
  ASSERT_TRUE(world_.run_until([&] { return mirror->live(); }));
  cluster_->pause(in_use);
  ASSERT_TRUE(world_.run_until([&] {
    const auto result = world_.put(*client, "/n/a", "1");
    return result.has_value();
  }));
  ASSERT_TRUE(world_.run_until([&] { return mirror->view().size() == 1; }));
  cluster_->resume(in_use);
}

TEST_F(EtcdClusterTest, TlsWithOurCertificateAndTheirs) {
  start({.tls = true});
  const auto good = options_;
  must_put(*world_.connect(good), "a", "1");

  auto by_name = good;
  by_name.tls.server_name = "etcd.weft.test";
  must_put(*world_.connect(by_name), "a", "2");

  const auto refused = [&](Options options) {
    options.call_timeout = milliseconds(500);
    const auto client = world_.connect(options);
    const auto result = world_.put(*client, "a", "3");
    EXPECT_FALSE(result);
    return result ? Failure{} : result.error();
  };
  auto wrong_name = good;
  wrong_name.tls.server_name = "other.weft.test";
  EXPECT_EQ(refused(wrong_name).reason, Reason::unavailable);
  auto wrong_ca = good;
  wrong_ca.tls.ca_file = cluster_->directory() + "/another.pem";
  EXPECT_EQ(refused(wrong_ca).reason, Reason::unavailable);
  auto anonymous = good;
  anonymous.tls.cert_file = anonymous.tls.key_file = "";
  const auto nobody = refused(anonymous);
  EXPECT_EQ(nobody.reason, Reason::unavailable);
  EXPECT_THAT(nobody.message, HasSubstr("asks clients for a certificate"));
  auto plain = good;
  plain.endpoints = {"http" + good.endpoints[0].substr(5)};
  plain.tls = {};
  const auto greeted = refused(plain);
  EXPECT_EQ(greeted.reason, Reason::unavailable);
  EXPECT_THAT(greeted.message, HasSubstr("if it speaks TLS, its address begins with https://"));
}

TEST_F(EtcdClusterTest, TlsToAServerWithoutIt) {
  start({});
  auto options = options_;
  options.endpoints = {"https" + options.endpoints[0].substr(4)};
  options.call_timeout = milliseconds(500);
  const auto result = world_.put(*world_.connect(options), "a", "1");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("if it does not speak TLS, its address begins with http://"));
}

TEST_F(EtcdClusterTest, PasswordsTokensAndPermissions) {
  start({});
  auto open = options_;
  open.user = "weft";
  open.password = "secret";
  must_put(*world_.connect(open), "/other/a", "1");  // the server does not authenticate yet

  for (const auto& command :
       std::vector<std::vector<std::string>>{{"user", "add", "root:root"},
                                             {"user", "add", "weft:secret"},
                                             {"role", "add", "weft"},
                                             {"role", "grant-permission", "--prefix", "weft", "readwrite", "/n/"},
                                             {"user", "grant-role", "weft", "weft"},
                                             {"user", "grant-role", "root", "root"},
                                             {"auth", "enable"}})
    ASSERT_EQ(cluster_->etcdctl(command), 0) << command[0] << " " << command[1];

  const auto client = world_.connect(open);
  must_put(*client, "/n/a", "1");
  const auto denied = world_.put(*client, "/other/a", "2");
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error().reason, Reason::denied);
  EXPECT_EQ(denied.error().to_error().code, ErrorCode::denied);
  const auto mirror = mirror_of(*client);
  ASSERT_TRUE(world_.run_until([&] { return mirror->live(); }));

  const auto anonymous = world_.connect(options_);
  const auto result = world_.put(*anonymous, "/n/a", "2");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().reason, Reason::unauthenticated) << result.error().message;

  auto wrong = open;
  wrong.password = "wrong";
  const auto intruder = world_.connect(wrong);
  const auto rejected = world_.put(*intruder, "/n/a", "2");
  ASSERT_FALSE(rejected);
  EXPECT_EQ(rejected.error().reason, Reason::unauthenticated) << rejected.error().message;
  EXPECT_THAT(rejected.error().message, HasSubstr("authenticate as 'weft'"));

  // A restarted server has forgotten every token.
  changes_.clear();
  cluster_->restart(0);
  must_put(*client, "/n/a", "3");
  ASSERT_TRUE(world_.run_until([&] { return !changes_.empty(); }));
  EXPECT_THAT(changes_, ElementsAre("+a=3"));
  // And one whose users have changed takes old tokens no more, while the connection stands.
  ASSERT_EQ(cluster_->etcdctl({"--user", "root:root", "user", "add", "late:late"}), 0);
  must_put(*client, "/n/a", "4");
  ASSERT_TRUE(world_.run_until([&] { return mirror->view().at("/n/a").value == "4"; }));
  EXPECT_EQ(mirror->lists(), 1U);
}

TEST_F(EtcdClusterTest, ASessionsKeysGoWithItsProcess) {
  start({});
  const auto client = world_.connect(options_);
  const auto mirror = mirror_of(*client);
  {
    const auto dying = world_.connect(options_);
    Session session(*dying, world_.scheduler(), fixed_random(), {.ttl = seconds(1)}, {});
    session.bind("/n/node", "here");
    ASSERT_TRUE(world_.run_until([&] { return mirror->view().size() == 1; }));
    world_.run_for(milliseconds(2500));
    EXPECT_EQ(mirror->view().size(), 1U) << "kept alive past its first end";
  }
  EXPECT_TRUE(world_.run_until([&] { return mirror->view().empty(); }));
}

}  // namespace
}  // namespace weft::etcd::testing
