#include "agent/target_ports.h"

#include <gtest/gtest.h>

#include "model/parse.h"

namespace weft::agent {
namespace {

struct Given {
  model::Service service;
  std::map<model::ObjectKey, model::Pod> pods;
};

Given parse(const std::string& target) {
  Given given;
  const auto outcome = model::parse_manifests("t", R"(
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: a, port: 80, targetPort: 8080}, {name: b, port: 81, targetPort: )" +
                                                       target + R"(}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web, tier: front}}
spec:
  containers: [{name: c, image: i, ports: [{name: http, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: shop, labels: {app: db}}
spec:
  containers: [{name: c, image: i, ports: [{name: redis, containerPort: 6379}]}]
)");
  EXPECT_TRUE(outcome.problems.empty()) << outcome.problems[0].to_string();
  for (const auto& document : outcome.documents) {
    if (const auto* service = std::get_if<model::Service>(&document.object)) given.service = *service;
    if (const auto* pod = std::get_if<model::Pod>(&document.object)) given.pods.emplace(pod->meta.key(), *pod);
  }
  return given;
}

TEST(TargetPorts, ANameThatAPodHasIsRight) {
  const auto given = parse("http");
  EXPECT_TRUE(missing_targets(given.service, given.pods).empty());
}

TEST(TargetPorts, ANameThatNobodySelectedHasIsTold) {
  for (const std::string name : {"htpp", "redis", "dns"}) {  // misspelt, another's, another protocol's
    const auto given = parse(name);
    const auto missing = missing_targets(given.service, given.pods);
    ASSERT_EQ(missing.size(), 1U) << name;
    EXPECT_EQ(missing[0].port, 1U);
    EXPECT_EQ(missing[0].text,
              "no pod it selects has a TCP port named \"" + name + "\"; they have dns (UDP), http (TCP)");
  }
}

TEST(TargetPorts, NothingIsToldBeforeThereArePods) {
  auto given = parse("htpp");
  given.pods.erase({"shop", "web-0"});
  EXPECT_TRUE(missing_targets(given.service, given.pods).empty());
}

}  // namespace
}  // namespace weft::agent
