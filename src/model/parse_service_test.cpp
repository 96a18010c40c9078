// Good Services, EndpointSlices, pods, pools and announcements, and the values they become.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/annotations.h"
#include "model/expand.h"
#include "model/parse.h"

namespace weft::model {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

std::string text_of(const std::vector<Problem>& problems) {
  std::string text;
  for (const auto& problem : problems) text += problem.to_string() + "\n";
  return text;
}

// The only document of `text`, which must survive the way through the store.
template <class T>
T only(std::string_view text, std::string_view warnings = "") {
  const auto outcome = parse_manifests("t.yaml", text);
  EXPECT_EQ(text_of(outcome.problems), "");
  EXPECT_EQ(text_of(outcome.warnings), warnings);
  if (outcome.documents.size() != 1 || !std::holds_alternative<T>(outcome.documents[0].object)) {
    ADD_FAILURE() << "not the one object expected";
    return {};
  }
  const auto back = object_from_json(outcome.documents[0].json);
  if (!back)
    ADD_FAILURE() << back.error().message;
  else
    EXPECT_EQ(*back, outcome.documents[0].object) << outcome.documents[0].json;
  return std::get<T>(outcome.documents[0].object);
}

// Line 1 holds the metadata, `spec` begins on line 2.
Service service_of(const std::string& spec, const std::string& metadata = "name: a", std::string_view warnings = "") {
  return only<Service>("{apiVersion: v1, kind: Service, metadata: {" + metadata + "},\n" + spec + "}\n", warnings);
}

Service annotated(const std::string& annotations, const std::string& spec = "ports: [{port: 1}]",
                  std::string_view warnings = "") {
  return service_of("spec: {" + spec + "}", "name: a, annotations: {" + annotations + "}", warnings);
}

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
Cidr cidr(std::string_view text) { return Cidr::parse(text).value(); }

TEST(ServiceFields, LoadBalancerWithEverything) {
  const auto service = only<Service>(R"(
apiVersion: v1
kind: Service
metadata:
  name: web
  labels: {service.kubernetes.io/service-proxy-name: other}
  annotations: {service.kubernetes.io/topology-mode: Auto, example.com/algorithm: any}
spec:
  type: LoadBalancer
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  externalIPs: [192.0.2.1, "2001:db8::1"]
  loadBalancerIP: 192.0.2.9
  loadBalancerClass: example.com/lb
  loadBalancerSourceRanges: [" 10.0.0.0/8 ", "fd00::/8", 10.0.0.0/8]
  allocateLoadBalancerNodePorts: false
  externalTrafficPolicy: Local
  internalTrafficPolicy: Local
  healthCheckNodePort: 32000
  trafficDistribution: PreferSameNode
  ports:
  - {name: http, port: 80, nodePort: 30080, appProtocol: kubernetes.io/h2c}
  - {name: dns, port: 53, protocol: UDP, nodePort: 30080}
status:
  conditions: [{type: X, status: "True"}]
  loadBalancer:
    ingress:
    - {ip: 192.0.2.9, ports: [{port: 80, protocol: TCP}]}
    - {ip: "2001:db8::9", ipMode: Proxy}
    - {ip: 192.0.2.9, ipMode: VIP}
    - {hostname: lb.example.com}
    - {ip: "", hostname: lb.example.com}
)");
  EXPECT_EQ(service.type, Service::Type::load_balancer);
  EXPECT_EQ(service.proxy_name, "other");
  EXPECT_THAT(service.external_ips, ElementsAre(ip("192.0.2.1"), ip("2001:db8::1")));
  EXPECT_THAT(service.load_balancer_ips, ElementsAre(ip("192.0.2.9")));
  EXPECT_EQ(service.load_balancer_class, "example.com/lb");
  EXPECT_THAT(service.source_ranges, ElementsAre(cidr("10.0.0.0/8"), cidr("fd00::/8")));
  EXPECT_FALSE(service.allocate_node_ports);
  EXPECT_TRUE(service.external_local);
  EXPECT_TRUE(service.internal_local);
  EXPECT_EQ(service.health_check_node_port, 32000);
  EXPECT_EQ(service.distribution, TrafficDistribution::prefer_same_node);
  EXPECT_THAT(service.ports,
              ElementsAre(ServicePort{"http", Protocol::tcp, 80, std::uint16_t{80}, 30080, "kubernetes.io/h2c"},
                          ServicePort{"dns", Protocol::udp, 53, std::uint16_t{53}, 30080, ""}));
  EXPECT_THAT(service.ingress,
              ElementsAre(LoadBalancerIngress{ip("192.0.2.9"), false}, LoadBalancerIngress{ip("2001:db8::9"), true}));
}

TEST(ServiceFields, Defaults) {
  const auto service = service_of("spec: {ports: [{port: 1}]}");
  EXPECT_EQ(service.type, Service::Type::cluster_ip);
  EXPECT_TRUE(service.allocate_node_ports);
  EXPECT_FALSE(service.external_local);
  EXPECT_FALSE(service.internal_local);
  EXPECT_EQ(service.health_check_node_port, 0);
  EXPECT_EQ(service.distribution, TrafficDistribution::anywhere);
  EXPECT_EQ(service.proxy_name, "");
  EXPECT_FALSE(service.algorithm);
  EXPECT_FALSE(service.forwarding);
  EXPECT_EQ(service.maglev_table_size, 0U);
  EXPECT_FALSE(service.local_redirect);
  EXPECT_EQ(service.health_check, HealthCheck{});
}

// As an API server hands them out: empty and default values written down.
TEST(ServiceFields, EmptyValuesAreAbsentOnes) {
  const auto service = service_of(R"(spec: {ports: [{port: 1, nodePort: 0}], externalIPs: [], loadBalancerIP: "",
    loadBalancerSourceRanges: [], healthCheckNodePort: 0, internalTrafficPolicy: Cluster, clusterIP: "",
    loadBalancerClass: null}, status: {loadBalancer: {}})");
  EXPECT_THAT(service.external_ips, IsEmpty());
  EXPECT_THAT(service.load_balancer_ips, IsEmpty());
  EXPECT_THAT(service.ingress, IsEmpty());
}

