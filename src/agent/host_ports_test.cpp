#include "agent/host_ports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

AttachRequest request_for(std::vector<store::PortMapping> mappings) {
  AttachRequest request;
  request.key = {"new", "eth0"};
  request.namespace_ = "shop";
  request.pod = "web";
  request.port_mappings = std::move(mappings);
  return request;
}

class HostPortsTest : public ::testing::Test {
 protected:
  HostPortsTest() : services_({.cluster_cidrs = {*Cidr::parse("10.96.0.0/16")}}, {}) {
    services_.set_node({"n1", "", {ip("192.0.2.1")}});
  }
  Result<void> admit(std::vector<store::PortMapping> mappings) {
    return admit_port_mappings(request_for(std::move(mappings)), records_, services_);
  }
  void attach(const std::string& pod, store::PortMapping mapping, store::EndpointState state) {
    store::EndpointRecord record;
    record.key = {pod, "eth0"};
    record.namespace_ = "shop";
    record.pod = pod;
    record.state = state;
    record.port_mappings = {mapping};
    records_[record.key] = record;
  }
  std::map<store::EndpointKey, store::EndpointRecord> records_;
  control::ServiceCompiler services_;
};

TEST_F(HostPortsTest, APortOfAnotherAttachmentIsRefusedAndItsHolderNamed) {
  attach("db", {std::nullopt, 8080, 80, Protocol::tcp}, store::EndpointState::ready);
  const auto refused = admit({{std::nullopt, 8080, 8080, Protocol::tcp}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
  EXPECT_THAT(refused.error().message, HasSubstr("8080/TCP is taken by pod shop/db"));
  EXPECT_FALSE(admit({{ip("192.0.2.1"), 8080, 80, Protocol::tcp}}));
  EXPECT_TRUE(admit({{std::nullopt, 8080, 80, Protocol::udp}})) << "another protocol is another port";
  EXPECT_TRUE(admit({{std::nullopt, 8081, 80, Protocol::tcp}}));
  records_.begin()->second.state = store::EndpointState::deleting;
  EXPECT_TRUE(admit({{std::nullopt, 8080, 80, Protocol::tcp}})) << "one that leaves has given it back";
}

TEST_F(HostPortsTest, AddressesOfTheHostKeepMappingsApart) {
  attach("db", {ip("192.0.2.1"), 53, 53, Protocol::udp}, store::EndpointState::ready);
  EXPECT_TRUE(admit({{ip("192.0.2.9"), 53, 53, Protocol::udp}}));
  EXPECT_TRUE(admit({{ip("2001:db8::1"), 53, 53, Protocol::udp}}));
  EXPECT_TRUE(admit({{ip("::"), 53, 53, Protocol::udp}}));
  EXPECT_FALSE(admit({{ip("0.0.0.0"), 53, 53, Protocol::udp}}));
  EXPECT_FALSE(admit({{std::nullopt, 53, 53, Protocol::udp}}));
}

TEST_F(HostPortsTest, ANodePortIsRefusedByItsServicesName) {
  model::Service service;
  service.meta.namespace_ = "shop";
  service.meta.name = "front";
  service.type = model::Service::Type::node_port;
  service.ports = {{"", Protocol::tcp, 80, std::uint16_t{8080}, 30080, ""}};
  ASSERT_TRUE(services_.assign(service));
  services_.upsert(service);
  ASSERT_TRUE(services_.compile());
  const auto refused = admit({{std::nullopt, 30080, 80, Protocol::tcp}});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("taken by Service shop/front (NodePort)"));
}

TEST_F(HostPortsTest, ThePortsOfThePodItselfAreNoClash) {
  control::ServicePod pod;
  pod.key = {"shop", "web"};
  pod.addresses = {ip("10.0.0.5")};
  pod.host_ports = {{std::nullopt, 8080, 80, Protocol::tcp}};
  services_.upsert(pod);
  ASSERT_TRUE(services_.compile());
  EXPECT_TRUE(admit({{std::nullopt, 8080, 80, Protocol::tcp}}));
  add_port_mappings({{std::nullopt, 8080, 80, Protocol::tcp}, {std::nullopt, 53, 53, Protocol::udp}}, pod.host_ports);
  EXPECT_THAT(pod.host_ports, SizeIs(2));
  const auto twice = admit({{std::nullopt, 99, 80, Protocol::tcp}, {ip("192.0.2.1"), 99, 81, Protocol::tcp}});
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().code, ErrorCode::invalid);
}

}  // namespace
}  // namespace weft::agent
