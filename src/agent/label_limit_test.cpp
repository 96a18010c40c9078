#include "agent/label_limit.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

LabelMap many(int count) {
  LabelMap labels;
  for (int i = 0; i < count; ++i) labels[fmt::format("label-{}", i)] = std::string(60, 'x');
  return labels;
}

TEST(LabelLimit, APodThatCouldNotBeAttachedIsRefusedWhereItIsWritten) {
  model::Pod pod;
  pod.meta.namespace_ = "shop";
  pod.meta.labels = many(3000);
  const auto refused = check_labels(pod);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, AllOf(StartsWith("metadata.labels: "), HasSubstr("16384 are the most")));
  model::Deployment deployment;
  deployment.template_labels = many(3000);
  const auto of_template = check_labels(deployment);
  ASSERT_FALSE(of_template);
  EXPECT_THAT(of_template.error().message, StartsWith("spec.template.metadata.labels: "));
}

TEST(LabelLimit, ManyAreTaken) {
  model::Pod pod;
  pod.meta.namespace_ = "shop";
  pod.meta.labels = many(190);
  EXPECT_TRUE(check_labels(pod));
  EXPECT_TRUE(check_labels(model::Object(model::Service())));
}

}  // namespace
}  // namespace weft::agent