TEST(ServiceFields, NodePort) {
  const auto service =
      service_of("spec: {type: NodePort, externalTrafficPolicy: Local, ports: [{port: 1, nodePort: 30000}]}");
  EXPECT_EQ(service.type, Service::Type::node_port);
  EXPECT_TRUE(service.external_local);
  EXPECT_EQ(service.ports[0].node_port, 30000);
}

TEST(ServiceFields, ExternalTrafficPolicyOfAClusterIpNeedsExternalAddresses) {
  const auto service = service_of("spec: {externalIPs: [192.0.2.1], externalTrafficPolicy: Local, ports: [{port: 1}]}");
  EXPECT_TRUE(service.external_local);
}

TEST(ServiceFields, TrafficDistribution) {
  for (const auto& [word, value] : {std::pair("PreferClose", TrafficDistribution::prefer_same_zone),
                                    {"PreferSameZone", TrafficDistribution::prefer_same_zone},
                                    {"PreferSameNode", TrafficDistribution::prefer_same_node}})
    EXPECT_EQ(service_of(std::string("spec: {ports: [{port: 1}], trafficDistribution: ") + word + "}").distribution,
              value)
        << word;
}

TEST(ServiceFields, WhatHasNoEffectIsAWarning) {
  service_of("spec: {ports: [{port: 1}], loadBalancerIP: 192.0.2.1}", "name: a",
             "t.yaml:2:44: spec.loadBalancerIP: has no effect: the Service is not of type LoadBalancer\n");
  service_of("spec: {clusterIP: None, externalIPs: [192.0.2.1]}", "name: a",
             "t.yaml:2:38: spec.externalIPs: has no effect on a Service without a ClusterIP\n");
  const auto twice = service_of("spec: {ports: [{port: 1}], externalIPs: [192.0.2.1, 192.0.2.1]}", "name: a",
                                "t.yaml:2:53: spec.externalIPs[1]: 192.0.2.1 is given twice\n");
  EXPECT_THAT(twice.external_ips, SizeIs(1));
  service_of("spec: {ports: [{port: 1}], ipFamilies: [IPv4], externalIPs: [\"2001:db8::1\"]}", "name: a",
             "t.yaml:2:62: spec.externalIPs[0]: has no effect: the Service is of IPv4 only\n");
  service_of(
      "spec: {type: LoadBalancer, clusterIP: \"fd00::1\", loadBalancerSourceRanges: [10.1.2.3/8], "
      "ports: [{port: 1}]}",
      "name: a",
      "t.yaml:2:77: spec.loadBalancerSourceRanges[0]: 10.1.2.3/8 has bits set beyond its prefix; it is read as "
      "10.0.0.0/8\n"
      "t.yaml:2:77: spec.loadBalancerSourceRanges[0]: has no effect: the Service is of IPv6 only\n");
  const auto status =
      service_of("spec: {ports: [{port: 1}]}, status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}", "name: a",
                 "t.yaml:2:62: status.loadBalancer.ingress: has no effect: the Service is not of type LoadBalancer\n");
  EXPECT_THAT(status.ingress, IsEmpty());
  annotated("service.beta.kubernetes.io/load-balancer-source-ranges: 10.0.0.0/8",
            "type: LoadBalancer, ports: [{port: 1}]",
            "t.yaml:1:123: metadata.annotations[\"service.beta.kubernetes.io/load-balancer-source-ranges\"]: Weft does "
            "not act on this annotation; write the ranges into spec.loadBalancerSourceRanges\n");
}

