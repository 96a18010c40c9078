#include "sources/etcd/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "sources/etcd/endpoint.h"
#include "sources/etcd/types.h"
#include "sources/etcd/wire.h"

namespace weft::etcd {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(EtcdEndpoint, ReadsWhatEtcdsToolsRead) {
  const auto name = parse_endpoint("https://etcd-0.example:2379/");
  ASSERT_TRUE(name);
  EXPECT_EQ(*name, (Endpoint{.tls = true, .host = "etcd-0.example", .port = 2379}));
  EXPECT_EQ(name->target(), "dns:///etcd-0.example:2379");
  const auto six = parse_endpoint("http://[2001:db8::1]:2379");
  ASSERT_TRUE(six);
  EXPECT_EQ(six->target(), "ipv6:[2001:db8::1]:2379");
  EXPECT_EQ(six->url(), "http://[2001:db8::1]:2379");
  EXPECT_EQ(parse_endpoint("http://10.0.0.1:1")->target(), "ipv4:10.0.0.1:1");
}

TEST(EtcdEndpoint, RefusesTheRest) {
  for (const auto* text :
       {"", "10.0.0.1:2379", "ftp://a:1", "http://", "http://a", "http://a:", "http://a:0", "http://a:65536",
        "http://a:1x", "http://:1", "http://a b:1", "http://a:1/v3", "http://2001:db8::1:2379", "http://[10.0.0.1]:1",
        "http://[::1:1", "http://[]:1", "http://user@a:1"})
    EXPECT_FALSE(parse_endpoint(text)) << text;
}

class EtcdOptions : public ::testing::Test {
 protected:
  EtcdOptions() { options_.endpoints = {"https://10.0.0.1:2379", "https://10.0.0.2:2379"}; }
  void expect_problem(const std::string& field) {
    const auto result = validate(options_);
    ASSERT_FALSE(result) << "expected a problem with " << field;
    EXPECT_THAT(result.error().message, StartsWith(field));
  }
  Options options_;
};

TEST_F(EtcdOptions, AreGoodAsTheyCome) { EXPECT_TRUE(validate(options_)); }

TEST_F(EtcdOptions, EveryProblemNamesItsField) {
  options_.endpoints = {};
  expect_problem("endpoints");
  options_.endpoints = {"https://10.0.0.1:2379", "nonsense"};
  expect_problem("endpoints[1]");
  options_.endpoints = {"https://10.0.0.1:2379", "http://10.0.0.2:2379"};
  expect_problem("endpoints[1]");
  options_.endpoints = {"http://10.0.0.1:2379"};
  options_.tls.ca_file = "/ca.pem";
  expect_problem("tls");
  options_.endpoints = {"https://10.0.0.1:2379"};
  options_.tls = {.ca_file = "/does/not/exist.pem"};
  expect_problem("tls.ca_file: /does/not/exist.pem");
  options_.tls = {.ca_file = "/etc/hostname"};
  expect_problem("tls.ca_file: /etc/hostname: holds no PEM");
  options_.tls = {.cert_file = "/client.pem"};
  expect_problem("tls.key_file");
  options_.tls = {.key_file = "/client.key"};
  expect_problem("tls.cert_file");
  options_.tls = {};
  options_.user = "weft";
  expect_problem("password");
  options_.user = "";
  options_.password = "secret";
  expect_problem("user");
  options_.password = "";
  options_.keepalive = std::chrono::milliseconds(100);
  expect_problem("keepalive");
  options_.keepalive = std::chrono::milliseconds(5000);
  options_.call_timeout = std::chrono::milliseconds(0);
  expect_problem("call_timeout");
  options_.call_timeout = std::chrono::milliseconds(1);
  options_.backoff = {std::chrono::milliseconds(10), std::chrono::milliseconds(5)};
  expect_problem("backoff.cap");
}

TEST(EtcdKeys, APrefixEndsAfterItsLastKey) {
  EXPECT_EQ(Keys::prefix("/a").end, "/b");
  EXPECT_EQ(Keys::prefix("a\xff").end, "b");
  EXPECT_EQ(Keys::prefix("\xff\xff").end, std::string(1, '\0'));
  EXPECT_EQ(Keys::prefix("").key, std::string(1, '\0'));
  const Keys keys = Keys::prefix("/a/");
  EXPECT_TRUE(keys.contains("/a/"));
  EXPECT_TRUE(keys.contains("/a/\xff"));
  EXPECT_FALSE(keys.contains("/a"));
  EXPECT_FALSE(keys.contains("/b"));
  EXPECT_TRUE(Keys::prefix("").contains("anything"));
  EXPECT_TRUE(Keys::prefix("\xff").contains("\xff\xff\xff"));
  EXPECT_FALSE(Keys::one("a").contains("ab"));
}

TEST(EtcdKeys, AreShownToPeople) {
  EXPECT_EQ(Keys::one("/a").text(), "'/a'");
  EXPECT_EQ(Keys::prefix("/a").text(), "'/a'*");
  EXPECT_EQ(printable(std::string("\0'\x7f", 3)), "'\\x00\\x27\\x7f'");
  EXPECT_EQ(printable(std::string(200, 'x')).size(), 80U + 5);
}

TEST(EtcdBackoff, DoublesToItsCapWithinTheUpperHalf) {
  for (const std::uint64_t extreme : {std::uint64_t{0}, ~std::uint64_t{0}}) {
    Backoff backoff({std::chrono::milliseconds(100), std::chrono::milliseconds(1000)}, [=] { return extreme; });
    std::vector<std::int64_t> delays;
    for (int i = 0; i < 6; ++i) delays.push_back(backoff.next().count());
    if (extreme == 0)
      EXPECT_THAT(delays, ::testing::ElementsAre(50, 100, 200, 400, 500, 500));
    else
      EXPECT_THAT(delays, ::testing::ElementsAre(100, 200, 400, 800, 1000, 1000));
    EXPECT_LE(backoff.next(true).count(), 100) << "it has waited already";
    EXPECT_GE(backoff.next().count(), 500);
    backoff.reset();
    EXPECT_LE(backoff.next().count(), 100);
  }
}

// Answers a broken server could give.
TEST(EtcdWire, AnswersThatMakeNoSenseAreFailures) {
  namespace pb = etcdserverpb;
  pb::RangeResponse range;
  range.set_more(true);
  EXPECT_EQ(wire::decode(range).error().reason, Reason::internal);
  range.set_more(false);
  range.add_kvs()->set_key("b");
  range.add_kvs()->set_key("a");
  EXPECT_EQ(wire::decode(range).error().reason, Reason::internal);
  pb::TxnResponse txn;
  txn.add_responses();
  EXPECT_EQ(wire::decode(txn).error().reason, Reason::internal);
  txn.mutable_responses(0)->mutable_response_put();
  txn.set_succeeded(true);
  const auto decoded = wire::decode(txn);
  ASSERT_TRUE(decoded);
  EXPECT_TRUE(wire::fits({.then = {PutRequest{}}}, *decoded));
  EXPECT_FALSE(wire::fits({.then = {RangeRequest{}}}, *decoded));
  EXPECT_FALSE(wire::fits({.then = {}}, *decoded));
  pb::LeaseGrantResponse grant;
  EXPECT_EQ(wire::decode(grant).error().reason, Reason::internal);
  pb::WatchResponse watch;
  watch.add_events()->mutable_kv()->set_mod_revision(5);
  watch.add_events()->mutable_kv()->set_mod_revision(4);
  EXPECT_EQ(wire::decode(watch).error().reason, Reason::internal);
}

TEST(EtcdWire, ReasonsAreReadFromCodeAndWords) {
  EXPECT_EQ(wire::reason_of(14, "connection refused"), Reason::unavailable);
  EXPECT_EQ(wire::reason_of(14, "etcdserver: no leader"), Reason::no_leader);
  EXPECT_EQ(wire::reason_of(11, "etcdserver: mvcc: required revision has been compacted"), Reason::compacted);
  EXPECT_EQ(wire::reason_of(3, "etcdserver: authentication failed, invalid user ID or password"),
            Reason::unauthenticated);
  EXPECT_EQ(wire::reason_of(3, "etcdserver: duplicate key given in txn request"), Reason::invalid);
  EXPECT_EQ(wire::reason_of(8, "etcdserver: mvcc: database space exceeded"), Reason::exhausted);
  EXPECT_EQ(wire::reason_of(2, "anything"), Reason::internal);
  EXPECT_TRUE(wire::is_stale_token(16, "etcdserver: invalid auth token"));
  EXPECT_FALSE(wire::is_stale_token(3, "etcdserver: authentication failed, invalid user ID or password"));
}

}  // namespace
}  // namespace weft::etcd
