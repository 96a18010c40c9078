#include "sources/cluster/values.h"

#include "sources/cluster/operator_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/cluster/shared_endpoints.h"

namespace weft::cluster {
namespace {

using ::testing::HasSubstr;

Cidr cidr(const char* text) { return Cidr::parse(text).value(); }

TEST(ClusterKeys, EveryKindIsReadAsItWasBuilt) {
  const auto keys = Keyspace::make("shop").value();
  const std::vector<std::pair<Key, std::string>> cases{
      {NodeKey{"node-1.rack"}, "nodes/node-1.rack"},
      {AliveKey{"a"}, "alive/a"},
      {PoolsKey{}, "pools"},
      {BlockKey{{"p", cidr("10.0.1.0/24")}}, "blocks/p/10.0.1.0/24"},
      {BlockKey{{"p", cidr("fd00:0:0:1::/64")}}, "blocks/p/fd00:0:0:1::/64"},
      {IdentityKey{256}, "identities/ids/256"},
      {LabelsKey{{{"k8s:app", "web"}}}, R"(identities/labels/{"k8s:app":"web"})"},
      {LabelsKey{}, "identities/labels/{}"},
      {UsersKey{"a"}, "identities/users/a"},
      {MarkKey{65535}, "identities/marks/65535"},
      {EndpointsKey{"a"}, "endpoints/a"},
      {EndpointsKey{"a", 7}, "endpoints/a/7"},
      {EndpointsKey{"a", 65535}, "endpoints/a/65535"},
      {ObjectKey{"Service", "shop", "web"}, "state/objects/Service/shop/web"},
      {ObjectKey{"Namespace", "", "shop"}, "state/objects/Namespace/shop"},
      {AssignmentKey{"shop", "web"}, "state/assignments/shop/web"},
      {AssignmentsEpochKey{}, "state/assignments-epoch"},
      {FoundingKey{}, "state/founding"},
      {RoleKey{"collector"}, "roles/collector"},
      {OperatorKey{"op-1", "a3f0"}, "operators/op-1/a3f0"},
      {AnnouncerKey{IpAddress::parse("192.0.2.7").value()}, "announcers/192.0.2.7"},
      {AnnouncerKey{IpAddress::parse("2001:db8::7").value()}, "announcers/2001:db8::7"},
  };
  for (const auto& [key, text] : cases) {
    EXPECT_EQ(keys.build(key), "/weft/v1/shop/" + text);
    const auto read = keys.parse("/weft/v1/shop/" + text);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_TRUE(*read == key) << text;
  }
}

TEST(ClusterKeys, ForeignKeysAreRefusedAndQuoted) {
  const auto keys = Keyspace::make("shop").value();
  const std::vector<std::pair<std::string, std::string>> cases{
      {"/registry/pods/a", "not below '/weft/v1/shop/'"},
      {"/weft/v1/other/nodes/a", "not below"},
      {"/weft/v1/shop/secrets/a", "no kind of key"},
      {"/weft/v1/shop/pools/p", "no kind of key"},
      {"/weft/v1/shop/nodes/", "the name is missing"},
      {"/weft/v1/shop/endpoints/a/", "slice's number from 1 to 65535"},
      {"/weft/v1/shop/endpoints/a/0", "slice's number"},
      {"/weft/v1/shop/endpoints/a/07", "slice's number"},
      {"/weft/v1/shop/endpoints/a/65536", "slice's number"},
      {"/weft/v1/shop/endpoints/a/7/1", "slice's number"},
      {"/weft/v1/shop/endpoints//7", "the name is missing"},
      {"/weft/v1/shop/nodes/a b", "is not a name"},
      {"/weft/v1/shop/alive/-a", "is not a name"},
      {"/weft/v1/shop/blocks/p", "CIDR is missing"},
      {"/weft/v1/shop/blocks/p/10.0.1.0", "prefix length is missing"},
      {"/weft/v1/shop/blocks/p/10.0.1.7/24", "is to be written \"10.0.1.0/24\""},
      {"/weft/v1/shop/identities/ids/255", "from 256 to 65535"},
      {"/weft/v1/shop/identities/ids/0256", "from 256 to 65535"},
      {"/weft/v1/shop/identities/marks/x", "from 256 to 65535"},
      {"/weft/v1/shop/state/objects/Service", "the object's name is missing"},
      {"/weft/v1/shop/state/objects/Service//web", "namespace: the name is missing"},
      {"/weft/v1/shop/state/objects/Service/a/b/c", "'a/b' is not a name"},
      {"/weft/v1/shop/state/objects//a", "kind: the name is missing"},
      {"/weft/v1/shop/state/assignments/web", "the Service's name is missing"},
      {"/weft/v1/shop/state/assignments/shop/", "Service: the name is missing"},
      {"/weft/v1/shop/state/other", "no kind of key"},
      {"/weft/v1/shop/identities/labels/[]", "not a JSON object of labels"},
      {"/weft/v1/shop/operators/a", "the operator's run is missing"},
      {"/weft/v1/shop/operators/a/b/c", "run: 'b/c' is not a name"},
      {"/weft/v1/shop/announcers/web", "\"web\" is not an IP address"},
      {"/weft/v1/shop/announcers/2001:DB8::7", "is to be written \"2001:db8::7\""},
      {R"(/weft/v1/shop/identities/labels/{"b":"","a":""})", "not spelled"},
  };
  for (const auto& [text, why] : cases) {
    const auto read = keys.parse(text);
    ASSERT_FALSE(read) << text;
    EXPECT_THAT(read.error().message, HasSubstr(why));
    EXPECT_THAT(read.error().message, HasSubstr(etcd::printable(text)));
  }
  EXPECT_FALSE(keys.parse_as<NodeKey>("/weft/v1/shop/alive/a"));
  EXPECT_FALSE(Keyspace::make("a/b"));
}

TEST(ClusterValues, AreReadAsTheyWereWritten) {
  const NodeRecord node{.boot_id = "b",
                        .underlay = {IpAddress::parse("10.0.0.1").value(), IpAddress::parse("fd00::1").value()},
                        .mode = "tunnel",
                        .mtu = 1450,
                        .wireguard = {{1, "k", 51872}, {2, "l", 51871}},
                        .settled = 1,
                        .gateways = {IpAddress::parse("10.244.1.1").value()},
                        .zone = "west",
                        .labels = {{"kubernetes.io/hostname", "a"}, {"rack", "7"}},
                        .keep = true,
                        .macs = {MacAddress::parse("02:00:00:00:00:07").value()},
                        .taken = {IpAddress::parse("192.0.2.254").value()},
                        .settings = {{"pod_cidrs", "[10.244.0.0/16]"}, {"tunnel", "vxlan"}},
                        .uplinks = {"eth0", "eth1"},
                        .written = 1764417600};
  EXPECT_EQ(decode_node("k", encode(node)).value(), node);
  auto earlier = node;  // a version that tells none of these
  earlier.settings.clear();
  earlier.uplinks.clear();
  earlier.written = 0;
  EXPECT_EQ(decode_node("k", encode(earlier)).value(), earlier);
  const Incarnation run{"a", "b"};
  EXPECT_EQ(decode_incarnation("k", encode(run)).value(), run);
  const std::vector<Pool> pools{{.name = "p", .ranges = {{cidr("10.0.0.0/16"), 24}, {cidr("fd00::/48"), 64}}}};
  EXPECT_EQ(decode_pools("k", encode(pools)).value(), pools);
  for (const IdentityUsers& users : {IdentityUsers{"b", {}}, IdentityUsers{"b", {256, 300}}})
    EXPECT_EQ(decode_users("k", encode(users)).value(), users);
  const OperatorRecord record{
      .host = "h",
      .version = "0.1.0",
      .started = "2026-01-02T03:04:05Z",
      .collected = {.rounds = 9, .nodes = 1, .endpoints = 2, .blocks = 3, .users = 4, .identities = 5},
      .last_round = "2026-01-02T03:05:05Z",
      .served = 6,
      .waiting = 7,
      .problem = "none"};
  EXPECT_EQ(decode_operator("k", encode(record)).value(), record);
  for (const LabelMap& labels : {LabelMap{}, LabelMap{{"k8s:app", "web"}, {"x", ""}}})
    EXPECT_EQ(decode_labels("k", encode_labels(labels).value()).value(), labels);
  EXPECT_EQ(decode_number("k", encode_number(300)).value(), 300U);
  const NodeEndpoints endpoints{
      .boot_id = "b",
      .pods = {{{"shop", "web-1"},
                {.addresses = {IpAddress::parse("10.0.1.2").value(), IpAddress::parse("fd00::2").value()},
                 .identity = 300,
                 .ready = false,
                 .terminating = true,
                 .weight = 0,
                 .ports = {{"http", 8080, Protocol::tcp}, {"", 53, Protocol::udp}}}},
               {{"shop", "web-2"},
                {.addresses = {IpAddress::parse("192.0.2.1").value()}, .identity = 301, .host_network = true}}}};
  EXPECT_EQ(decode_endpoints("k", encode(endpoints)).value(), endpoints);
  EXPECT_EQ(decode_endpoints("k", encode(NodeEndpoints{"b", {}})).value().pods.size(), 0U);
  EXPECT_FALSE(encode_labels({{"a", "\xff"}}));
  EXPECT_FALSE(encode_labels({{"a", std::string(20000, 'x')}}));
}

TEST(ClusterValues, WhatIsWrongIsToldWithKeyAndField) {
  const auto told = [](const auto& decoded, const char* why) {
    ASSERT_FALSE(decoded) << why;
    EXPECT_THAT(decoded.error().message, HasSubstr("value of key '/k'"));
    EXPECT_THAT(decoded.error().message, HasSubstr(why));
  };
  told(decode_incarnation("/k", ""), "not a JSON object");
  told(decode_incarnation("/k", "[1]"), "not a JSON object");
  told(decode_incarnation("/k", "{}"), "\"version\" is no number");
  told(decode_incarnation("/k", R"({"version":2})"), "version 2 is not known");
  told(decode_incarnation("/k", R"({"version":1,"node":"a"})"), "\"boot_id\" is missing");
  told(decode_incarnation("/k", R"({"version":1,"node":7,"boot_id":"b"})"), "\"node\" is no text");
  told(decode_incarnation("/k", R"({"version":1,"node":"/","boot_id":"b"})"), "is not a name");
  told(decode_node("/k", R"({"version":1,"boot_id":"b","mode":"","mtu":70000,"underlay":[]})"),
       "\"mtu\": '70000' is not a number from 0 to 65535");
  told(decode_node("/k", R"({"version":1,"boot_id":"b","underlay":[],"mode":"","mtu":1,"gateways":[7]})"),
       "\"gateways\": '7' is no address");
  told(decode_node("/k", R"({"version":1,"boot_id":"b","mode":"","mtu":1,"underlay":["x"]})"), "is no address");
  const auto keys = [](const std::string& list) {
    return decode_node("/k", R"({"version":1,"boot_id":"b","underlay":[],"mode":"","mtu":1,"gateways":[],"zone":"",)"
                             R"("settled":0,"wireguard":)" +
                                 list + "}");
  };
  EXPECT_TRUE(keys(R"([{"generation":1,"public_key":"","port":1},{"generation":2,"public_key":"","port":2}])"));
  told(keys("7"), "is no list");
  told(keys("[7]"), "is not a JSON object");
  told(keys(R"([{"generation":0,"public_key":"","port":1}])"), "\"generation\"");
  told(keys(R"([{"generation":1,"public_key":"","port":65536}])"), "\"port\"");
  told(keys(R"([{"generation":2,"public_key":"","port":1},{"generation":2,"public_key":"","port":2}])"), "the order");
  told(keys(R"([{"generation":1,"public_key":"","port":1},{"generation":2,"public_key":"","port":2},)"
            R"({"generation":3,"public_key":"","port":2}])"),
       "more than two keys");
  const auto settings = [](const std::string& more) {
    return decode_node(
        "/k", R"({"version":1,"boot_id":"b","underlay":[],"mode":"","mtu":1,"gateways":[],"zone":"",)" + more + "}");
  };
  EXPECT_TRUE(settings(R"("settings":{"tunnel":"vxlan"},"written":1764417600)"));
  told(settings(R"("settings":[1])"), "\"settings\" is no object");
  told(settings(R"("settings":{"tunnel":7})"), "\"settings\": 'tunnel' is no text");
  told(settings(R"("written":-1)"), "\"written\": '-1' is not a number");
  told(decode_pools("/k", R"({"version":1,"pools":[7]})"), "is no pool");
  told(decode_pools("/k", R"({"version":1,"pools":[{"name":"p","ranges":[{"cidr":"x","block_length":1}]}]})"),
       "is no CIDR");
  told(decode_pools("/k", R"({"version":1,"pools":[{"name":"p","ranges":[]}]})"), "has no CIDR");
  told(decode_users("/k", R"({"version":1,"boot_id":"b","numbers":[1]})"), "'1' is not a number from 256");
  told(decode_users("/k", R"({"version":1,"boot_id":"b","numbers":{}})"), "\"numbers\" is no list");
  told(decode_labels("/k", R"({"version":1,"labels":{"a":1}})"), "label 'a' is no text");
  told(decode_number("/k", R"({"version":1,"number":-1})"), "is not a number");
  const std::string deep(600000, '[');
  told(decode_node("/k", R"({"version":1,"boot_id":"b","mode":"","mtu":1,"underlay":)" + deep + "}"),
       "nests too deeply");
  std::string macs;
  for (int i = 0; i < 5000; ++i) macs += std::string(i == 0 ? "" : ",") + R"("02:00:00:00:00:01")";
  told(decode_node("/k",
                   R"({"version":1,"boot_id":"b","underlay":[],"mode":"","mtu":1,"gateways":[],"zone":"","macs":[)" +
                       macs + "]}"),
       "\"macs\": more than 4096");
}

TEST(ClusterValues, WhatIsWrongWithAPodIsTold) {
  const auto told = [](const std::string& pods, const char* why) {
    const auto decoded = decode_endpoints("/k", R"({"version":1,"boot_id":"b","pods":)" + pods + "}");
    ASSERT_FALSE(decoded) << pods;
    EXPECT_THAT(decoded.error().message, HasSubstr("value of key '/k'"));
    EXPECT_THAT(decoded.error().message, HasSubstr(why));
  };
  const auto pod = [](const std::string& more) {
    return R"([{"namespace":"shop","name":"a","addresses":["10.0.1.2"],"identity":300)" + more + "}]";
  };
  ASSERT_TRUE(decode_endpoints("/k", R"({"version":1,"boot_id":"b","pods":)" + pod("") + "}"));
  told("{}", "\"pods\" is no list");
  told("[7]", "\"pods\": '7' is not a JSON object");
  told(R"([{"namespace":"shop"}])", "\"name\" is missing");
  told(R"([{"namespace":"shop","name":"a/b"}])", "is not a name");
  told(R"([{"namespace":"shop","name":"a","addresses":["x"]}])", "is no address");
  told(R"([{"namespace":"shop","name":"a","addresses":[],"identity":1}])", "is not a number from 256");
  told(R"([{"namespace":"shop","name":"a","addresses":["10.0.1.2","10.0.1.2"],"identity":300}])", "one of each family");
  told(pod(R"(,"ready":1)"), "\"ready\" is neither true nor false");
  told(pod(R"(,"weight":1001)"), "is not a number from 0 to 1000");
  told(pod(R"(,"ports":[{"port":0,"protocol":"TCP"}])"), "is not a number from 1 to 65535");
  told(pod(R"(,"ports":[{"port":1,"protocol":"x"}])"), "\"protocol\"");
  const auto twice = pod("");
  told(twice.substr(0, twice.size() - 1) + "," + twice.substr(1), "'shop/a' is there twice");
}

TEST(ClusterPools, AreCutIntoBlocks) {
  const Pool pool{.name = "p",
                  .ranges = {{cidr("10.0.0.0/22"), 24}, {cidr("10.9.0.0/31"), 32}, {cidr("fd00::/32"), 64}}};
  ASSERT_TRUE(check_pools({pool}));
  EXPECT_EQ(pool.blocks(Family::v4), 6U);
  EXPECT_EQ(pool.block(Family::v4, 3).to_string(), "10.0.3.0/24");
  EXPECT_EQ(pool.block(Family::v4, 5).to_string(), "10.9.0.1/32");
  EXPECT_EQ(pool.blocks(Family::v6), std::uint64_t{1} << 32);
  EXPECT_EQ(pool.block(Family::v6, 1).to_string(), "fd00:0:0:1::/64");
  EXPECT_EQ(pool.block(Family::v6, 0xffffffff).to_string(), "fd00:0:ffff:ffff::/64");
}

TEST(ClusterPools, WhatOverlapsOrMakesNoSenseIsRefused) {
  const auto refused = [](const std::vector<Pool>& pools, const char* why) {
    const auto good = check_pools(pools);
    ASSERT_FALSE(good) << why;
    EXPECT_THAT(good.error().message, HasSubstr(why));
  };
  const Pool p{.name = "p", .ranges = {{cidr("10.0.0.0/16"), 24}}};
  refused({p, {.name = "q", .ranges = {{cidr("10.0.128.0/20"), 26}}}},
          "10.0.0.0/16 of pool \"p\" overlaps 10.0.128.0/20 of pool \"q\"");
  refused({{.name = "p", .ranges = {{cidr("10.0.0.0/16"), 24}, {cidr("10.0.0.0/8"), 24}}}}, "overlaps");
  refused({p, {.name = "p", .ranges = {{cidr("10.1.0.0/16"), 24}}}}, "is there twice");
  refused({{.name = "p", .ranges = {{cidr("10.0.0.0/24"), 16}}}}, "a block is larger than the CIDR");
  refused({{.name = "p", .ranges = {{cidr("10.0.0.0/24"), 33}}}}, "at most 32");
  refused({{.name = "p", .ranges = {{cidr("fd00::/16"), 64}}}}, "more than 2^32 blocks");
  refused({{.name = "p", .ranges = {{cidr("::/64"), 80}}}}, "IPv4-mapped");
  refused({{.name = "p", .ranges = {}}}, "has no CIDR");
  refused({{.name = "p/q", .ranges = {{cidr("10.0.0.0/24"), 26}}}}, "is not a name");
  EXPECT_EQ(merge_pools({p}, {p}).value().size(), 1U);
  const auto other = merge_pools({p}, {{.name = "p", .ranges = {{cidr("10.0.0.0/16"), 25}}}});
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message, HasSubstr("10.0.0.0/16 in blocks of /25 here and 10.0.0.0/16 in blocks of /24"));
}

}  // namespace
}  // namespace weft::cluster