TEST(ServiceFields, FamiliesThatMayGrowTakeEveryAddress) {
  service_of("spec: {ports: [{port: 1}], externalIPs: [192.0.2.1, \"2001:db8::1\"]}");
  service_of(
      "spec: {ports: [{port: 1}], ipFamilies: [IPv4], ipFamilyPolicy: PreferDualStack, externalIPs: "
      "[\"2001:db8::1\"]}");
}

TEST(ServiceAnnotations, Algorithms) {
  for (const auto algorithm : {Algorithm::random, Algorithm::round_robin, Algorithm::least_connections,
                               Algorithm::maglev, Algorithm::source_hash})
    EXPECT_EQ(annotated("weft.io/algorithm: " + std::string(to_string(algorithm))).algorithm, algorithm);
  for (const auto forwarding : {Forwarding::snat, Forwarding::dsr_ipip, Forwarding::dsr_geneve, Forwarding::dsr_option})
    EXPECT_EQ(annotated("weft.io/forwarding: " + std::string(to_string(forwarding))).forwarding, forwarding);
}

TEST(ServiceAnnotations, MaglevTableSize) {
  for (const std::uint32_t size : {251U, 16381U, 131071U})
    EXPECT_EQ(annotated("weft.io/maglev-table-size: \"" + std::to_string(size) + "\"").maglev_table_size, size);
  annotated("weft.io/maglev-table-size: \"251\", weft.io/algorithm: maglev");
  annotated("weft.io/maglev-table-size: \"251\", weft.io/algorithm: random", "ports: [{port: 1}]",
            "t.yaml:1:94: metadata.annotations[\"weft.io/maglev-table-size\"]: has no effect with "
            "weft.io/algorithm: random; only maglev has a table\n");
}

TEST(ServiceAnnotations, LocalRedirect) {
  EXPECT_EQ(annotated("weft.io/local-redirect: \"app=dns, k8s.io/tier=node,empty=\"").local_redirect,
            (LabelMap{{"app", "dns"}, {"empty", ""}, {"k8s.io/tier", "node"}}));
}

TEST(ServiceAnnotations, LoadBalancerAddresses) {
  const std::string balancer = "type: LoadBalancer, loadBalancerIP: 192.0.2.1, ports: [{port: 1}]";
  const auto service = annotated(
      R"(weft.io/load-balancer-ips: "192.0.2.2, 192.0.2.1,2001:db8::1", weft.io/sharing-key: dns.both)", balancer);
  EXPECT_THAT(service.load_balancer_ips, ElementsAre(ip("192.0.2.1"), ip("192.0.2.2"), ip("2001:db8::1")));
  EXPECT_EQ(service.sharing_key, "dns.both");
  EXPECT_THAT(annotated("weft.io/load-balancer-ips: 192.0.2.2", "ports: [{port: 1}]",
                        "t.yaml:1:94: metadata.annotations[\"weft.io/load-balancer-ips\"]: has no effect: the Service "
                        "is not of type LoadBalancer\n")
                  .load_balancer_ips,
              IsEmpty());
}

