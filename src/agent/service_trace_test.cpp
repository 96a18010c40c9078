#include "agent/service_trace.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "abi/flow.h"
#include "agent/flow_tuple.h"
#include "datapath/rows.h"

namespace weft::agent {
namespace {

using ::testing::SizeIs;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

template <class Key>
bpfrt::FakeMap flow_map() {
  bpfrt::MapInfo info;
  info.name = "flows";
  info.type = "hash";
  info.key_size = sizeof(Key);
  info.value_size = sizeof(weft_flow);
  info.max_entries = 64;
  return bpfrt::FakeMap(info);
}

class TraceFlowsTest : public ::testing::Test {
 protected:
  // A client's flow to a frontend, sent to 10.0.0.5:8080, with its reply.
  void add(std::uint32_t service, std::string_view client, std::uint16_t port, std::uint16_t flags) {
    weft_flow_key_v4 key{};
    key.saddr = htonl(ip(client).to_v4());
    key.daddr = htonl(ip("192.0.2.1").to_v4());
    key.sport = htons(port);
    key.dport = htons(80);
    key.protocol = 6;
    weft_flow flow{};
    flow.service_id = service;
    flow.backend_id = 3;
    flow.flags = static_cast<std::uint16_t>(flags | WEFT_FLOW_DNAT | WEFT_FLOW_SNAT);
    flow.dst_addr = datapath::to_abi(ip("10.0.0.5"));
    flow.dst_port = htons(8080);
    flow.src_addr = datapath::to_abi(ip("192.0.2.1"));
    flow.src_port = htons(45056);
    flow.packets = 5;
    bpfrt::Map<weft_flow_key_v4, weft_flow> map(v4_);
    ASSERT_TRUE(map.update(key, flow));
    weft_flow reply{};
    reply.flags = WEFT_FLOW_REPLY;
    reply.service_id = service;
    reply.packets = 4;
    ASSERT_TRUE(map.update(peer_of(key, flow), reply));
  }
  bpfrt::FakeMap v4_ = flow_map<weft_flow_key_v4>();
  bpfrt::FakeMap v6_ = flow_map<weft_flow_key_v6>();
};

TEST_F(TraceFlowsTest, TellsWhereEachFlowOfTheServiceGoesWithBothDirections) {
  add(7, "198.51.100.9", 40000, WEFT_FLOW_EXTERNAL);
  add(8, "198.51.100.9", 40001, 0);
  const auto traced = flows_of_service(v4_, v6_, {{7}, {}, 10});
  ASSERT_TRUE(traced);
  ASSERT_THAT(traced->flows, SizeIs(1)) << "neither the reply nor another Service's";
  const auto& flow = traced->flows.front();
  EXPECT_EQ(flow.client, ip("198.51.100.9"));
  EXPECT_EQ(flow.client_port, 40000);
  EXPECT_EQ(flow.destination_port, 80);
  EXPECT_EQ(flow.backend_id, 3U);
  EXPECT_EQ(flow.source_after, ip("192.0.2.1"));
  EXPECT_EQ(flow.source_port_after, 45056);
  EXPECT_EQ(flow.packets, 5U);
  EXPECT_EQ(flow.reply_packets, 4U);
  EXPECT_EQ(flow.state, "open");
  EXPECT_TRUE(flow.external);
  EXPECT_FALSE(traced->more);
}

TEST_F(TraceFlowsTest, ClientAndLimitNarrowIt) {
  for (std::uint16_t port = 1; port <= 9; ++port) add(7, "198.51.100.9", port, WEFT_FLOW_OPENING);
  add(7, "198.51.100.10", 1, WEFT_FLOW_CLOSED);
  const auto limited = flows_of_service(v4_, v6_, {{7}, {}, 4});
  EXPECT_THAT(limited->flows, SizeIs(4));
  EXPECT_TRUE(limited->more);
  const auto one = flows_of_service(v4_, v6_, {{7}, ip("198.51.100.10"), 4});
  ASSERT_THAT(one->flows, SizeIs(1));
  EXPECT_EQ(one->flows.front().state, "closed");
  EXPECT_FALSE(one->more);
}

}  // namespace
}  // namespace weft::agent
