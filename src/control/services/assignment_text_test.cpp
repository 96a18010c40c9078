#include "control/services/assignment_text.h"

#include <gtest/gtest.h>

namespace weft::control {
namespace {

TEST(Assignments, ComeBackAsTheyWere) {
  ServiceAssignment assignment;
  assignment.cluster_ips = {*IpAddress::parse("10.96.0.2"), *IpAddress::parse("fd96::2")};
  assignment.node_ports = {{{80, Protocol::tcp}, 30080}, {{53, Protocol::udp}, 30053}};
  assignment.health_check_port = 31000;
  assignment.load_balancer_ips = {*IpAddress::parse("192.0.2.9")};
  EXPECT_EQ(assignment_from_text(assignment_to_text(assignment)).value(), assignment);
  EXPECT_EQ(assignment_from_text(assignment_to_text({})).value(), ServiceAssignment{});
}

TEST(Assignments, WhatTheFirstLayoutLeftIsRead) {
  const auto read = assignment_from_text(R"({"clusterIPs":["10.96.0.2","fd96::2"]})");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->cluster_ips.size(), 2U);
  EXPECT_TRUE(read->node_ports.empty());
}

TEST(Assignments, DamageIsNamed) {
  for (const auto* text :
       {"", "[]", R"({"clusterIPs":"x"})", R"({"clusterIPs":[1]})", R"({"clusterIPs":["x"]})", R"({"nodePorts":[]})",
        R"({"nodePorts":{"x":1}})", R"({"nodePorts":{"80/TCP":70000}})", R"({"healthCheckNodePort":-1})"})
    EXPECT_FALSE(assignment_from_text(text)) << text;
}

}  // namespace
}  // namespace weft::control