TEST(ServiceAnnotations, HealthCheck) {
  const auto full = annotated(
      R"(weft.io/health-check: http, weft.io/health-check-port: "8080", weft.io/health-check-path: "/healthz?full=1",
         weft.io/health-check-host: "web.example:80", weft.io/health-check-interval: 1m30s,
         weft.io/health-check-timeout: 500ms, weft.io/health-check-rise: "1", weft.io/health-check-fall: "100")");
  EXPECT_EQ(full.health_check,
            (HealthCheck{HealthCheck::Kind::http, 8080, "/healthz?full=1", "web.example:80", 90s, 500ms, 1, 100}));
  EXPECT_EQ(annotated("weft.io/health-check: tcp").health_check,
            (HealthCheck{HealthCheck::Kind::tcp, 0, "/", "", 2s, 1s, 2, 3}));
  // The default timeout gives way to a short interval.
  const auto quick = annotated("weft.io/health-check: tcp, weft.io/health-check-interval: 100ms").health_check;
  EXPECT_EQ(quick.interval, 100ms);
  EXPECT_EQ(quick.timeout, 100ms);
  // Switched off, the rest may stay.
  EXPECT_EQ(annotated("weft.io/health-check: none, weft.io/health-check-path: /x").health_check.kind,
            HealthCheck::Kind::none);
  annotated("weft.io/health-check: tcp, weft.io/health-check-path: /x", "ports: [{port: 1}]",
            "t.yaml:1:121: metadata.annotations[\"weft.io/health-check-path\"]: has no effect with "
            "weft.io/health-check: tcp; a request is sent with http only\n");
}

TEST(ServiceAnnotations, OfAServiceWithoutAClusterIpHaveNoEffect) {
  annotated("weft.io/algorithm: maglev", "clusterIP: None",
            "t.yaml:1:86: metadata.annotations[\"weft.io/algorithm\"]: has no effect on a Service without a "
            "ClusterIP\n");
}

TEST(Duration, Texts) {
  EXPECT_EQ(parse_duration("0s"), 0ms);
  EXPECT_EQ(parse_duration("500ms"), 500ms);
  EXPECT_EQ(parse_duration("1h2m3s4ms"), 3723004ms);
  EXPECT_EQ(parse_duration("999999999h"), 999999999h);
  for (const char* bad : {"", "1", "s", "1 s", " 1s", "1s ", "-1s", "+1s", "1.5s", "1S", "1sec", "1d", "9999999999s",
                          "99999999999999999999s", "1m30", "ms"})
    EXPECT_FALSE(parse_duration(bad)) << bad;
}

TEST(SliceFields, PlacesHintsAndWeight) {
  const auto slice = only<EndpointSlice>(R"(
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata:
  name: web-1
  labels: {kubernetes.io/service-name: web}
  annotations: {weft.io/weight: "7", endpoints.kubernetes.io/last-change-trigger-time: "2026-01-01T00:00:00Z"}
endpoints:
- addresses: [10.0.0.1]
  nodeName: node-1.example
  zone: a
  hints: {forZones: [{name: a}, {name: b}], forNodes: [{name: node-1.example}]}
- addresses: [10.0.0.2]
  deprecatedTopology: {kubernetes.io/hostname: node-2}
  hints: {}
ports: [{name: http, port: 8080, appProtocol: http}]
)");
  ASSERT_THAT(slice.endpoints, SizeIs(2));
  EXPECT_EQ(slice.endpoints[0].node, "node-1.example");
  EXPECT_EQ(slice.endpoints[0].zone, "a");
  EXPECT_THAT(slice.endpoints[0].hint_zones, ElementsAre("a", "b"));
  EXPECT_THAT(slice.endpoints[0].hint_nodes, ElementsAre("node-1.example"));
  EXPECT_EQ(slice.endpoints[0].weight, 7U);
  EXPECT_EQ(slice.endpoints[1].node, "");
  EXPECT_THAT(slice.endpoints[1].hint_zones, IsEmpty());
  EXPECT_EQ(slice.endpoints[1].weight, 7U);
}

