#include "agent/flow_rate.h"

#include <gtest/gtest.h>

namespace weft::agent {
namespace {

TEST(FlowRate, IsTheNodesDividedWithinReasonWhateverTheTablesSize) {
  EXPECT_EQ(new_flow_rate(0), 20000U);
  EXPECT_EQ(new_flow_rate(1), 20000U);
  EXPECT_EQ(new_flow_rate(8), 20000U);
  EXPECT_EQ(new_flow_rate(16), 10000U);
  EXPECT_EQ(new_flow_rate(128), 8000U) << "a pod may be busy on one of them";
}

}  // namespace
}  // namespace weft::agent
