#include "agent/node_health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using What = HealthProbe::What;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

HealthTarget target(weft_way way = WEFT_WAY_VXLAN) {
  return {.addresses = {ip("192.0.2.2")}, .gateways = {ip("10.244.2.1")}, .mtu = 1450, .way = way};
}

// Which of node, pods, large are lost.
std::string said(const HealthTarget& of, bool node, bool pods, bool large) {
  std::vector<HealthResult> results;
  for (const auto& probe : probes_of(of)) {
    const bool lost = probe.what == What::node ? node : probe.what == What::pods ? pods : large;
    results.push_back({.probe = probe, .lost_in_row = lost ? 3U : 2U});
  }
  return diagnose("b", of, results);
}

TEST(NodeHealth, AsksTheNodeAndItsPodsBySmallAndLargePackets) {
  const auto probes = probes_of(target());
  ASSERT_EQ(probes.size(), 3U);
  EXPECT_EQ(probes[1].address, ip("10.244.2.1"));
  EXPECT_EQ(probes[2].size, 1450U);
  EXPECT_EQ(probes_of(target(WEFT_WAY_NONE)).size(), 1U);
}

TEST(NodeHealth, TellsApartWhatIsWrong) {
  EXPECT_THAT(said(target(), false, false, false), IsEmpty());
  EXPECT_THAT(said(target(), true, true, true), HasSubstr("node b does not answer at 192.0.2.2"));
  EXPECT_THAT(said(target(), false, true, true), HasSubstr("not at its pods' 10.244.2.1 (vxlan)"));
  EXPECT_THAT(said(target(), false, true, true), HasSubstr("UDP port tunnel_port"));
  EXPECT_THAT(said(target(WEFT_WAY_IPIP), false, true, true), HasSubstr("protocols 4 and 41"));
  EXPECT_THAT(said(target(WEFT_WAY_WIREGUARD), false, true, true), HasSubstr("wireguard_port"));
  EXPECT_THAT(said(target(WEFT_WAY_REFUSED), false, true, true), HasSubstr("no key of it yet"));
  EXPECT_THAT(said(target(WEFT_WAY_DIRECT), false, true, true), HasSubstr("route its blocks"));
  EXPECT_THAT(said(target(), false, false, true), HasSubstr("packets of 1450 bytes to the pods of node b are lost"));
  auto away = target();
  away.alive = false;
  EXPECT_THAT(said(away, true, true, true), IsEmpty());
  auto two = target();
  two.addresses.push_back(ip("2001:db8::2"));
  std::vector<HealthResult> results;
  for (const auto& probe : probes_of(two))
    results.push_back({.probe = probe, .lost_in_row = probe.address == ip("2001:db8::2") ? 9U : 0U});
  EXPECT_THAT(diagnose("b", two, results), HasSubstr("does not answer at 2001:db8::2, though at another address"));
}

}  // namespace
}  // namespace weft::agent
