// Keys and values to objects and back.
#include "sources/crd_store/objects.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "sources/cluster/operator_record.h"
#include "sources/cluster/shared_endpoints.h"
#include "sources/cluster/values.h"

namespace weft::crd {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const Codec& codec() {
  static const Codec codec(Places(cluster::Keyspace::make("c").value()), "weft-system");
  return codec;
}

std::string key(const std::string& rest) { return "/weft/v1/c/" + rest; }

// The object's JSON as the server would have it.
json object_of(const std::string& rest, const std::string& value, const Writing& writing = {}) {
  const auto place = codec().places().of(key(rest));
  EXPECT_TRUE(place) << place.error().message;
  const auto text = codec().encode(*place, value, writing);
  EXPECT_TRUE(text) << text.error().message;
  auto object = json::parse(text.value_or("{}"));
  object["metadata"]["uid"] = "uid";
  object["metadata"]["resourceVersion"] = "7";
  return object;
}

Result<Stored> read(const std::string& rest, const json& object) {
  return codec().decode(codec().places().of(key(rest))->resource, object.dump());
}

cluster::NodeRecord record() {
  cluster::NodeRecord record{.boot_id = "b-1", .underlay = {IpAddress::parse("192.0.2.1").value()}, .mode = "vxlan"};
  record.mtu = 1450;
  record.labels = {{"topology.kubernetes.io/zone", "a_b"}, {"some_label", "x"}};
  record.settings = {{"pod_cidrs", "10.0.0.0/8"}};
  record.wireguard = {{.generation = 1, .public_key = "k", .port = 51871}};
  record.written = 1800000000;
  return record;
}

struct Case {
  std::string key;
  std::string name;
  std::string value;
};

const std::vector<Case>& cases() {
  static const std::string run = cluster::encode(cluster::Incarnation{"node-a", "boot"});
  static const std::vector<Case> cases{
      {"nodes/node-a", "node-a", cluster::encode(record())},
      {"nodes/a.b", "a.b", "{}"},
      {"blocks/default/10.0.1.0/24", "default-10.0.1.0-24", run},
      {"blocks/default/fd00:0:1:2::/64", "default-fd00000000010002-64", run},
      {"blocks/p/::/0", "p-0-0", run},
      {"identities/ids/300", "300", cluster::encode_labels({{"k8s:app", "web"}, {"k8s:a_b", "c"}}).value()},
      {"identities/ids/301", "301", cluster::encode_labels({}).value()},
      {"identities/users/node-a", "node-a", cluster::encode(cluster::IdentityUsers{"boot", {256, 300}})},
      {"pools", "pools",
       cluster::encode(std::vector<cluster::Pool>{
           {.name = "default", .ranges = {{.cidr = Cidr::parse("10.0.0.0/16").value(), .block_length = 24}}}})},
      {"alive/node-a", "alive-node-a", run},
      {"roles/collector", "role-collector", run},
      {"roles/collecting", "role-collecting", "{}"},
      {"roles/egress-192.0.2.1", "egress-192.0.2.1", run},
      {"announcers/192.0.2.1", "announcer-192.0.2.1", run},
  };
  return cases;
}

TEST(CrdObjects, EveryKeyIsOneObjectThatLeadsBackToItAndItsValue) {
  for (const auto& [rest, name, value] : cases()) {
    SCOPED_TRACE(rest);
    const auto object = object_of(rest, value);
    EXPECT_EQ(object["metadata"]["name"], name);
    const auto stored = read(rest, object);
    ASSERT_TRUE(stored) << stored.error().message;
    EXPECT_EQ(stored->kv.key, key(rest));
    EXPECT_EQ(stored->kv.value, value);
    EXPECT_EQ(stored->kv.mod_revision, 7);
    EXPECT_FALSE(stored->marked);
    EXPECT_EQ(object["metadata"].contains("namespace"), object["kind"] == "WeftClaim");
  }
}

TEST(CrdObjects, KeysThatAreNoNamesAreAnnotatedAndDiffer) {
  std::set<std::string> names;
  for (const auto* rest : {"roles/egress-fd00__1", "roles/egress-fd00___1", "announcers/fd00::1", "announcers/fd00:1::",
                           "operators/a/b-c", "operators/a-b/c", "nodes/A", "nodes/a_", "nodes/a-"}) {
    SCOPED_TRACE(rest);
    const auto place = codec().places().of(key(rest));
    if (!place) continue;  // another spelling of an address
    const auto object = object_of(rest, "{}");
    EXPECT_TRUE(object["metadata"]["annotations"].contains(key_annotation));
    EXPECT_TRUE(names.insert(object["metadata"]["name"]).second);
    EXPECT_EQ(read(rest, object)->kv.key, key(rest));
  }
  EXPECT_GE(names.size(), 7U);
}

TEST(CrdObjects, PeopleFindFieldsAsKubernetesSpellsThem) {
  const auto node = object_of("nodes/node-a", cluster::encode(record()))["spec"];
  EXPECT_EQ(node["bootId"], "b-1");
  EXPECT_EQ(node["underlay"][0], "192.0.2.1");
  EXPECT_EQ(node["labels"]["some_label"], "x");
  EXPECT_EQ(node["settings"]["pod_cidrs"], "10.0.0.0/8");
  EXPECT_EQ(node["wireguard"][0]["publicKey"], "k");
  const auto block = object_of("blocks/default/10.0.1.0/24", cluster::encode(cluster::Incarnation{"a", "b"}))["spec"];
  EXPECT_EQ(block["pool"], "default");
  EXPECT_EQ(block["cidr"], "10.0.1.0/24");
  EXPECT_EQ(block["node"], "a");
}

TEST(CrdObjects, AClaimUnderASessionSaysWhose) {
  const auto object = object_of("alive/node-a", cluster::encode(cluster::Incarnation{"node-a", "b"}),
                                {.lease = 0x1234, .lease_uid = "l"});
  EXPECT_EQ(object["metadata"]["labels"][session_label], "0000000000001234");
  EXPECT_EQ(object["metadata"]["labels"][claim_label], "alive");
  EXPECT_EQ(object["metadata"]["ownerReferences"][0]["name"], "weft-session-0000000000001234");
  EXPECT_EQ(read("alive/node-a", object)->kv.lease, 0x1234);
}

TEST(CrdObjects, AMarkIsOnItsIdentity) {
  const auto object =
      object_of("identities/ids/300", cluster::encode_labels({{"a", "b"}}).value(), {.lease_uid = {}, .marked = true});
  EXPECT_TRUE(read("identities/ids/300", object)->marked);
  const auto mark = codec().places().of(key("identities/marks/300"));
  EXPECT_TRUE(mark->mark);
  EXPECT_EQ(mark->name, "300");
  EXPECT_EQ(object["metadata"]["labels"][labels_label],
            *codec().places().of(key(R"(identities/labels/{"a":"b"})"))->labels_digest);
}

TEST(CrdObjects, PodsSayWhoseTheyAreByALabel) {
  const auto value = cluster::encode(cluster::NodeEndpoints{"b", {}});
  for (const auto& [node, name, label] :
       {std::tuple("node-a", "node-a.slice-7", "node-a"),
        std::tuple("Node_A", "node-a-slice-7-1ca6cc1545c1864e", "node-a-e48520dabc2a2cde")}) {
    const auto object = object_of(fmt::format("endpoints/{}/7", node), value);
    EXPECT_EQ(object["metadata"]["name"], name);
    EXPECT_EQ(object["metadata"]["labels"][node_label], label);
    EXPECT_EQ(read(fmt::format("endpoints/{}/7", node), object)->kv.key, key(fmt::format("endpoints/{}/7", node)));
    EXPECT_EQ(object_of(fmt::format("endpoints/{}", node), value)["metadata"]["labels"][node_label], label);
    EXPECT_EQ(codec().places().folder(key(fmt::format("endpoints/{}/", node)))->node, label);
  }
  const auto of_long = codec().places().of(key("endpoints/" + std::string(253, 'n') + "/65535"));
  EXPECT_EQ(of_long->node.size(), 63U);
  EXPECT_LE(of_long->name.size(), 253U);
  EXPECT_EQ(codec().places().folder(key("endpoints/"))->node, "");
  EXPECT_FALSE(codec().places().folder(key("endpoints/a b/")));
}

TEST(CrdObjects, MetadataAloneIsTheKeyWithoutItsValue) {
  auto object = object_of("endpoints/node-a", cluster::encode(cluster::NodeEndpoints{"b", {}}));
  object["kind"] = "PartialObjectMetadata";
  object.erase("spec");
  const auto stored = read("endpoints/node-a", object);
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->kv.key, key("endpoints/node-a"));
  EXPECT_EQ(stored->kv.value, "");
}