TEST(PodFields, HostPortsDeletionAndWeight) {
  const auto pod = only<Pod>(R"(
apiVersion: v1
kind: Pod
metadata: {name: web, annotations: {weft.io/weight: "0"}, deletionTimestamp: 2026-01-01T00:00:00Z}
spec:
  containers:
  - name: a
    ports:
    - {containerPort: 80, hostPort: 8080}
    - {containerPort: 80, hostPort: 8080, protocol: UDP}
    - {containerPort: 81, hostPort: 8080, hostIP: 192.0.2.1}
  - name: b
    ports:
    - {containerPort: 82, hostPort: 8080, hostIP: "::"}
    - {containerPort: 83, hostIP: ""}
)");
  EXPECT_TRUE(pod.terminating);
  EXPECT_EQ(pod.weight, 0U);
  ASSERT_THAT(pod.spec.containers, SizeIs(2));
  EXPECT_THAT(pod.spec.containers[0].ports, ElementsAre(ContainerPort{"", 80, Protocol::tcp, 8080, std::nullopt},
                                                        ContainerPort{"", 80, Protocol::udp, 8080, std::nullopt},
                                                        ContainerPort{"", 81, Protocol::tcp, 8080, ip("192.0.2.1")}));
  EXPECT_THAT(pod.spec.containers[1].ports, ElementsAre(ContainerPort{"", 82, Protocol::tcp, 8080, ip("::")},
                                                        ContainerPort{"", 83, Protocol::tcp, 0, std::nullopt}));
}

TEST(PodFields, Defaults) {
  const auto pod = only<Pod>(R"(
apiVersion: v1
kind: Pod
metadata: {name: web, deletionTimestamp: null}
spec: {hostNetwork: true, containers: [{name: a, ports: [{containerPort: 80, hostPort: 80}]}]}
)");
  EXPECT_FALSE(pod.terminating);
  EXPECT_EQ(pod.weight, 1U);
}

TEST(PodFields, TheTemplatesWeightIsThatOfItsPods) {
  const auto outcome = parse_manifests("t.yaml", R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {weft.io/weight: "20"}}
    spec: {containers: [{name: c}]}
)");
  EXPECT_EQ(text_of(outcome.problems), "");
  ASSERT_THAT(outcome.documents, SizeIs(1));
  const auto pods = expand(std::get<Deployment>(outcome.documents[0].object));
  ASSERT_THAT(pods, SizeIs(1));
  EXPECT_EQ(pods[0].weight, 20U);
  const auto json = pod_json(outcome.documents[0].json, 0);
  ASSERT_TRUE(json);
  EXPECT_EQ(std::get<Pod>(object_from_json(*json).value()).weight, 20U);
}

TEST(LoadBalancerPools, Ranges) {
  const auto pool = only<LoadBalancerPool>(R"(
apiVersion: weft.io/v1alpha1
kind: LoadBalancerPool
metadata: {name: public}
spec:
  addresses: [192.0.2.0/28, 192.0.2.32-192.0.2.40, 192.0.2.50, "2001:db8::/124", "2001:db8::20-2001:db8::2f"]
  serviceSelector: {matchLabels: {tier: front}}
  namespaces: [shop, web]
  autoAssign: false
)");
  EXPECT_EQ(pool.meta.key(), (ObjectKey{"", "public"}));
  EXPECT_THAT(
      pool.ranges,
      ElementsAre(AddressRange{ip("192.0.2.0"), ip("192.0.2.15")}, AddressRange{ip("192.0.2.32"), ip("192.0.2.40")},
                  AddressRange{ip("192.0.2.50"), ip("192.0.2.50")}, AddressRange{ip("2001:db8::"), ip("2001:db8::f")},
                  AddressRange{ip("2001:db8::20"), ip("2001:db8::2f")}));
  EXPECT_EQ(pool.service_selector->to_string(), "tier=front");
  EXPECT_THAT(pool.namespaces, ElementsAre("shop", "web"));
  EXPECT_FALSE(pool.auto_assign);
}

TEST(LoadBalancerPools, Defaults) {
  const auto pool = only<LoadBalancerPool>(
      "{apiVersion: weft.io/v1alpha1, kind: LoadBalancerPool, metadata: {name: a}, spec: {addresses: [10.0.0.1/32]}}");
  EXPECT_FALSE(pool.service_selector);
  EXPECT_TRUE(pool.auto_assign);
  EXPECT_THAT(pool.ranges, ElementsAre(AddressRange{ip("10.0.0.1"), ip("10.0.0.1")}));
}

