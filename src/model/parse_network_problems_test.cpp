// Bad NetworkPolicies, Services and EndpointSlices: every problem with its place and path.
#include "model/problem_cases.h"

namespace weft::model::testing {
namespace {

// Each text follows a head of three lines.
class Policy : public ::testing::TestWithParam<Case> {};
TEST_P(Policy, Problems) {
  check(GetParam(), "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n");
}

const Case policy_cases[] = {
    {"no_spec", "", {{1, 1, "spec", "spec is missing"}}},
    {"misspelt_selector", "spec: {podSelctor: {}}\n", {{4, 8, "spec.podSelctor", "did you mean \"podSelector\"?"}}},
    {"selector_is_labels", "spec: {podSelector: {app: web}}\n", {{4, 22, "spec.podSelector.app", "matchLabels"}}},
    {"selector_at_the_top",
     "podSelector: {}\nspec: {}\n",
     {{4, 1, "podSelector", "it belongs into spec of a NetworkPolicy"}}},
    {"from_in_spec", "spec: {from: []}\n", {{4, 8, "spec.from", "it belongs into an entry of spec.ingress"}}},
    {"to_in_ingress",
     "spec: {ingress: [{to: []}]}\n",
     {{4, 19, "spec.ingress[0].to", "it belongs into an entry of spec.egress"}}},
    {"from_in_egress", "spec: {egress: [{from: []}]}\n", {{4, 18, "spec.egress[0].from", "unknown field \"from\""}}},
    {"ingress_is_a_mapping",
     "spec: {ingress: {from: []}}\n",
     {{4, 17, "spec.ingress", "expected a list, found a mapping"}}},
    {"empty_rule",
     "spec:\n  ingress:\n  -\n",
     {{6, 3, "spec.ingress[0]", "write {} for a rule that allows everything"}}},
    {"empty_peer", "spec: {ingress: [{from: [{}]}]}\n", {{4, 26, "spec.ingress[0].from[0]", "found none"}}},
    {"null_peer_selector",
     "spec:\n  ingress:\n  - from:\n    - podSelector:\n",
     {{7, 7, "spec.ingress[0].from[0]", "write podSelector: {} to select all"}}},
    {"misspelt_peer",
     "spec: {ingress: [{from: [{podselector: {}}]}]}\n",
     {{4, 27, "spec.ingress[0].from[0].podselector", "did you mean \"podSelector\"?"}}},
    {"block_and_selector",
     "spec: {ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}\n",
     {{4, 53, "spec.ingress[0].from[0].ipBlock", "cannot be combined"}}},
    {"cidr",
     R"(spec:
  egress:
  - to:
    - ipBlock: {}
    - ipBlock: {cidr: 10.0.0.1}
    - ipBlock: {cidr: 10.0.0.0/33}
    - ipBlock: {cidr: 10}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8, 11.0.0.0/16, "fd00::/64", 10.0.0.0/16]}
    - ipBlock: {cidr: 10.0.0.0/8, except: 10.1.0.0/16}
    - ipBlock: {cidr: 10.0.0.0/16, except: [10.0.0.0/8]}
)",
     {{7, 16, "spec.egress[0].to[0].ipBlock.cidr", "cidr is missing"},
      {8, 23, "spec.egress[0].to[1].ipBlock.cidr",
       "expected a CIDR such as 10.0.0.0/8 or fd00::/8, found \"10.0.0.1\""},
      {9, 23, "spec.egress[0].to[2].ipBlock.cidr", "found \"10.0.0.0/33\""},
      {10, 23, "spec.egress[0].to[3].ipBlock.cidr", "expected text, found the number 10"},
      {11, 44, "spec.egress[0].to[4].ipBlock.except[0]", "strictly inside 10.0.0.0/8, found 10.0.0.0/8"},
      {11, 56, "spec.egress[0].to[4].ipBlock.except[1]", "strictly inside 10.0.0.0/8, found 11.0.0.0/16"},
      {11, 69, "spec.egress[0].to[4].ipBlock.except[2]", "strictly inside 10.0.0.0/8, found fd00::/64"},
      {12, 43, "spec.egress[0].to[5].ipBlock.except", "expected a list"},
      {13, 45, "spec.egress[0].to[6].ipBlock.except[0]", "strictly inside 10.0.0.0/16, found 10.0.0.0/8"}}},
    {"ports",
     R"(spec:
  ingress:
  - ports:
    - port: "80"
    - {port: 0}
    - {port: 65536}
    - {port: -1}
    - {port: 1.5}
    - {port: HTTP}
    - {port: 0x50}
    - {port: true}
    - {port: a-name-too-long1}
    - {port: 80, protocol: ICMP}
    - {port: 80, protocol: 6}
    - {endPort: 80}
    - {port: http, endPort: 80}
    - {port: 80, endPort: 79}
    - {port: 80, endPort: "90"}
    - {port: 80, endport: 90}
    - 80
)",
     {{7, 13, "spec.ingress[0].ports[0].port", "found the text \"80\"; write the number without quotes"},
      {8, 14, "spec.ingress[0].ports[1].port", "found the number 0"},
      {9, 14, "spec.ingress[0].ports[2].port", "found the number 65536"},
      {10, 14, "spec.ingress[0].ports[3].port", "found the number -1"},
      {11, 14, "spec.ingress[0].ports[4].port", "found the number 1.5"},
      {12, 14, "spec.ingress[0].ports[5].port", "found \"HTTP\""},
      {13, 14, "spec.ingress[0].ports[6].port", "found the number 0x50"},
      {14, 14, "spec.ingress[0].ports[7].port", "found the boolean true"},
      {15, 14, "spec.ingress[0].ports[8].port", "at most 15 characters, found 16"},
      {16, 28, "spec.ingress[0].ports[9].protocol", "expected TCP or UDP or SCTP, found \"ICMP\""},
      {17, 28, "spec.ingress[0].ports[10].protocol", "found the number 6"},
      {18, 17, "spec.ingress[0].ports[11].endPort", "endPort needs port"},
      {19, 29, "spec.ingress[0].ports[12].endPort", "endPort needs a port given by number, found the name \"http\""},
      {20, 27, "spec.ingress[0].ports[13].endPort", "expected a port not below port 80, found 79"},
      {21, 27, "spec.ingress[0].ports[14].endPort", "write it without quotes"},
      {22, 18, "spec.ingress[0].ports[15].endport", "did you mean \"endPort\"?"},
      {23, 7, "spec.ingress[0].ports[16]", "expected a mapping, found the number 80"}}},
    {"expressions",
     R"(spec:
  podSelector:
    matchExpressions:
    - {key: a, operator: In}
    - {key: a, operator: NotIn, values: []}
    - {key: a, operator: Exists, values: [b]}
    - {key: a, operator: DoesNotExist, values: [b]}
    - {key: a, operator: in, values: [b]}
    - {key: a, operator: Equals}
    - {operator: Exists}
    - {key: a}
    - {key: a, operator: In, values: b}
    - {key: a, operator: In, values: [1, "b c"]}
    - {key: -a, operator: Exists}
    - {key: a, operator: Exists, value: b}
)",
     {{7, 7, "spec.podSelector.matchExpressions[0]", "operator In needs at least one entry in values"},
      {8, 41, "spec.podSelector.matchExpressions[1].values", "operator NotIn needs at least one"},
      {9, 42, "spec.podSelector.matchExpressions[2].values", "operator Exists takes no values"},
      {10, 48, "spec.podSelector.matchExpressions[3].values", "operator DoesNotExist takes no values"},
      {11, 26, "spec.podSelector.matchExpressions[4].operator", "did you mean \"In\"?"},
      {12, 26, "spec.podSelector.matchExpressions[5].operator", "expected In or NotIn or Exists or DoesNotExist"},
      {13, 7, "spec.podSelector.matchExpressions[6].key", "key is missing"},
      {14, 7, "spec.podSelector.matchExpressions[7].operator", "operator is missing"},
      {15, 38, "spec.podSelector.matchExpressions[8].values", "expected a list, found \"b\""},
      {16, 39, "spec.podSelector.matchExpressions[9].values[0]", "expected text, found the number 1"},
      {16, 42, "spec.podSelector.matchExpressions[9].values[1]", "label value \"b c\""},
      {17, 13, "spec.podSelector.matchExpressions[10].key", "expected a key"},
      {18, 34, "spec.podSelector.matchExpressions[11].value", "did you mean \"values\"?"}}},
    {"policy_types",
     "spec: {policyTypes: [ingress, Egres, Ingress]}\n",
     {{4, 22, "spec.policyTypes[0]", "did you mean \"Ingress\"?"},
      {4, 31, "spec.policyTypes[1]", "did you mean \"Egress\"?"}}},
    {"policy_types_is_text", "spec: {policyTypes: Ingress}\n", {{4, 21, "spec.policyTypes", "expected a list"}}},
};
INSTANTIATE_TEST_SUITE_P(Parse, Policy, ::testing::ValuesIn(policy_cases), name_of);