TEST(CrdObjects, WhatIsNoKeyIsRefusedByName) {
  auto good = object_of("nodes/node-a", "{}");
  const auto refused = [](json object, const char* path, const json& value) {
    object[json::json_pointer(path)] = value;
    const auto stored = codec().decode(Resource::nodes, object.dump());
    return stored ? std::string() : stored.error().message;
  };
  EXPECT_THAT(refused(good, "/metadata/resourceVersion", "x"),
              HasSubstr("WeftNode 'node-a': metadata.resourceVersion"));
  EXPECT_THAT(refused(good, "/metadata/resourceVersion", 7), HasSubstr("is no number"));
  EXPECT_THAT(refused(good, "/metadata/annotations", {{key_annotation, "nodes/other"}}), HasSubstr("is left alone"));
  EXPECT_THAT(refused(good, "/metadata/annotations", {{key_annotation, "pools"}}), HasSubstr("is left alone"));
  EXPECT_FALSE(codec().decode(Resource::nodes, "{"));
  EXPECT_FALSE(codec().decode(Resource::nodes, std::string(100, '[')));
  EXPECT_FALSE(codec().decode(Resource::identities, object_of("nodes/1", "{}").dump()));
  EXPECT_FALSE(codec().decode(Resource::claims, object_of("nodes/alive-x", "{}").dump()));
  EXPECT_FALSE(codec().decode(Resource::blocks, object_of("nodes/p-10.0.0.0-24", "{}").dump()));
}

