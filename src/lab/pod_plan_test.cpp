#include "lab/pod_plan.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace weft::lab {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;

const json pod = json::parse(R"({
  "metadata":{"name":"web-0","namespace":"shop","uid":"u1","annotations":{},
              "ownerReferences":[{"kind":"Deployment","name":"web"}]},
  "spec":{"containers":[
    {"name":"web","command":["/bin/web"],"args":["-v"],"env":[{"name":"A","value":"1"},{"name":"B"}],
     "ports":[{"name":"http","containerPort":3000},{"containerPort":53,"protocol":"UDP"}]},
    {"name":"side","ports":[{"containerPort":3000},{"containerPort":9090}]}]},
  "status":{"podIPs":[{"ip":"10.244.0.5"},{"ip":"fd00::5"}]}})");

TEST(PodPlan, PortsAreAnsweredOncePerNumberAndProtocol) {
  const auto plan = pod_plan_from_json(pod);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->key(), "shop/web-0");
  EXPECT_EQ(plan->workload, "web");
  EXPECT_EQ(plan->uid, "u1");
  EXPECT_THAT(plan->responders,
              ElementsAre(ResponderPort{53, Protocol::udp, false}, ResponderPort{3000, Protocol::tcp, true},
                          ResponderPort{9090, Protocol::tcp, false}));
  EXPECT_EQ(plan->ports, plan->responders);
  EXPECT_THAT(plan->commands, IsEmpty());
  EXPECT_EQ(plan->addresses.size(), 2U);
}

TEST(PodPlan, AnnotatedPodsRunTheirCommands) {
  json annotated = pod;
  annotated["metadata"]["annotations"][run_annotation] = "true";
  const auto plan = pod_plan_from_json(annotated);
  ASSERT_TRUE(plan);
  ASSERT_EQ(plan->commands.size(), 1U);
  EXPECT_EQ(plan->commands[0].container, "web");
  EXPECT_THAT(plan->commands[0].arguments, ElementsAre("/bin/web", "-v"));
  EXPECT_EQ(plan->commands[0].environment.at("A"), "1");
  // The other container has no command, so its ports are answered; all remain declared.
  EXPECT_THAT(plan->responders,
              ElementsAre(ResponderPort{3000, Protocol::tcp, false}, ResponderPort{9090, Protocol::tcp, false}));
  EXPECT_EQ(plan->ports.size(), 3U);
}

TEST(PodPlan, ToleratesEverythingButAMissingName) {
  for (const auto* text : {R"({"metadata":{"name":"a"}})", R"({"metadata":{"name":"a","annotations":7},"spec":[]})",
                           R"({"metadata":{"name":"a"},"spec":{"containers":[7,{"ports":[{"containerPort":0}]}]}})",
                           R"({"metadata":{"name":"a"},"spec":{"containers":[{"ports":[{"containerPort":"x"},
                               {"containerPort":70000},{"containerPort":80,"protocol":"QUIC"}]}]},"status":[]})"}) {
    const auto plan = pod_plan_from_json(json::parse(text));
    ASSERT_TRUE(plan) << text;
    EXPECT_EQ(plan->key(), "default/a");
    EXPECT_THAT(plan->ports, IsEmpty());
  }
  EXPECT_FALSE(pod_plan_from_json(json()));
  EXPECT_FALSE(pod_plan_from_json(json::parse(R"({"metadata":{}})")));
}

}  // namespace
}  // namespace weft::lab
