#include "agent/spoken_for.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
Config config(const std::string& text) { return parse_config("weftd.yaml", text).value(); }

const char* const cluster_of =
    "node: here\nstore: etcd\ncluster: c\netcd_endpoints: [\"https://192.0.2.9:2379\", "
    "\"https://[2001:db8::9]:2379\"]\n";

TEST(SpokenFor, PortsByWhichNodesSpeakAreNobodys) {
  const auto vxlan = config(std::string(cluster_of) + "tunnel: vxlan\nencryption: wireguard\n");
  EXPECT_THAT(port_spoken_for(vxlan, 8472, Protocol::udp), HasSubstr("VXLAN"));
  EXPECT_THAT(port_spoken_for(vxlan, 8472, Protocol::tcp), IsEmpty());
  EXPECT_THAT(port_spoken_for(vxlan, 6081, Protocol::udp), IsEmpty());
  for (const std::uint16_t port : {51871, 51872})
    EXPECT_THAT(port_spoken_for(vxlan, port, Protocol::udp), HasSubstr("WireGuard"));
  EXPECT_THAT(port_spoken_for(vxlan, 51873, Protocol::udp), IsEmpty());
  EXPECT_THAT(port_spoken_for(vxlan, 179, Protocol::tcp), HasSubstr("BGP"));
  const auto geneve = config(std::string(cluster_of) + "tunnel: geneve\nbgp_speaker: none\n");
  EXPECT_THAT(port_spoken_for(geneve, 6081, Protocol::udp), HasSubstr("Geneve"));
  EXPECT_THAT(port_spoken_for(geneve, 8472, Protocol::udp), IsEmpty());
  EXPECT_THAT(port_spoken_for(geneve, 179, Protocol::tcp), IsEmpty());
}

TEST(SpokenFor, APodCannotHaveThemAsHostPorts) {
  const auto vxlan = config(std::string(cluster_of) + "tunnel: vxlan\n");
  model::Pod pod;
  pod.spec.containers.resize(1);
  pod.spec.containers[0].ports = {{.port = 80, .host_port = 8080},
                                  {.port = 80, .protocol = Protocol::udp, .host_port = 8472}};
  const auto refused = check_spoken_for(pod, vxlan, Node(), ClusterView());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "spec.containers[0].ports[1].hostPort: 8472/UDP is where nodes' VXLAN arrives");
  pod.spec.containers[0].ports.pop_back();
  EXPECT_TRUE(check_spoken_for(pod, vxlan, Node(), ClusterView()));
}

TEST(SpokenFor, AHostPortIsOfAnAddressOfTheNodeAndNotEtcds) {
  Node node;
  node.addresses = {ip("192.0.2.2"), ip("2001:db8::2")};
  const auto why = [&](const Config& of, std::optional<IpAddress> at, std::uint16_t port) {
    return host_port_withheld(of, node, at, port, Protocol::tcp);
  };
  const auto elsewhere = config(std::string(cluster_of) + "tunnel: vxlan\n");
  for (const auto* own : {"192.0.2.2", "2001:db8::2", "127.0.0.1", "::1", "0.0.0.0", "::"})
    EXPECT_THAT(why(elsewhere, ip(own), 8080), IsEmpty()) << own;
  EXPECT_THAT(why(elsewhere, std::nullopt, 2379), IsEmpty());
  for (const auto* others : {"192.0.2.9", "10.244.0.7", "10.96.0.1", "198.51.100.1", "2001:db8::9"})
    EXPECT_THAT(why(elsewhere, ip(others), 8080), HasSubstr("which is no address of this node")) << others;
  const auto here = config("node: here\nstore: etcd\ncluster: c\netcd_endpoints: [\"http://192.0.2.2:2379\"]\n");
  EXPECT_THAT(why(here, std::nullopt, 2379), HasSubstr("where etcd is reached"));
  EXPECT_THAT(why(here, std::nullopt, 2380), IsEmpty());
}