// Who reads the value says what is wrong with it, and names the key.
TEST(CrdObjects, AStrangeSpecIsAValueThatNobodyReads) {
  for (const auto* spec : {R"({"Strange":1})", R"({"boot_id":"x"})", "{}", R"({"labels":7})"}) {
    auto object = object_of("nodes/node-a", "{}");
    object["spec"] = json::parse(spec);
    const auto stored = read("nodes/node-a", object);
    ASSERT_TRUE(stored) << spec;
    EXPECT_FALSE(cluster::decode_node(stored->kv.key, stored->kv.value)) << spec;
  }
}

TEST(CrdObjects, WhatWouldNotComeBackIsNotWritten) {
  const auto place = codec().places().of(key("nodes/a")).value();
  for (const auto* value :
       {"", "7", "[]", "{", R"({ "a":1})", R"({"B":1})", R"({"a_":1})", R"({"a_1":1})", R"({"b":1,"a":1})"})
    EXPECT_FALSE(codec().encode(place, value, {})) << value;
  EXPECT_FALSE(codec().places().of(key("state/objects/Pod/a/b"))) << "the API server has its own";
  EXPECT_FALSE(codec().places().of("/weft/v1/other/nodes/a"));
}

TEST(CrdObjects, SessionsAreNamedByTheirNumber) {
  EXPECT_EQ(lease_name(255), "weft-session-00000000000000ff");
  EXPECT_EQ(session_of("weft-session-00000000000000ff"), 255);
  EXPECT_EQ(session_of("00000000000000ff"), 255);
  for (const auto* text : {"", "ff", "00000000000000FF", "0000000000000000", "ffffffffffffffff", "weft-session-"})
    EXPECT_EQ(session_of(text), 0) << text;
}

}  // namespace
}  // namespace weft::crd