class ServiceSpec : public ::testing::TestWithParam<Case> {};
TEST_P(ServiceSpec, Problems) { check(GetParam(), "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n"); }

const Case service_cases[] = {
    {"no_ports", "spec: {selector: {a: b}}\n", {{4, 7, "spec", "ports is missing"}}},
    {"empty_ports", "spec: {ports: []}\n", {{4, 15, "spec.ports", "ports is missing"}}},
    {"unknown_fields",
     "spec: {ports: [{port: 1, target: 2}], selectors: {}}\n",
     {{4, 26, "spec.ports[0].target", "unknown field"}, {4, 39, "spec.selectors", "did you mean \"selector\"?"}}},
    {"selector_is_a_label_selector",
     "spec: {ports: [{port: 1}], selector: {matchLabels: {a: b}}}\n",
     {{4, 52, "spec.selector.matchLabels", "expected text, found a mapping"}}},
    {"ports",
     R"(spec:
  ports:
  - {name: a, port: 80}
  - {name: b, port: 80}
  - {name: a, port: 81}
  - {port: 82}
  - {name: c, targetPort: 80}
  - {name: d, port: "83"}
  - {name: e, port: 84, targetPort: "84"}
  - {name: F, port: 85}
  - {name: g, port: 80, protocol: UDP}
  - {name: h, port: 86, targetPort: 0}
  - {name: i, port: 87, nodePort: 30000}
)",
     {{7, 5, "spec.ports[1]", "the port 80/TCP is given twice"},
      {8, 5, "spec.ports[2]", "the port name \"a\" is given twice"},
      {9, 5, "spec.ports[3]", "name is missing"},
      {10, 5, "spec.ports[4].port", "port is missing"},
      {11, 21, "spec.ports[5].port", "write it without quotes"},
      {12, 37, "spec.ports[6].targetPort", "write the number without quotes"},
      {13, 12, "spec.ports[7].name", "expected lower-case letters"},
      {15, 37, "spec.ports[9].targetPort", "found the number 0"},
      {16, 35, "spec.ports[10].nodePort", "nodePort needs type NodePort"}}},
    {"type", "spec: {type: Clusterip, ports: [{port: 1}]}\n", {{4, 14, "spec.type", "did you mean \"ClusterIP\"?"}}},
    {"cluster_ip",
     "spec: {clusterIP: none, ports: [{port: 1}]}\n",
     {{4, 19, "spec.clusterIP", "expected an IP address"}}},
    {"cluster_ip_loopback",
     "spec: {clusterIP: 127.0.0.1, ports: [{port: 1}]}\n",
     {{4, 19, "spec.clusterIP", "expected an address a Service can have"}}},
    {"cluster_ips_differ",
     "spec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2], ports: [{port: 1}]}\n",
     {{4, 42, "spec.clusterIPs[0]", "expected the first of clusterIPs to equal clusterIP \"10.0.0.1\""}}},
    {"cluster_ips_one_family",
     "spec: {clusterIPs: [10.0.0.1, 10.0.0.2], ports: [{port: 1}]}\n",
     {{4, 31, "spec.clusterIPs[1]", "different families"}}},
    {"cluster_ips_three",
     "spec: {clusterIPs: [10.0.0.1, \"fd00::1\", 10.0.0.3], ports: [{port: 1}]}\n",
     {{4, 20, "spec.clusterIPs", "at most 2 addresses, found 3"}, {4, 42, "spec.clusterIPs[2]", "different families"}}},
    {"none_beside_an_address",
     "spec: {clusterIPs: [None, 10.0.0.1], ports: [{port: 1}]}\n",
     {{4, 21, "spec.clusterIPs[0]", "must stand alone"}}},
    {"families",
     "spec: {clusterIP: 10.0.0.1, ipFamilies: [IPv6, IPv6, ipv4], ports: [{port: 1}]}\n",
     {{4, 41, "spec.ipFamilies", "at most 2 families"},
      {4, 42, "spec.ipFamilies[0]", "expected the family of the address 10.0.0.1, found IPv6"},
      {4, 48, "spec.ipFamilies[1]", "given twice"},
      {4, 54, "spec.ipFamilies[2]", "did you mean \"IPv4\"?"}}},
    {"family_policy",
     "spec: {ipFamilies: [IPv4, IPv6], ipFamilyPolicy: SingleStack, ports: [{port: 1}]}\n",
     {{4, 50, "spec.ipFamilyPolicy", "SingleStack takes one family"}}},
    {"affinity_range",
     R"(spec:
  ports: [{port: 1}]
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}
)",
     {{7, 54, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", "expected a number from 1 to 86400"}}},
    {"affinity_config_alone",
     "spec: {ports: [{port: 1}], sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}}\n",
     {{4, 51, "spec.sessionAffinityConfig", "needs sessionAffinity: ClientIP"}}},
    {"external_name", "spec: {type: ExternalName}\n", {{4, 7, "spec.externalName", "externalName is missing"}}},
    {"headless_node_port",
     "spec: {type: NodePort, clusterIP: None, ports: [{port: 1}]}\n",
     {{4, 7, "spec", "must be of type ClusterIP"}}},
};
INSTANTIATE_TEST_SUITE_P(Parse, ServiceSpec, ::testing::ValuesIn(service_cases), name_of);

class Slice : public ::testing::TestWithParam<Case> {};
TEST_P(Slice, Problems) {
  check(GetParam(), "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s}\n");
}

const Case slice_cases[] = {
    {"no_address_type", "endpoints: []\n", {{1, 1, "addressType", "addressType is missing"}}},
    {"address_type", "addressType: ipv4\n", {{4, 14, "addressType", "did you mean \"IPv4\"?"}}},
    {"fqdn", "addressType: FQDN\n", {{4, 14, "addressType", "which Weft does not act on"}}},
    {"endpoints",
     R"(addressType: IPv4
endpoints:
- {addresses: []}
- {address: [10.0.0.1]}
- {addresses: ["fd00::1"]}
- {addresses: [127.0.0.1, 169.254.1.1, 224.0.0.1, web]}
- {addresses: [10.0.0.1], conditions: {ready: "yes", redy: true}}
- {addresses: [10.0.0.1], targetRef: {kinds: Pod}}
ports:
- {port: "80"}
- {name: a, port: 1}
- {name: a, port: 2}
)",
     {{6, 15, "endpoints[0].addresses", "expected 1 to 100 addresses, found 0"},
      {7, 3, "endpoints[1].addresses", "addresses is missing"},
      {7, 4, "endpoints[1].address", "did you mean \"addresses\"?"},
      {8, 16, "endpoints[2].addresses[0]", "expected an IPv4 address"},
      {9, 16, "endpoints[3].addresses[0]", "expected an address an endpoint can have"},
      {9, 27, "endpoints[3].addresses[1]", "expected an address an endpoint can have"},
      {9, 40, "endpoints[3].addresses[2]", "expected an address an endpoint can have"},
      {9, 51, "endpoints[3].addresses[3]", "expected an IP address, found \"web\""},
      {10, 47, "endpoints[4].conditions.ready", "expected true or false"},
      {10, 54, "endpoints[4].conditions.redy", "did you mean \"ready\"?"},
      {11, 39, "endpoints[5].targetRef.kinds", "did you mean \"kind\"?"},
      {13, 10, "ports[0].port", "write it without quotes"},
      {15, 3, "ports[2]", "the port name \"a\" is given twice"}}},
    {"slice_in_spec", "addressType: IPv4\nspec: {}\n", {{5, 1, "spec", "unknown field \"spec\""}}},
};
INSTANTIATE_TEST_SUITE_P(Parse, Slice, ::testing::ValuesIn(slice_cases), name_of);

}  // namespace
}  // namespace weft::model::testing
