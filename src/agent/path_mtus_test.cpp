#include "agent/path_mtus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "datapath/rows.h"

namespace weft::agent {
namespace {

using std::chrono::nanoseconds;
using ::testing::SizeIs;

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

bpfrt::FakeMap path_map() {
  return bpfrt::FakeMap({.name = "weft_pmtu_v1",
                         .type = "hash",
                         .key_size = sizeof(weft_addr),
                         .value_size = sizeof(weft_path_mtu),
                         .max_entries = 4});
}

void put(bpfrt::RawMap& map, const char* address, std::uint64_t until, std::uint32_t mtu) {
  ASSERT_TRUE((bpfrt::Map<weft_addr, weft_path_mtu>(map).update(datapath::to_abi(ip(address)), {until, mtu, 0})));
}

TEST(PathMtus, WhatIsOverIsRemoved) {
  auto map = path_map();
  put(map, "192.0.2.2", 2000, 1400);
  put(map, "2001:db8::2", 1000, 1300);
  const auto paths = read_path_mtus(map, nanoseconds(1000));
  ASSERT_TRUE(paths);
  EXPECT_EQ(*paths, (PathMtus{{ip("192.0.2.2"), {1400, nanoseconds(2000)}}}));
  const auto before = read_path_mtus(map, nanoseconds(0));
  ASSERT_TRUE(before);
  EXPECT_THAT(*before, SizeIs(1)) << "the other one is gone from the map";
}

TEST(PathMtus, InsideTheTunnel) {
  const PathMtus paths{{ip("192.0.2.2"), {1400, nanoseconds(1)}}};
  weft_node row{};
  row.addr = datapath::to_abi(ip("192.0.2.2"));
  row.mtu = 1450;
  row.way = WEFT_WAY_VXLAN;
  EXPECT_EQ(path_mtu_inside(row, paths, 50), 1350U);
  row.mtu = 1300;
  EXPECT_EQ(path_mtu_inside(row, paths, 50), 1300U) << "less by configuration";
  row.mtu = 1450;
  EXPECT_EQ(path_mtu_inside(row, {{ip("192.0.2.2"), {552, nanoseconds(1)}}}, 50), 552U) << "no kernel goes for less";
  row.way = WEFT_WAY_DIRECT;
  EXPECT_EQ(path_mtu_inside(row, paths, 0), 1450U) << "its packets are the pods' own";
  row.way = WEFT_WAY_VXLAN;
  row.addr = datapath::to_abi(ip("192.0.2.3"));
  EXPECT_EQ(path_mtu_inside(row, paths, 50), 1450U) << "nothing is known of it";
}

}  // namespace
}  // namespace weft::agent