TEST(SpokenFor, NobodyGetsWhatIsTheKubeletsOrTheApiServers) {
  auto of = config("objects: kubernetes\nkubernetes_servers: [\"https://192.0.2.2:6443\"]\n");
  of.api_servers = {"192.0.2.9:6443", "[2001:db8::9]:6443"};
  Node node;
  node.addresses = {ip("192.0.2.2")};
  for (const std::uint16_t port : {10250, 10248, 6443})
    EXPECT_FALSE(host_port_withheld(of, node, std::nullopt, port, Protocol::tcp).empty()) << port;
  EXPECT_THAT(host_port_withheld(of, node, ip("127.0.0.1"), 10248, Protocol::tcp), HasSubstr("the kubelet's"));
  for (const auto& [port, protocol] : {std::pair<std::uint16_t, Protocol>{10250, Protocol::udp}, {8443, Protocol::tcp}})
    EXPECT_THAT(host_port_withheld(of, node, std::nullopt, port, protocol), IsEmpty());
  const auto all = addresses_spoken_for(of, node, ClusterView());
  for (const auto* server : {"192.0.2.2", "192.0.2.9", "2001:db8::9"})
    EXPECT_EQ(all.at(ip(server)), "is the Kubernetes API server's") << server;
  of.objects = Config::ObjectSource::applied;
  EXPECT_THAT(port_spoken_for(of, 10250, Protocol::tcp), IsEmpty());
}

TEST(SpokenFor, AServiceCannotHaveAnotherNodesAddressNorEtcds) {
  const auto vxlan = config(std::string(cluster_of) + "tunnel: vxlan\n");
  Node node;
  node.addresses = {ip("192.0.2.2")};
  ClusterView cluster;
  cluster.nodes["here"] = {.underlay = {ip("192.0.2.2")}, .self = true};
  cluster.nodes["there"] = {.underlay = {ip("192.0.2.3"), ip("2001:db8::3")}};
  const auto refusal = [&](std::string_view address, std::uint16_t port, Protocol protocol = Protocol::tcp) {
    model::Service service;
    service.external_ips = {ip(address)};
    service.ports.resize(1);
    service.ports[0].port = port;
    service.ports[0].protocol = protocol;
    const auto checked = check_spoken_for(service, vxlan, node, cluster);
    return checked ? std::string() : checked.error().message;
  };
  EXPECT_EQ(refusal("192.0.2.3", 80), "spec.externalIPs: 192.0.2.3 is node there's");
  EXPECT_EQ(refusal("2001:db8::3", 80), "spec.externalIPs: 2001:db8::3 is node there's");
  EXPECT_EQ(refusal("192.0.2.9", 80), "spec.externalIPs: 192.0.2.9 is etcd's");
  EXPECT_EQ(refusal("2001:db8::9", 2379), "spec.externalIPs: 2001:db8::9 is etcd's");
  EXPECT_EQ(refusal("192.0.2.2", 80), "spec.externalIPs: 192.0.2.2 is node here's") << "whoever is asked";
  EXPECT_THAT(refusal("192.0.2.90", 2379), IsEmpty()) << "that is another address";
}

TEST(SpokenFor, ANodeByItselfGivesItsOwnAddressButNotThePortsItSpeaksBy) {
  const auto alone = config("");
  Node node;
  node.addresses = {ip("192.0.2.2")};
  model::Service service;
  service.external_ips = {ip("192.0.2.2")};
  service.ports.resize(1);
  service.ports[0].port = 80;
  EXPECT_TRUE(check_spoken_for(service, alone, node, ClusterView()));
  service.ports[0].port = 179;
  const auto refused = check_spoken_for(service, alone, node, ClusterView());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "spec.externalIPs: 192.0.2.2 is the node's own, where 179/TCP is where nodes speak BGP");
  EXPECT_THAT(addresses_spoken_for(alone, node, ClusterView()), IsEmpty());
}

}  // namespace
}  // namespace weft::agent
