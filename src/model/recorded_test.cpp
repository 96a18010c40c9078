// Objects as a real API server of 1.36 sent them, managed fields and all, and the same without what 1.28 did not have
// yet: what is read of them is the same. One object a line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "model/kinds.h"
#include "model/parse.h"

namespace weft::model {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

std::map<std::string, Object> recorded(const std::string& version) {
  std::ifstream file(std::string(WEFT_TEST_DATA) + "/kubernetes-" + version + ".jsonl");
  EXPECT_TRUE(file) << version;
  std::map<std::string, Object> objects;
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    const auto verdict = judge_kind(json["apiVersion"].get<std::string>(), json["kind"].get<std::string>());
    if (verdict.action != KindVerdict::Action::decode) {
      ADD_FAILURE() << "no kind that is read: " << json["kind"];
      continue;
    }
    auto read = object_from_api(verdict.entry->kind, "https://server", line);
    EXPECT_TRUE(read) << read.error().text() << line;
    if (!read) continue;
    const auto again = object_from_json(read->json);
    EXPECT_TRUE(again && *again == read->object) << line;
    objects.emplace(std::string(json["kind"]) + " " + std::string(json["metadata"]["name"]), std::move(read->object));
  }
  return objects;
}

class Recorded : public testing::TestWithParam<const char*> {};

TEST_P(Recorded, ObjectsAreReadAsTheyWereMeant) {
  const auto objects = recorded(GetParam());
  ASSERT_THAT(objects, SizeIs(10));
  const auto& full = std::get<Service>(objects.at("Service full"));
  EXPECT_EQ(full.type, Service::Type::load_balancer);
  EXPECT_THAT(full.cluster_ips, ElementsAre(*IpAddress::parse("10.96.240.251")));
  ASSERT_THAT(full.ports, SizeIs(2));
  EXPECT_EQ(full.ports[0].node_port, 32304);
  EXPECT_EQ(full.health_check_node_port, 30244);
  EXPECT_TRUE(std::get<Service>(objects.at("Service headless")).headless);
  const auto& slice = std::get<EndpointSlice>(objects.at("EndpointSlice full-247fg"));
  EXPECT_EQ(slice.meta.labels.at("kubernetes.io/service-name"), "full");
  EXPECT_THAT(slice.endpoints, SizeIs(5));
  const auto& sidecar = std::get<Pod>(objects.at("Pod sidecar"));
  EXPECT_TRUE(sidecar.spec.host_network);
  const auto& web = std::get<Pod>(objects.at("Pod web-55b97884b-6n7jb"));
  EXPECT_EQ(web.meta.uid, "d613019b-4a02-44a4-bbee-102b0e5d6e0a");
  ASSERT_THAT(web.spec.containers, SizeIs(1));
  EXPECT_THAT(web.spec.containers[0].ports, SizeIs(1));
  EXPECT_TRUE(web.ready);
  const auto& policy = std::get<NetworkPolicy>(objects.at("NetworkPolicy all"));
  ASSERT_THAT(policy.ingress, SizeIs(1));
  EXPECT_THAT(policy.ingress[0].peers, SizeIs(2));
  EXPECT_THAT(policy.ingress[0].ports, SizeIs(2));
}

INSTANTIATE_TEST_SUITE_P(Kubernetes, Recorded, testing::Values("1.28", "1.36"));

TEST(RecordedObjects, OldAndNewServersSayTheSame) {
  auto before = recorded("1.28");
  auto now = recorded("1.36");
  ASSERT_EQ(before.size(), now.size());
  for (auto& [name, object] : now) {
    ASSERT_TRUE(before.contains(name)) << name;
    // Where traffic goes was a later version's field; its place in 1.28 is an annotation.
    if (auto* service = std::get_if<Service>(&object))
      service->distribution = std::get<Service>(before.at(name)).distribution;
    EXPECT_TRUE(before.at(name) == object) << name;
  }
}

}  // namespace
}  // namespace weft::model
