// The chart by helm itself, where WEFT_TEST_HELM names the program: helm 3 and 4 are to make what this room makes of
// it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "chart/chart.h"

namespace weft::chart {
namespace {

using nlohmann::json;

struct Answer {
  int code = 0;
  std::string text;
};

// helm COMMAND ... of the chart, with values as a file would have them: KEY to JSON.
Answer helm(const std::string& command, const std::map<std::string, std::string>& values) {
  std::string line =
      fmt::format("{} {} {}/deploy/kubernetes/chart/weft", std::getenv("WEFT_TEST_HELM"), command, WEFT_SOURCE_DIR);
  for (const auto& [key, value] : values) line += fmt::format(" --set-json '{}={}'", key, value);
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen((line + " 2>&1 | grep -v 'symbolic link'").c_str(), "r"),
                                                       ::pclose);
  Answer answer;
  std::array<char, 4096> part{};
  while (const auto size = std::fread(part.data(), 1, part.size(), pipe.get())) answer.text.append(part.data(), size);
  return answer;
}

// What is no template of the chart's is left out: helm makes the namespace by itself, and writes definitions as they
// are.
std::map<std::string, json> named(const std::vector<json>& objects) {
  std::map<std::string, json> all;
  for (const auto& object : objects)
    if (object["kind"] != "Namespace" && object["kind"] != "CustomResourceDefinition") all[name_of(object)] = object;
  return all;
}

class HelmTest : public testing::TestWithParam<std::map<std::string, std::string>> {
 protected:
  void SetUp() override {
    if (std::getenv("WEFT_TEST_HELM") == nullptr) GTEST_SKIP() << "WEFT_TEST_HELM names no helm";
  }
  static Result<Manifests> rendered() {
    auto values = default_values();
    for (const auto& [key, value] : GetParam()) WEFT_CHECK(set_value(values, fmt::format("{}={}", key, value)));
    return render(values);
  }
};

TEST_P(HelmTest, MakesTheSameObjects) {
  const auto ours = rendered();
  const auto text = helm("template weft --namespace weft-system --kube-version 1.36", GetParam()).text;
  if (!ours) {
    EXPECT_THAT(text, testing::HasSubstr("Error: values don't meet the specifications"));
    return;
  }
  const auto theirs = documents("helm", text);
  ASSERT_TRUE(theirs) << theirs.error().message << text;
  const auto expected = named(ours->objects);
  const auto made = named(*theirs);
  for (const auto& [name, object] : expected) EXPECT_EQ(made.contains(name) ? made.at(name) : json(), object) << name;
  EXPECT_EQ(made.size(), expected.size());
  EXPECT_THAT(helm("lint", GetParam()).text, testing::HasSubstr(" 0 chart(s) failed"));
}

TEST_P(HelmTest, LeavesOutWhatAnOlderServerDoesNotKnow) {
  EXPECT_THAT(helm("template weft --namespace weft-system --kube-version 1.29", GetParam()).text,
              testing::Not(testing::HasSubstr("ValidatingAdmissionPolicy")));
}

using Values = std::map<std::string, std::string>;
INSTANTIATE_TEST_SUITE_P(
    Values, HelmTest,
    testing::Values(
        Values{}, Values{{"tunnel", "\"none\""}, {"tunnelScope", "\"cross-subnet\""}},
        Values{{"podCIDRs", R"(["10.7.0.0/16","fd00::/48"])"}, {"serviceCIDRs", R"(["10.96.0.0/16"])"}},
        Values{{"kubernetesServers", R"(["https://192.0.2.1:6443"])"}},
        Values{{"agentConfig", R"({"mtu":1400,"big":10000000000,"part":1.5,"on":true,"text":"<a&b>: {}"})"},
               {"operatorConfig", R"({"log_level":"debug","map":{"b":[1,"x"],"a":{"z":[]}}})"}},
        Values{{"store", "\"etcd\""}, {"etcd.endpoints", R"(["http://192.0.2.9:2379"])"}},
        Values{{"store", "\"etcd\""}, {"etcd.endpoints", R"(["https://192.0.2.9:2379"])"}, {"etcd.secret", "\"etcd\""}},
        Values{{"image", "\"registry.test:5000/weft@sha256:abc\""},
               {"imagePullPolicy", "\"Always\""},
               {"imagePullSecrets", R"([{"name":"key"}])"}},
        Values{{"agent.resources.limits", R"({"memory":"3Gi","cpu":2})"}, {"agent.maxUnavailable", "3"}},
        Values{{"operator.replicas", "1"}, {"nodeRestriction", "false"}, {"agent.maxUnavailable", "\"25%\""}},
        Values{{"cgroupRoot", "\"/sys/fs/cgroup/unified\""}, {"cniConfDir", "\"/a\""}, {"cniBinDir", "\"/b\""}},
        // Both refuse these.
        Values{{"tunnel", "\"gre\""}}, Values{{"store", "\"etcd\""}}, Values{{"operator.replicas", "0"}},
        Values{{"store", "\"etcd\""}, {"etcd.endpoints", R"(["https://192.0.2.9:2379"])"}},
        Values{{"nodeRestriction", "\"no\""}}, Values{{"agent.maxUnavailable", "\"0%\""}}));

}  // namespace
}  // namespace weft::chart
