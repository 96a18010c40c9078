#include "base/ip.h"

#include "base/endpoint_host.h"

#include <gtest/gtest.h>

namespace weft {
namespace {

TEST(IpAddress, ParsesAndPrintsBothFamilies) {
  EXPECT_EQ(IpAddress::parse("10.0.0.1")->to_string(), "10.0.0.1");
  EXPECT_EQ(IpAddress::parse("FD00:0::1")->to_string(), "fd00::1");
  EXPECT_TRUE(IpAddress::parse("10.0.0.1")->is_v4());
  EXPECT_EQ(IpAddress::parse("10.0.0.1")->to_v4(), 0x0a000001U);
  for (const auto* bad : {"", "10.0.0", "10.0.0.256", " 10.0.0.1", "fe80::1%eth0", "x"})
    EXPECT_FALSE(IpAddress::parse(bad)) << bad;
}

TEST(IpAddress, AddsAcrossBytes) {
  EXPECT_EQ(IpAddress::parse("10.0.0.255")->plus(1).to_string(), "10.0.1.0");
  EXPECT_EQ(IpAddress::parse("fd00::ffff:ffff")->plus(1).to_string(), "fd00::1:0:0");
}

TEST(Cidr, ClearsHostBitsAndContains) {
  const auto cidr = Cidr::parse("10.1.2.3/8");
  ASSERT_TRUE(cidr);
  EXPECT_EQ(cidr->to_string(), "10.0.0.0/8");
  EXPECT_TRUE(cidr->contains(*IpAddress::parse("10.255.0.1")));
  EXPECT_FALSE(cidr->contains(*IpAddress::parse("11.0.0.1")));
  EXPECT_FALSE(Cidr::parse("::/0")->contains(*IpAddress::parse("1.2.3.4")));
  EXPECT_TRUE(Cidr::parse("0.0.0.0/0")->contains(*IpAddress::parse("1.2.3.4")));
  EXPECT_EQ(Cidr::parse("10.0.0.0/24")->size(), 256U);
  for (const auto* bad : {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "fd00::/129", "10.0.0.0/08"})
    EXPECT_FALSE(Cidr::parse(bad)) << bad;
}

TEST(MacAddress, RoundTrips) {
  EXPECT_EQ(MacAddress::parse("0A:00:5e:ff:00:01")->to_string(), "0a:00:5e:ff:00:01");
  EXPECT_FALSE(MacAddress::parse("0a:00:5e:ff:00"));
  EXPECT_FALSE(MacAddress::parse("0a-00-5e-ff-00-01"));
}

TEST(PortProtocol, ParsesTheForms) {
  EXPECT_EQ(PortProtocol::parse("80")->to_string(), "80/TCP");
  EXPECT_EQ(PortProtocol::parse("53/udp")->to_string(), "53/UDP");
  EXPECT_EQ(PortProtocol::parse("9/132")->protocol, Protocol::sctp);
  for (const auto* bad : {"", "80/", "/TCP", "65536", "80/XYZ", "-1"}) EXPECT_FALSE(PortProtocol::parse(bad)) << bad;
}

TEST(EndpointHost, IsTheAddressOfAServer) {
  for (const auto& [text, address] : {std::pair{"https://[2001:db8::1]:2379", "2001:db8::1"},
                                      {"http://10.0.0.1:2379", "10.0.0.1"},
                                      {"10.0.0.1:6443", "10.0.0.1"},
                                      {"[2001:db8::9]:6443", "2001:db8::9"},
                                      {"https://192.0.2.1/k8s", "192.0.2.1"}})
    EXPECT_EQ(endpoint_host(text).value(), IpAddress::parse(address).value()) << text;
  for (const auto* name : {"https://etcd-1:2379", "", "https://", "localhost"})
    EXPECT_FALSE(endpoint_host(name)) << name;
}

}  // namespace
}  // namespace weft
