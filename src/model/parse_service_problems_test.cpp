// What is refused of Services' outer side, Weft's annotations, slices' places, host ports, pools and
// announcements: every problem with its place and path.
#include <gtest/gtest.h>

#include "model/parse.h"

namespace weft::model {
namespace {

struct Case {
  const char* name;
  const char* text;                   // what follows the head
  std::vector<const char*> problems;  // "line:column: path: message", the message may go on
};

void check(const std::string& text, const std::vector<const char*>& expected) {
  const auto outcome = parse_manifests("t", text);
  std::string all;
  for (const auto& problem : outcome.problems) all += problem.to_string() + "\n";
  ASSERT_EQ(outcome.problems.size(), expected.size()) << all;
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_TRUE(outcome.problems[i].to_string().starts_with(std::string("t:") + expected[i]))
        << outcome.problems[i].to_string() << "\nexpected t:" << expected[i];
  EXPECT_TRUE(outcome.documents.empty());
}

const auto name_of = [](const auto& parameter) { return std::string(parameter.param.name); };

// The text is the content of spec, from line 5 on.
class ServiceFieldProblems : public testing::TestWithParam<Case> {};
TEST_P(ServiceFieldProblems, Refused) {
  check(std::string("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n") + GetParam().text,
        GetParam().problems);
}

const Case service_cases[] = {
    {"external_ips",
     "  ports: [{port: 1}]\n  externalIPs: [web, 0.0.0.0, \"::\", 127.0.0.1, \"::1\", 224.0.0.1, 169.254.0.1, "
     "\"fe80::1\", "
     "1, 10.0.0.0/8]\n",
     {"6:17: spec.externalIPs[0]: expected an IP address, found \"web\"",
      "6:22: spec.externalIPs[1]: expected an address a Service can have, found 0.0.0.0",
      "6:31: spec.externalIPs[2]: expected an address a Service can have, found ::",
      "6:37: spec.externalIPs[3]: expected an address a Service can have, found 127.0.0.1",
      "6:48: spec.externalIPs[4]: expected an address a Service can have, found ::1",
      "6:55: spec.externalIPs[5]: expected an address a Service can have, found 224.0.0.1",
      "6:66: spec.externalIPs[6]: expected an address that is not link-local, found 169.254.0.1",
      "6:79: spec.externalIPs[7]: expected an address that is not link-local, found fe80::1",
      "6:90: spec.externalIPs[8]: expected text, found the number 1",
      "6:93: spec.externalIPs[9]: expected an IP address, found \"10.0.0.0/8\""}},
    {"external_ips_is_text",
     "  ports: [{port: 1}]\n  externalIPs: 10.0.0.1\n",
     {"6:16: spec.externalIPs: expected a list, found \"10.0.0.1\""}},
    {"load_balancer_ip",
     "  type: LoadBalancer\n  ports: [{port: 1}]\n  loadBalancerIP: lb.example\n",
     {"7:19: spec.loadBalancerIP: expected an IP address, found \"lb.example\""}},
    {"load_balancer_fields_of_another_type",
     "  type: NodePort\n  ports: [{port: 1}]\n  loadBalancerClass: a/b\n  loadBalancerSourceRanges: [10.0.0.0/8]\n"
     "  allocateLoadBalancerNodePorts: false\n  healthCheckNodePort: 30000\n",
     {"7:22: spec.loadBalancerClass: loadBalancerClass needs type LoadBalancer",
      "8:29: spec.loadBalancerSourceRanges: loadBalancerSourceRanges needs type LoadBalancer",
      "9:34: spec.allocateLoadBalancerNodePorts: allocateLoadBalancerNodePorts needs type LoadBalancer",
      "10:24: spec.healthCheckNodePort: healthCheckNodePort needs type LoadBalancer and externalTrafficPolicy: "
      "Local"}},
    {"load_balancer_values",
     "  type: LoadBalancer\n  ports: [{port: 1}]\n  loadBalancerClass: \"a b\"\n  loadBalancerSourceRanges: [10.0.0.1, "
     "10.0.0.0/33, \" \"]\n  allocateLoadBalancerNodePorts: \"no\"\n",
     {"7:22: spec.loadBalancerClass: expected a key of letters",
      "8:30: spec.loadBalancerSourceRanges[0]: expected a CIDR such as 10.0.0.0/8 or fd00::/8, found \"10.0.0.1\"",
      "8:40: spec.loadBalancerSourceRanges[1]: expected a CIDR",
      "8:53: spec.loadBalancerSourceRanges[2]: expected a CIDR",
      "9:34: spec.allocateLoadBalancerNodePorts: expected true or false, found \"no\""}},
    {"source_ranges_is_text",
     "  type: LoadBalancer\n  ports: [{port: 1}]\n  loadBalancerSourceRanges: 10.0.0.0/8\n",
     {"7:29: spec.loadBalancerSourceRanges: expected a list"}},
    {"traffic_policies",
     "  type: NodePort\n  ports: [{port: 1}]\n  externalTrafficPolicy: local\n  internalTrafficPolicy: Node\n  "
     "trafficDistribution: PreferSameZones\n",
     {"7:26: spec.externalTrafficPolicy: expected Cluster or Local, found \"local\"; did you mean \"Local\"?",
      "8:26: spec.internalTrafficPolicy: expected Cluster or Local, found \"Node\"",
      "9:24: spec.trafficDistribution: expected PreferClose or PreferSameZone or PreferSameNode, found "
      "\"PreferSameZones\"; did you mean \"PreferSameZone\"?"}},
    {"external_policy_without_an_outside",
     "  ports: [{port: 1}]\n  externalTrafficPolicy: Cluster\n",
     {"6:26: spec.externalTrafficPolicy: externalTrafficPolicy needs type NodePort or LoadBalancer, or externalIPs"}},
    {"health_port",
     "  type: LoadBalancer\n  externalTrafficPolicy: Local\n  healthCheckNodePort: 65536\n  ports: [{port: 1}]\n",
     {"7:24: spec.healthCheckNodePort: expected a number from 0 to 65535, found the number 65536"}},
    {"health_port_of_policy_cluster",
     "  type: LoadBalancer\n  healthCheckNodePort: 30000\n  ports: [{port: 1}]\n",
     {"6:24: spec.healthCheckNodePort: healthCheckNodePort needs type LoadBalancer and externalTrafficPolicy: Local"}},
    {"health_port_is_a_node_port",
     "  type: LoadBalancer\n  externalTrafficPolicy: Local\n  healthCheckNodePort: 30000\n  ports: [{port: 1, "
     "nodePort: "
     "30000}]\n",
     {"7:24: spec.healthCheckNodePort: the port 30000/TCP is also a nodePort of this Service"}},
    {"node_ports",
     "  type: NodePort\n  ports:\n  - {name: a, port: 1, nodePort: 30000}\n  - {name: b, port: 2, nodePort: 30000}\n  "
     "- "
     "{name: c, port: 3, nodePort: 30000, protocol: UDP}\n  - {name: d, port: 4, nodePort: 65536}\n  - {name: e, port: "
     "5, "
     "nodePort: \"30001\"}\n",
     {"8:5: spec.ports[1]: the nodePort 30000/TCP is given twice",
      "10:34: spec.ports[3].nodePort: expected a number from 0 to 65535, found the number 65536",
      "11:34: spec.ports[4].nodePort: expected a number from 0 to 65535, found the text \"30001\"; write it without "
      "quotes"}},
    {"app_protocol",
     "  ports: [{port: 1, appProtocol: \"a b\"}, {port: 2, name: b, appProtocol: 7}]\n",
     {"5:11: spec.ports[0]: name is missing", "5:34: spec.ports[0].appProtocol: expected a key of",
      "5:74: spec.ports[1].appProtocol: expected text, found the number 7"}},
    {"external_name_with_families",
     "  type: ExternalName\n  externalName: a.b\n  ipFamilies: [IPv4]\n",
     {"5:3: spec: a Service of type ExternalName has neither ipFamilies nor ipFamilyPolicy"}},
    {"status",
     "  type: LoadBalancer\n  ports: [{port: 1}]\nstatus:\n  loadBalancer:\n    ingress:\n    - {ip: web}\n    - {ip: "
     "0.0.0.0}\n    - {ip: 192.0.2.1, ipMode: proxy}\n    - {hostname: a.b, ipMode: VIP}\n    - {ipmode: VIP}\n    - "
     "5\n",
     {"10:12: status.loadBalancer.ingress[0].ip: expected an IP address, found \"web\"",
      "11:12: status.loadBalancer.ingress[1].ip: expected an address a Service can have, found 0.0.0.0",
      "12:31: status.loadBalancer.ingress[2].ipMode: expected VIP or Proxy, found \"proxy\"; did you mean \"Proxy\"?",
      "13:31: status.loadBalancer.ingress[3].ipMode: ipMode needs ip",
      "14:8: status.loadBalancer.ingress[4].ipmode: unknown field \"ipmode\"; did you mean \"ipMode\"?",
      "15:7: status.loadBalancer.ingress[5]: expected a mapping, found the number 5"}},
    {"misplaced_fields",
     "  ports: [{port: 1, sourceRanges: []}]\n  nodePort: 30000\n  loadbalancerClass: a/b\n",
     {"5:21: spec.ports[0].sourceRanges: unknown field \"sourceRanges\"",
      "6:3: spec.nodePort: unknown field \"nodePort\"; it belongs into an entry of spec.ports of a Service",
      "7:3: spec.loadbalancerClass: unknown field \"loadbalancerClass\"; did you mean \"loadBalancerClass\"?"}},
};
INSTANTIATE_TEST_SUITE_P(Parse, ServiceFieldProblems, testing::ValuesIn(service_cases), name_of);

// The text is annotations, from line 6 on.
class AnnotationProblems : public testing::TestWithParam<Case> {};
TEST_P(AnnotationProblems, Refused) {
  check(std::string("apiVersion: v1\nkind: Service\nmetadata:\n  name: s\n  annotations:\n") + GetParam().text +
            "spec: {type: LoadBalancer, ports: [{port: 1}]}\n",
        GetParam().problems);
}

#define AT(name) ": metadata.annotations[\"weft.io/" name "\"]: "
const Case annotation_cases[] = {
    {"algorithm",
     "    weft.io/algorithm: roundrobin\n",
     {"6:24" AT("algorithm") "expected random or round-robin or least-connections or maglev or source-hash, found "
                             "\"roundrobin\"; did you mean \"round-robin\"?"}},
    {"empty_algorithm", "    weft.io/algorithm:\n", {"6:5" AT("algorithm") "expected random or"}},
    {"algorithm_is_a_number",
     "    weft.io/algorithm: 3\n",
     {"6:24" AT("algorithm") "expected text, found the number 3; write it in quotes: \"3\""}},
    {"forwarding",
     "    weft.io/forwarding: DSR\n",
     {"6:25" AT("forwarding") "expected snat or dsr-ipip or dsr-geneve or dsr-option, found \"DSR\""}},
    {"table_size_is_no_prime",
     "    weft.io/maglev-table-size: \"65536\"\n",
     {"6:32" AT("maglev-table-size") "expected a prime number such as 65537, found \"65536\""}},
    {"table_size_at_the_upper_end",
     "    weft.io/maglev-table-size: \"131070\"\n",
     {"6:32" AT("maglev-table-size") "expected a prime number such as 131071, found \"131070\""}},
    {"table_size_range",
     "    weft.io/maglev-table-size: \"131072\"\n",
     {"6:32" AT("maglev-table-size") "expected a number from 251 to 131071, found \"131072\""}},
    {"table_size_text",
     "    weft.io/maglev-table-size: 251x\n",
     {"6:32" AT("maglev-table-size") "expected a number from 251 to 131071, found \"251x\""}},
    {"redirect_empty",
     "    weft.io/local-redirect: \"\"\n",
     {"6:29" AT("local-redirect") "expected the labels of the pods to redirect to, such as app=dns or "
                                  "app=dns,tier=node, found nothing"}},
    {"redirect_no_value", "    weft.io/local-redirect: app\n", {"6:29" AT("local-redirect") "expected the labels"}},
    {"redirect_key",
     "    weft.io/local-redirect: -a=b\n",
     {"6:29" AT("local-redirect") "label \"-a\": expected a key"}},
    {"redirect_value",
     "    weft.io/local-redirect: a=b c\n",
     {"6:29" AT("local-redirect") "label value \"b c\": expected"}},
    {"redirect_twice",
     "    weft.io/local-redirect: a=b,a=c\n",
     {"6:29" AT("local-redirect") "the label \"a\" is given twice"}},
    {"addresses",
     "    weft.io/load-balancer-ips: 10.0.0.1,web\n",
     {"6:32" AT("load-balancer-ips") "expected addresses joined by commas, such as 10.0.0.5 or 10.0.0.5,fd00::5, found "
                                     "\"web\""}},
    {"addresses_empty_part",
     "    weft.io/load-balancer-ips: 10.0.0.1,,10.0.0.2\n",
     {"6:32" AT("load-balancer-ips") "expected addresses joined by commas"}},
    {"addresses_special",
     "    weft.io/load-balancer-ips: 127.0.0.1\n",
     {"6:32" AT("load-balancer-ips") "expected an address a Service can have, found 127.0.0.1"}},
    {"addresses_twice",
     "    weft.io/load-balancer-ips: 10.0.0.1,10.0.0.1\n",
     {"6:32" AT("load-balancer-ips") "the address 10.0.0.1 is given twice"}},
    {"sharing_key", "    weft.io/sharing-key: a b\n", {"6:26" AT("sharing-key") "expected letters, digits"}},
    {"sharing_key_empty", "    weft.io/sharing-key: \"\"\n", {"6:26" AT("sharing-key") "expected a name that"}},
    {"health_check",
     "    weft.io/health-check: https\n",
     {"6:27" AT("health-check") "expected none or tcp or http, found \"https\"; did you mean \"http\"?"}},
    {"health_check_missing",
     "    weft.io/health-check-path: /x\n",
     {"6:32" AT("health-check-path") "weft.io/health-check-path needs weft.io/health-check: tcp or http"}},
    {"health_check_values",
     "    weft.io/health-check: http\n    weft.io/health-check-port: \"0\"\n    weft.io/health-check-path: x\n    "
     "weft.io/health-check-host: a b\n    weft.io/health-check-interval: 2\n    weft.io/health-check-timeout: 1500us\n "
     "  "
     " weft.io/health-check-rise: \"0\"\n    weft.io/health-check-fall: \"101\"\n",
     {"7:32" AT("health-check-port") "expected a number from 1 to 65535, found \"0\"",
      "8:32" AT("health-check-path") "expected a path such as /healthz",
      "9:32" AT("health-check-host") "expected a host name such as web.example or web.example:8080, found \"a b\"",
      "10:36" AT("health-check-interval") "expected text, found the number 2; write it in quotes",
      "11:35" AT("health-check-timeout") "expected a duration from 10ms to 10s, such as 500ms or 2s, found \"1500us\"",
      "12:32" AT("health-check-rise") "expected a number from 1 to 100, found \"0\"",
      "13:32" AT("health-check-fall") "expected a number from 1 to 100, found \"101\""}},
    {"health_check_interval_range",
     "    weft.io/health-check: tcp\n    weft.io/health-check-interval: 99ms\n",
     {"7:36" AT("health-check-interval") "expected a duration from 100ms to 1h, such as 500ms or 2s, found \"99ms\""}},
    {"health_check_timeout_above_interval",
     "    weft.io/health-check: tcp\n    weft.io/health-check-timeout: 3s\n",
     {"7:35" AT("health-check-timeout") "expected a duration not above weft.io/health-check-interval, 2000 ms"}},
    {"health_check_path_ends_the_line",
     "    weft.io/health-check: http\n    weft.io/health-check-path: \"/ HTTP/1.1\\r\\nX: y\"\n",
     {"7:32" AT("health-check-path") "expected a path such as /healthz"}},
    {"health_check_host_ends_the_line",
     "    weft.io/health-check: http\n    weft.io/health-check-host: \"a\\r\\nX: y\"\n",
     {"7:32" AT("health-check-host") "expected a host name"}},
    {"misspelt",
     "    weft.io/algoritm: random\n",
     {"6:23" AT("algoritm") "unknown annotation \"weft.io/algoritm\"; did you mean \"weft.io/algorithm\"?"}},
    {"unknown",
     "    weft.io/colour: red\n",
     {"6:21" AT("colour") "unknown annotation \"weft.io/colour\"; a Service takes weft.io/algorithm, "
                          "weft.io/forwarding, weft.io/maglev-table-size"}},
    {"of_another_kind",
     "    weft.io/weight: \"1\"\n",
     {"6:21" AT(
         "weight") "unknown annotation \"weft.io/weight\" of a Service; it belongs to an EndpointSlice, a Pod or "
                   "the metadata of a pod template"}},
};
INSTANTIATE_TEST_SUITE_P(Parse, AnnotationProblems, testing::ValuesIn(annotation_cases), name_of);

// Whole documents.
class ObjectProblems : public testing::TestWithParam<Case> {};
TEST_P(ObjectProblems, Refused) { check(GetParam().text, GetParam().problems); }

#define SLICE "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s}\naddressType: IPv4\n"
#define POOL "apiVersion: weft.io/v1alpha1\nkind: LoadBalancerPool\nmetadata: {name: p}\n"
#define ANNOUNCEMENT "apiVersion: weft.io/v1alpha1\nkind: L2Announcement\nmetadata: {name: a}\n"
#define EGRESS "apiVersion: weft.io/v1alpha1\nkind: EgressGateway\nmetadata: {name: e}\n"
const Case object_cases[] = {
    {"slice_places",
     SLICE
     "endpoints:\n- {addresses: [10.0.0.1], nodeName: a_b, zone: 1}\n- addresses: [10.0.0.1]\n  hints: {forZones: "
     "[{name: a}, {name: a}, {}, {name: \"a b\"}, {zone: a}], forNodes: a, forZone: []}\n",
     {"6:37: endpoints[0].nodeName: expected lower-case letters", "6:48: endpoints[0].zone: expected text",
      "8:40: endpoints[1].hints.forZones[1].name: \"a\" is given twice",
      "8:44: endpoints[1].hints.forZones[2].name: name is missing; expected a zone's name",
      "8:55: endpoints[1].hints.forZones[3].name: expected letters, digits",
      "8:63: endpoints[1].hints.forZones[4].name: name is missing",
      "8:64: endpoints[1].hints.forZones[4].zone: unknown field \"zone\"",
      "8:85: endpoints[1].hints.forNodes: expected a list",
      "8:88: endpoints[1].hints.forZone: unknown field \"forZone\"; did you mean \"forZones\"?"}},
    {"slice_too_many_hints",
     SLICE
     "endpoints:\n- {addresses: [10.0.0.1], hints: {forZones: [{name: a}, {name: b}, {name: c}, {name: d}, {name: "
     "e}, {name: f}, {name: g}, {name: h}, {name: i}]}}\n",
     {"6:45: endpoints[0].hints.forZones: expected at most 8 entries, found 9"}},
    {"slice_weight",
     "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata:\n  name: s\n  annotations: "
     "{weft.io/weight: \"1001\", weft.io/algorithm: random}\n",
     {"6:33" AT("weight") "expected a number from 0 to 1000, found \"1001\"",
      "6:60" AT("algorithm") "unknown annotation \"weft.io/algorithm\" of an EndpointSlice; it belongs to a Service"}},
    {"pod_host_ports",
     "apiVersion: v1\nkind: Pod\nmetadata: {name: p, deletionTimestamp: 5}\nspec:\n  containers:\n  - name: a\n    "
     "ports: [{containerPort: 1, hostPort: 80}, {containerPort: 2, hostPort: 80}]\n  - name: b\n    ports: "
     "[{containerPort: 3, hostPort: 80, hostIP: node}, {containerPort: 4, hostPort: 65536}, {containerPort: 5, "
     "hostPort: "
     "9, hostIP: 224.0.0.1}]\n",
     {"3:40: metadata.deletionTimestamp: expected text, found the number 5",
      "7:76: spec.containers[0].ports[1].hostPort: the hostPort 80/TCP is given twice in one pod",
      "9:42: spec.containers[1].ports[0].hostPort: the hostPort 80/TCP is given twice in one pod",
      "9:54: spec.containers[1].ports[0].hostIP: expected an IP address, found \"node\"",
      "9:90: spec.containers[1].ports[1].hostPort: expected a number from 0 to 65535",
      "9:138: spec.containers[1].ports[2].hostIP: expected an address of the node, found 224.0.0.1"}},
    {"pod_host_network",
     "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  hostNetwork: true\n  containers: [{name: a, ports: "
     "[{containerPort: 1, hostPort: 80}]}]\n",
     {"6:63: spec.containers[0].ports[0].hostPort: expected containerPort 1 because of hostNetwork, found 80"}},
    {"pod_weight",
     "apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {weft.io/weight: heavy, weft.io/weigth: x}}\nspec: "
     "{containers: [{name: a}]}\n",
     {"3:51" AT("weight") "expected a number from 0 to 1000, found \"heavy\"",
      "3:74" AT("weigth") "unknown annotation \"weft.io/weigth\"; did you mean \"weft.io/weight\"?"}},
    {"deployment_weight_outside_the_template",
     "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, annotations: {weft.io/weight: \"1\"}}\nspec: "
     "{selector: "
     "{matchLabels: {a: b}}, template: {metadata: {labels: {a: b}, annotations: {weft.io/weight: \"-1\"}}, spec: "
     "{containers: [{name: a}]}}}\n",
     {"3:51" AT(
          "weight") "unknown annotation \"weft.io/weight\" of a Deployment; it belongs to an EndpointSlice, a Pod "
                    "or the metadata of a pod template",
      "4:109: spec.template.metadata.annotations[\"weft.io/weight\"]: expected a number from 0 to 1000, found \"-1\""}},
    {"namespace_takes_none",
     "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, annotations: {weft.io/x: y}}\n",
     {"3:46" AT("x") "unknown annotation \"weft.io/x\"; a Namespace takes weft.io/address-pool"}},
    {"pool_without_addresses", POOL "spec: {}\n", {"4:7: spec.addresses: addresses is missing"}},
    {"pool_without_spec", POOL, {"1:1: spec: spec is missing; expected addresses"}},
    {"pool_empty_addresses", POOL "spec: {addresses: []}\n", {"4:19: spec.addresses: expected at least one entry"}},
    {"pool_ranges",
     POOL "spec:\n  addresses:\n  - web\n  - 10.0.0.9-10.0.0.1\n  - \"10.0.0.1-fd00::1\"\n  - 10.0.0.0/33\n  - "
          "127.0.0.0/8\n  - 10.0.0.1-\n  - 0.0.0.0-10.0.0.1\n  - 10.1.0.0/24\n  - 10.1.0.255-10.1.1.5\n  - 10.1.0.7\n",
     {"6:5: spec.addresses[0]: expected a CIDR, an address or a range such as 10.0.0.5-10.0.0.9, found \"web\"",
      "7:5: spec.addresses[1]: expected the lower address first, found \"10.0.0.9-10.0.0.1\"",
      "8:5: spec.addresses[2]: expected two addresses of one family, found \"10.0.0.1-fd00::1\"",
      "9:5: spec.addresses[3]: expected a CIDR such as",
      "10:5: spec.addresses[4]: expected addresses a Service can have, found \"127.0.0.0/8\"",
      "11:5: spec.addresses[5]: expected a CIDR, an address or a range",
      "12:5: spec.addresses[6]: expected addresses a Service can have",
      "14:5: spec.addresses[8]: overlaps 10.1.0.0-10.1.0.255 of the same pool",
      "15:5: spec.addresses[9]: overlaps 10.1.0.0-10.1.0.255 of the same pool"}},
    {"pool_fields",
     POOL "spec: {addresses: [10.0.0.0/24], namespaces: [Shop], autoAssign: \"no\", serviceSelector: {app: web}, "
          "addreses: []}\n",
     {"4:47: spec.namespaces[0]: expected lower-case letters", "4:66: spec.autoAssign: expected true or false",
      "4:90: spec.serviceSelector.app: unknown field \"app\"; expected one of matchExpressions, matchLabels",
      "4:101: spec.addreses: unknown field \"addreses\"; did you mean \"addresses\"?"}},
    {"pool_in_a_namespace",
     "apiVersion: weft.io/v1alpha1\nkind: LoadBalancerPool\nmetadata: {name: p, namespace: shop}\nspec: {addresses: "
     "[10.0.0.1]}\n",
     {"3:32: metadata.namespace: a LoadBalancerPool lies in no namespace; remove the field"}},
    {"announcement_fields",
     ANNOUNCEMENT "spec: {interfaces: [\"\", a/b, sixteen-letters1, \"a b\", ..], externalIPs: 1, loadBalancerIPs: x, "
                  "interface: a}\n",
     {"4:21: spec.interfaces[0]: expected a device's name of at most 15 characters, such as eth0 or eth*, found \"\"",
      "4:25: spec.interfaces[1]: expected a device's name", "4:30: spec.interfaces[2]: expected a device's name",
      "4:48: spec.interfaces[3]: expected a device's name", "4:55: spec.interfaces[4]: expected a device's name",
      "4:73: spec.externalIPs: expected true or false", "4:93: spec.loadBalancerIPs: expected true or false",
      "4:96: spec.interface: unknown field \"interface\"; did you mean \"interfaces\"?"}},
    {"announcement_without_spec", ANNOUNCEMENT, {"1:1: spec: spec is missing"}},
    {"egress_without_spec", EGRESS, {"1:1: spec: spec is missing; expected selectors, destinationCIDRs and gateways"}},
    {"egress_of_nothing",
     EGRESS "spec: {selectors: [], gateways: [], maxGateways: 9, failover: Never}\n",
     {"4:7: spec.destinationCIDRs: destinationCIDRs is missing; expected a list of at least one CIDR",
      "4:19: spec.selectors: expected at least one entry, found none",
      "4:33: spec.gateways: expected at least one entry, found none", "4:50: spec.maxGateways: expected",
      "4:63: spec.failover: expected Next or Drop, found \"Never\""}},
    {"egress_places",
     EGRESS "spec:\n  selectors: [{}, {podSelector: {a: b}}]\n  destinationCIDRs: [10.0.0.0/33]\n  gateways:\n"
            "  - {node: a, nodeSelector: {}}\n  - {egressIPs: [10.0.0.1, 10.0.0.2, 224.0.0.1], interface: \"eth*\"}\n"
            "  - {node: \"a b\"}\n",
     {"5:15: spec.selectors[0]: expected podSelector or namespaceSelector, found none",
      "5:34: spec.selectors[1].podSelector.a: unknown field",
      "6:22: spec.destinationCIDRs[0]: ", "8:5: spec.gateways[0]: expected either node or nodeSelector, found both",
      "9:5: spec.gateways[1]: expected node or nodeSelector, found neither",
      "9:28: spec.gateways[1].egressIPs[1]: expected one address of each family, found 10.0.0.2",
      "9:38: spec.gateways[1].egressIPs[2]: expected", "9:61: spec.gateways[1].interface: expected a device's name",
      "10:12: spec.gateways[2].node: expected lower-case letters"}},
    {"version_of_ours",
     "apiVersion: weft.io/v1\nkind: LoadBalancerPool\nmetadata: {name: p}\n",
     {"1:13: apiVersion: expected apiVersion weft.io/v1alpha1 for a LoadBalancerPool, found \"weft.io/v1\""}},
    {"our_kind_in_a_group_that_looks_like_ours",
     "apiVersion: weft.dev/v1alpha1\nkind: EgressGateway\nmetadata: {name: p}\n",
     {"1:13: apiVersion: expected apiVersion weft.io/v1alpha1 for an EgressGateway, found \"weft.dev/v1alpha1\""}},
    {"a_misspelling_of_our_group",
     "apiVersion: wefd.io/v1alpha1\nkind: PodAddressPool\nmetadata: {name: p}\n",
     {"1:13: apiVersion: expected apiVersion weft.io/v1alpha1 for a PodAddressPool, found \"wefd.io/v1alpha1\""}},
    {"our_kind_in_the_core_group",
     "apiVersion: v1\nkind: L2Announcement\nmetadata: {name: p}\n",
     {"1:13: apiVersion: expected apiVersion weft.io/v1alpha1 for an L2Announcement, found \"v1\""}},
    {"misspelt_kind_of_ours",
     "apiVersion: weft.io/v1alpha1\nkind: LoadBalancerPol\nmetadata: {name: p}\n",
     {"2:7: kind: unknown kind \"LoadBalancerPol\"; did you mean \"LoadBalancerPool\"?"}},
    {"unknown_kind_of_ours",
     "apiVersion: weft.io/v1alpha1\nkind: Banana\nmetadata: {name: p}\n",
     {"2:7: kind: unknown kind \"Banana\"; expected LoadBalancerPool or L2Announcement or BGPPeering or EgressGateway "
      "or PodAddressPool"}},
    {"core_kind_in_our_group",
     "apiVersion: weft.io/v1alpha1\nkind: Service\nmetadata: {name: p}\n",
     {"1:13: apiVersion: expected apiVersion v1 for a Service"}},
};
INSTANTIATE_TEST_SUITE_P(Parse, ObjectProblems, testing::ValuesIn(object_cases), name_of);

}  // namespace
}  // namespace weft::model
