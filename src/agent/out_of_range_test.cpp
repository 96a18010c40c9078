#include "agent/out_of_range.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

TEST(OutOfRange, WhatTheRangesDoNotHaveIsSaid) {
  auto config = parse_config("weftd.yaml", "").value();
  control::ServiceAssignment held;
  held.cluster_ips = {IpAddress::parse("10.96.0.7").value()};
  held.node_ports[{80, Protocol::tcp}] = 30080;
  held.health_check_port = 30081;
  EXPECT_THAT(out_of_range(held, config), ::testing::IsEmpty());
  config.service_cidrs = {Cidr::parse("10.97.0.0/16").value()};
  config.node_port_min = 31000;
  EXPECT_THAT(
      out_of_range(held, config),
      ::testing::ElementsAre("cluster IP 10.96.0.7 is outside service_cidrs (10.97.0.0/16)",
                             "node port 30080 is outside node_port_min to node_port_max (31000-32767)",
                             "health check node port 30081 is outside node_port_min to node_port_max (31000-32767)"));
  config.service_cidrs = {};
  EXPECT_THAT(out_of_range(held, config).front(), ::testing::HasSubstr("which is empty"));
}

}  // namespace
}  // namespace weft::agent