TEST(L2Announcements, Fields) {
  const auto announcement = only<L2Announcement>(R"(
apiVersion: weft.io/v1alpha1
kind: L2Announcement
metadata: {name: lan}
spec: {serviceSelector: {}, interfaces: [eth0, "en*"], externalIPs: false}
)");
  EXPECT_EQ(announcement.meta.namespace_, "");
  EXPECT_TRUE(announcement.service_selector->empty());
  EXPECT_THAT(announcement.interfaces, ElementsAre("eth0", "en*"));
  EXPECT_FALSE(announcement.external_ips);
  EXPECT_TRUE(announcement.load_balancer_ips);
  const auto all =
      only<L2Announcement>("{apiVersion: weft.io/v1alpha1, kind: L2Announcement, metadata: {name: a}, spec: {}}");
  EXPECT_TRUE(all.external_ips);
  EXPECT_FALSE(all.service_selector);
  only<L2Announcement>(
      "{apiVersion: weft.io/v1alpha1, kind: L2Announcement, metadata: {name: a},\n"
      "spec: {externalIPs: false, loadBalancerIPs: false}}",
      "t.yaml:2:7: spec: announces nothing: externalIPs and loadBalancerIPs are both false\n");
}

TEST(EgressGateways, Fields) {
  const auto gateway = only<EgressGateway>(R"(
apiVersion: weft.io/v1alpha1
kind: EgressGateway
metadata: {name: partner}
spec:
  selectors: [{podSelector: {matchLabels: {app: bank}}}, {namespaceSelector: {matchLabels: {team: money}}}]
  destinationCIDRs: [0.0.0.0/0, "::/0"]
  excludedCIDRs: [10.0.0.0/8]
  gateways:
  - {nodeSelector: {matchLabels: {role: gateway}}, egressIPs: [192.0.2.9, "2001:db8::9"], interface: eth1}
  - {node: w1}
  maxGateways: 2
  failover: Drop
)");
  EXPECT_EQ(gateway.meta.key(), (ObjectKey{"", "partner"}));
  ASSERT_EQ(gateway.selectors.size(), 2U);
  EXPECT_EQ(gateway.selectors[0].pod_selector->to_string(), "app=bank");
  EXPECT_FALSE(gateway.selectors[0].namespace_selector);
  EXPECT_FALSE(gateway.selectors[1].pod_selector);
  EXPECT_THAT(gateway.destinations, ElementsAre(*Cidr::parse("0.0.0.0/0"), *Cidr::parse("::/0")));
  EXPECT_THAT(gateway.excluded, ElementsAre(*Cidr::parse("10.0.0.0/8")));
  ASSERT_EQ(gateway.gateways.size(), 2U);
  EXPECT_EQ(gateway.gateways[0].node_selector->to_string(), "role=gateway");
  EXPECT_THAT(gateway.gateways[0].addresses, ElementsAre(ip("192.0.2.9"), ip("2001:db8::9")));
  EXPECT_EQ(gateway.gateways[0].interface, "eth1");
  EXPECT_EQ(gateway.gateways[1].node, "w1");
  EXPECT_FALSE(gateway.gateways[1].node_selector);
  EXPECT_EQ(gateway.max_gateways, 2U);
  EXPECT_EQ(gateway.failover, EgressGateway::Failover::drop);
}

TEST(EgressGateways, CidrsAreBounded) {
  const auto with = [](int count) {
    std::string text =
        "{apiVersion: weft.io/v1alpha1, kind: EgressGateway, metadata: {name: a}, spec: {selectors: [{podSelector: "
        "{}}],"
        "gateways: [{nodeSelector: {}}], destinationCIDRs: [";
    for (int i = 0; i < count; ++i) text += fmt::format("{}10.{}.{}.0/24", i == 0 ? "" : ", ", i / 256, i % 256);
    return text + "]}}";
  };
  EXPECT_EQ(only<EgressGateway>(with(1024)).destinations.size(), 1024U);
  EXPECT_THAT(text_of(parse_manifests("t.yaml", with(1025)).problems),
              testing::HasSubstr("spec.destinationCIDRs[1024]: expected 1024 CIDRs at most, found 1025"));
}

TEST(EgressGateways, Defaults) {
  const auto gateway = only<EgressGateway>(
      "{apiVersion: weft.io/v1alpha1, kind: EgressGateway, metadata: {name: a}, spec: {selectors: [{podSelector: {}}],"
      "destinationCIDRs: [0.0.0.0/0], gateways: [{nodeSelector: {}}]}}");
  EXPECT_EQ(gateway.max_gateways, 1U);
  EXPECT_EQ(gateway.failover, EgressGateway::Failover::next);
  EXPECT_TRUE(gateway.gateways[0].addresses.empty());
}

}  // namespace
}  // namespace weft::model
