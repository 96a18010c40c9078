// Good documents and the values they become.
#include "model/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/problem_cases.h"

namespace weft::model {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using testing::text_of;
using Operator = LabelRequirement::Operator;

template <class T>
T only(std::string_view text) {
  auto outcome = parse_manifests("t.yaml", text);
  EXPECT_EQ(text_of(outcome.problems), "");
  EXPECT_EQ(outcome.documents.size(), 1U);
  if (outcome.documents.size() != 1 || !std::holds_alternative<T>(outcome.documents[0].object)) {
    ADD_FAILURE() << "not the one object expected";
    return {};
  }
  return std::get<T>(outcome.documents[0].object);
}

TEST(Parse, NamespaceAlwaysHasItsNameLabel) {
  const auto plain = only<Namespace>("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n");
  EXPECT_EQ(plain.meta.key().to_string(), "shop");
  EXPECT_EQ(plain.meta.namespace_, "");
  EXPECT_EQ(plain.meta.labels, (LabelMap{{"kubernetes.io/metadata.name", "shop"}, {"team", "a"}}));
}

TEST(Parse, Pod) {
  const auto pod = only<Pod>(R"(
# a comment first
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web, empty: ""}
  annotations: {weft.dev/note: "a b", none: }
  uid: abc
spec:
  hostNetwork: true
  nodeName: node7
  volumes: [{name: v, emptyDir: {}}]
  initContainers: [{name: i, ports: [{containerPort: 1}]}]
  containers:
  - name: c
    image: busybox
    command: [sh, -c]
    args: ["sleep 1"]
    env:
    - {name: A, value: "1"}
    - {name: B}
    - {name: C, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    ports:
    - {name: http, containerPort: 8080}
    - {containerPort: 53, protocol: UDP}
    readinessProbe: {httpGet: {path: /, port: http}, anything: [1, 2]}
  - name: d
    args: [x]
)");
  EXPECT_EQ(pod.meta.key().to_string(), "default/web");
  EXPECT_EQ(pod.meta.location, (SourceLocation{"t.yaml", 3}));
  EXPECT_EQ(pod.meta.labels, (LabelMap{{"app", "web"}, {"empty", ""}}));
  EXPECT_EQ(pod.meta.annotations, (LabelMap{{"none", ""}, {"weft.dev/note", "a b"}}));
  EXPECT_EQ(pod.meta.uid, "abc");
  EXPECT_TRUE(pod.spec.host_network);
  EXPECT_EQ(pod.spec.node, "node7");
  EXPECT_TRUE(pod.ready);
  EXPECT_EQ(pod.workload, "");
  ASSERT_THAT(pod.spec.containers, SizeIs(2));
  const Container& container = pod.spec.containers[0];
  EXPECT_EQ(container.image, "busybox");
  EXPECT_THAT(container.command, ElementsAre("sh", "-c", "sleep 1"));
  EXPECT_EQ(container.environment, (std::map<std::string, std::string>{{"A", "1"}, {"B", ""}}));
  EXPECT_THAT(container.ports,
              ElementsAre(ContainerPort{"http", 8080, Protocol::tcp, 0}, ContainerPort{"", 53, Protocol::udp, 0}));
  EXPECT_THAT(pod.spec.containers[1].command, IsEmpty());
}

TEST(Parse, PodReadinessAndOwner) {
  const auto pod = only<Pod>(R"(
apiVersion: v1
kind: Pod
metadata: {name: web-0, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, controller: true}]}
spec: {containers: [{name: c}]}
status: {phase: Running, podIP: 10.0.0.1, conditions: [{type: Initialized, status: "True"}, {type: Ready, status: "False"}]}
)");
  EXPECT_FALSE(pod.ready);
  EXPECT_EQ(pod.workload, "web");
}

TEST(Parse, Deployment) {
  const auto deployment = only<Deployment>(R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  strategy: {type: RollingUpdate}
  selector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: Exists}]}
  template:
    metadata: {labels: {app: web, tier: a}, annotations: {x: y}, creationTimestamp: null}
    spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}
)");
  EXPECT_EQ(deployment.replicas, 3);
  EXPECT_EQ(deployment.selector.to_string(), "app=web,tier");
  EXPECT_EQ(deployment.template_labels, (LabelMap{{"app", "web"}, {"tier", "a"}}));
  EXPECT_EQ(deployment.template_annotations, (LabelMap{{"x", "y"}}));
  ASSERT_THAT(deployment.template_spec.containers, SizeIs(1));
}

TEST(Parse, StatefulSetIsReadAsADeploymentWithAWarning) {
  const auto outcome = parse_manifests("t.yaml", R"(
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  volumeClaimTemplates: [{metadata: {name: data}}]
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c}]}}
)");
  EXPECT_EQ(text_of(outcome.problems), "");
  ASSERT_THAT(outcome.warnings, SizeIs(1));
  EXPECT_EQ(outcome.warnings[0].line, 3);
  ASSERT_THAT(outcome.documents, SizeIs(1));
  EXPECT_EQ(std::get<Deployment>(outcome.documents[0].object).replicas, 1);
}

TEST(Parse, Service) {
  const auto service = only<Service>(R"(
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1, "fd00::1"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: PreferDualStack
  selector: {app: web}
  publishNotReadyAddresses: true
  sessionAffinity: ClientIP
  ports:
  - {name: http, port: 80, targetPort: web, appProtocol: http}
  - {name: dns, port: 53, protocol: UDP, targetPort: 5353}
  - {name: same, port: 53}
)");
  EXPECT_EQ(service.type, Service::Type::cluster_ip);
  EXPECT_FALSE(service.headless);
  EXPECT_THAT(service.cluster_ips,
              ElementsAre(IpAddress::parse("10.96.0.1").value(), IpAddress::parse("fd00::1").value()));
  EXPECT_THAT(service.families, ElementsAre(Family::v4, Family::v6));
  EXPECT_EQ(service.family_policy, Service::FamilyPolicy::prefer_dual_stack);
  EXPECT_EQ(service.selector, (LabelMap{{"app", "web"}}));
  EXPECT_TRUE(service.publish_not_ready);
  EXPECT_EQ(service.affinity_seconds, 10800U);
  EXPECT_THAT(service.ports, ElementsAre(ServicePort{"http", Protocol::tcp, 80, std::string("web"), 0, "http"},
                                         ServicePort{"dns", Protocol::udp, 53, std::uint16_t{5353}, 0, ""},
                                         ServicePort{"same", Protocol::tcp, 53, std::uint16_t{53}, 0, ""}));
}

TEST(Parse, ServiceVariants) {
  const auto headless = only<Service>("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: None}\n");
  EXPECT_TRUE(headless.headless);
  EXPECT_FALSE(headless.selector.has_value());
  EXPECT_TRUE(headless.cluster_ips.empty());
  const auto timed = only<Service>(R"(
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {ports: [{port: 1}], sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}}
)");
  EXPECT_EQ(timed.affinity_seconds, 60U);
  EXPECT_EQ(timed.family_policy, Service::FamilyPolicy::single_stack);
  const auto dual = only<Service>(R"(
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {ports: [{port: 1}], ipFamilies: [IPv6, IPv4]}
)");
  EXPECT_EQ(dual.family_policy, Service::FamilyPolicy::require_dual_stack);
}

TEST(Parse, ExternalNameIsNotAnsweredYet) {
  const auto outcome = parse_manifests("t.yaml", R"(
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {type: ExternalName, externalName: db.example.}
)");
  EXPECT_EQ(text_of(outcome.problems), "");
  ASSERT_THAT(outcome.documents, SizeIs(1));
  const auto& service = std::get<Service>(outcome.documents[0].object);
  EXPECT_EQ(service.type, Service::Type::external_name);
  EXPECT_EQ(service.external_name, "db.example");
  ASSERT_THAT(outcome.warnings, SizeIs(1));
  EXPECT_EQ(outcome.warnings[0].path, "spec.type");
}

TEST(Parse, EndpointSlice) {
  const auto slice = only<EndpointSlice>(R"(
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv6
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
endpoints:
- addresses: ["fd00::7"]
  conditions: {ready: false, terminating: true, serving: true}
  targetRef: {kind: Pod, name: web-0, namespace: default}
  hostname: web-0
  nodeName: n
  zone: z
- {addresses: ["fd00::8"], conditions: {ready: false}}
- {addresses: ["fd00::9"]}
ports:
- {name: http, port: 8080}
- {name: "", port: 53, protocol: UDP}
)");
  EXPECT_EQ(slice.family, Family::v6);
  ASSERT_THAT(slice.endpoints, SizeIs(3));
  EXPECT_EQ(slice.endpoints[0].addresses[0].to_string(), "fd00::7");
  EXPECT_FALSE(slice.endpoints[0].ready);
  EXPECT_TRUE(slice.endpoints[0].serving);
  EXPECT_TRUE(slice.endpoints[0].terminating);
  EXPECT_EQ(slice.endpoints[0].target_pod, "web-0");
  EXPECT_EQ(slice.endpoints[0].hostname, "web-0");
  EXPECT_FALSE(slice.endpoints[1].serving);
  EXPECT_TRUE(slice.endpoints[2].ready);
  EXPECT_TRUE(slice.endpoints[2].serving);
  EXPECT_THAT(slice.ports, ElementsAre(SlicePort{"http", Protocol::tcp, 8080}, SlicePort{"", Protocol::udp, 53}));
}

constexpr std::string_view policy_head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n";

TEST(Parse, NetworkPolicy) {
  const auto policy = only<NetworkPolicy>(std::string(policy_head) + R"(spec:
  podSelector:
    matchExpressions:
    - {key: app, operator: In, values: [b, a, a]}
  ingress:
  - from:
    - podSelector: {}
      namespaceSelector: {matchLabels: {team: x}}
    - namespaceSelector: {}
    - ipBlock:
        cidr: 10.0.0.0/8
        except: [10.1.0.0/16, 10.2.3.4/32]
    ports:
    - {port: 80}
    - {port: http, protocol: UDP}
    - {port: 1000, endPort: 2000, protocol: SCTP}
    - {protocol: UDP}
  - {}
  egress:
  - to: [{podSelector: {}}]
)");
  EXPECT_EQ(policy.pod_selector.to_string(), "app in (a,b)");
  EXPECT_TRUE(policy.applies_ingress);
  EXPECT_TRUE(policy.applies_egress);
  ASSERT_THAT(policy.ingress, SizeIs(2));
  const PolicyRule& rule = policy.ingress[0];
  EXPECT_EQ(rule.line, 9);
  EXPECT_EQ(policy.ingress[1].line, 21);
  EXPECT_EQ(policy.egress[0].line, 23);
  ASSERT_THAT(rule.peers, SizeIs(3));
  EXPECT_TRUE(rule.peers[0].pod_selector->empty());
  EXPECT_EQ(rule.peers[0].namespace_selector->to_string(), "team=x");
  EXPECT_FALSE(rule.peers[1].pod_selector);
  EXPECT_TRUE(rule.peers[1].namespace_selector->empty());
  EXPECT_EQ(rule.peers[2].ip_block->cidr.to_string(), "10.0.0.0/8");
  EXPECT_EQ(rule.peers[2].ip_block->except[1].to_string(), "10.2.3.4/32");
  EXPECT_THAT(
      rule.ports,
      ElementsAre(PolicyPort{Protocol::tcp, std::uint16_t{80}, 0}, PolicyPort{Protocol::udp, std::string("http"), 0},
                  PolicyPort{Protocol::sctp, std::uint16_t{1000}, 2000}, PolicyPort{Protocol::udp, std::nullopt, 0}));
  EXPECT_TRUE(policy.ingress[1].peers.empty());
  EXPECT_TRUE(policy.ingress[1].ports.empty());
}

struct TypesCase {
  const char* name;
  const char* spec;
  bool ingress;
  bool egress;
  std::size_t warnings;
};
class PolicyTypes : public ::testing::TestWithParam<TypesCase> {};

TEST_P(PolicyTypes, Defaulting) {
  const auto outcome = parse_manifests("t", std::string(policy_head) + "spec: " + GetParam().spec + "\n");
  EXPECT_EQ(text_of(outcome.problems), "");
  ASSERT_THAT(outcome.documents, SizeIs(1));
  const auto& policy = std::get<NetworkPolicy>(outcome.documents[0].object);
  EXPECT_EQ(policy.applies_ingress, GetParam().ingress);
  EXPECT_EQ(policy.applies_egress, GetParam().egress);
  EXPECT_THAT(outcome.warnings, SizeIs(GetParam().warnings));
}

const TypesCase types_cases[] = {
    {"nothing_given", "{podSelector: {}}", true, false, 0},
    {"no_selector_selects_all", "{}", true, false, 0},
    {"egress_rules", "{podSelector: {}, egress: [{}]}", true, true, 0},
    {"empty_egress_as_kubernetes_defaults_it", "{podSelector: {}, egress: []}", true, false, 1},
    {"empty_types_list", "{podSelector: {}, policyTypes: [], egress: [{}]}", true, true, 0},
    {"egress_only", "{podSelector: {}, policyTypes: [Egress]}", false, true, 0},
    {"both", "{podSelector: {}, policyTypes: [Ingress, Egress]}", true, true, 0},
    {"egress_rules_not_named", "{podSelector: {}, policyTypes: [Ingress], egress: [{}]}", true, false, 1},
    {"ingress_rules_not_named", "{podSelector: {}, policyTypes: [Egress], ingress: [{}]}", false, true, 1},
};
INSTANTIATE_TEST_SUITE_P(Parse, PolicyTypes, ::testing::ValuesIn(types_cases), testing::name_of);

TEST(Parse, SeveralDocumentsKeepTheirLinesAndErrorsStayApart) {
  const auto outcome = parse_manifests("t.yaml", R"(%YAML 1.2
---
# only a comment
---
apiVersion: v1
kind: Namespace
metadata: {name: a}
---
broken: [1, 2
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data:
  script: |
    echo ---
     --- not a marker
    done
...
apiVersion: v1
kind: Namespace
metadata: {name: b}
--- {apiVersion: v1, kind: Namespace, metadata: {name: c}}
---
)");
  ASSERT_THAT(outcome.documents, SizeIs(3));
  EXPECT_EQ(metadata_of(outcome.documents[0].object).location.line, 5);
  EXPECT_EQ(metadata_of(outcome.documents[1].object).location.line, 20);
  EXPECT_EQ(metadata_of(outcome.documents[2].object).location.line, 23);
  ASSERT_THAT(outcome.problems, SizeIs(1));
  EXPECT_GE(outcome.problems[0].line, 9);
  EXPECT_LE(outcome.problems[0].line, 10);
  ASSERT_THAT(outcome.warnings, SizeIs(1));
  EXPECT_EQ(outcome.warnings[0].line, 12);
}

// Where the node points when it refuses what a Service asks for.
TEST(Parse, PlacesOfWhatAServiceAsksFor) {
  const auto outcome = parse_manifests("t.yaml", R"(apiVersion: v1
kind: Service
metadata:
  name: a
  annotations:
    weft.io/load-balancer-ips: 192.0.2.1
spec:
  type: LoadBalancer
  clusterIP: 10.0.0.1
  ports:
    - {name: a, port: 80}
    - {name: b, port: 81, nodePort: 30000}
)");
  ASSERT_THAT(outcome.documents, SizeIs(1)) << outcome.problems.at(0).to_string();
  const auto& document = outcome.documents[0];
  const auto text = [&](std::string_view reason) { return document.refused(reason).to_string(); };
  EXPECT_EQ(text("spec.ports[1].nodePort: taken"), "t.yaml:12:37: spec.ports[1].nodePort: taken");
  EXPECT_EQ(text("spec.loadBalancerIP: a: b"),
            "t.yaml:6:32: metadata.annotations[\"weft.io/load-balancer-ips\"]: a: b");
  EXPECT_EQ(text("service a/b: no such range"), "t.yaml:9:14: spec.clusterIP: service a/b: no such range");
}

TEST(Parse, ListItemsAreObjectsOfTheirOwn) {
  const auto outcome = parse_manifests("t.yaml", R"(apiVersion: v1
kind: List
metadata: {resourceVersion: ""}
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: a}
- apiVersion: v1
  kind: Service
  metadata: {name: s}
  spec: {ports: [{port: 0}]}
- apiVersion: v1
  kind: Namespace
  metadata: {name: b}
)");
  ASSERT_THAT(outcome.documents, SizeIs(2));
  EXPECT_EQ(metadata_of(outcome.documents[1].object).location.line, 12);
  ASSERT_THAT(outcome.problems, SizeIs(1));
  EXPECT_EQ(outcome.problems[0].to_string(),
            "t.yaml:11:25: items[1].spec.ports[0].port: expected a number from 1 to 65535, found the number 0");
}

TEST(Parse, JsonByteOrderMarkAndCrLf) {
  EXPECT_EQ(only<Namespace>("\xef\xbb\xbf{\"apiVersion\": \"v1\",\r\n\t\"kind\": \"Namespace\",\r\n\t\"metadata\": "
                            "{\"name\": \"a\"}}\r\n")
                .meta.name,
            "a");
  EXPECT_EQ(only<Namespace>("---\r\napiVersion: v1\r\nkind: Namespace\r\nmetadata:\r\n  name: a\r\n---\r\n")
                .meta.location.line,
            2);
}

TEST(Parse, AliasesAndMerges) {
  const auto pod = only<Pod>(R"(
apiVersion: v1
kind: Pod
metadata: {name: &n web, labels: &l {app: *n}, annotations: *l}
spec:
  containers:
  - &base
    name: a
    image: i
    ports: &ports [{containerPort: 80}]
  - <<: *base
    name: b
  - {name: c, ports: *ports}
)");
  EXPECT_EQ(pod.meta.annotations, (LabelMap{{"app", "web"}}));
  ASSERT_THAT(pod.spec.containers, SizeIs(3));
  EXPECT_EQ(pod.spec.containers[1].name, "b");
  EXPECT_EQ(pod.spec.containers[1].image, "i");
  EXPECT_EQ(pod.spec.containers[2].ports[0].port, 80);
}

TEST(Parse, KindsPassedOverAreWarnings) {
  for (const char* head :
       {"apiVersion: v1\nkind: ConfigMap", "apiVersion: apps/v1\nkind: DaemonSet",
        "apiVersion: serving.knative.dev/v1\nkind: Service", "apiVersion: cilium.io/v2\nkind: X",
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy", "apiVersion: networking.k8s.io/v1\nkind: Ingress"}) {
    const auto outcome = parse_manifests("t", head);
    EXPECT_EQ(text_of(outcome.problems), "") << head;
    EXPECT_THAT(outcome.documents, IsEmpty()) << head;
    ASSERT_THAT(outcome.warnings, SizeIs(1)) << head;
    EXPECT_EQ(outcome.warnings[0].line, 2) << head;
    EXPECT_EQ(outcome.warnings[0].path, "kind") << head;
  }
}

TEST(Parse, UnknownFieldsOfPodsAreWarnings) {
  const auto outcome = parse_manifests("t", R"(
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  somethingNew: {x: y}
  containers:
  - {name: c, imagePulPolicy: Always, securityContext: {anyThing: 1}}
)");
  EXPECT_EQ(text_of(outcome.problems), "");
  EXPECT_THAT(outcome.documents, SizeIs(1));
  ASSERT_THAT(outcome.warnings, SizeIs(2));
  EXPECT_EQ(outcome.warnings[0].path, "spec.somethingNew");
  EXPECT_EQ(outcome.warnings[1].path, "spec.containers[0].imagePulPolicy");
  EXPECT_NE(outcome.warnings[1].message.find("did you mean \"imagePullPolicy\"?"), std::string::npos);
}

TEST(Parse, TheSameObjectTwiceIsAWarning) {
  const std::string one = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";
  const auto outcome = parse_manifests("t", one + one);
  EXPECT_THAT(outcome.documents, SizeIs(2));
  ASSERT_THAT(outcome.warnings, SizeIs(1));
  EXPECT_EQ(outcome.warnings[0].line, 6);
  EXPECT_NE(outcome.warnings[0].message.find("first on line 2"), std::string::npos);
}

TEST(Parse, EmptyTextHasNothingToSay) {
  for (const char* text :
       {"", "\n", "# c\n", "---\n", "---\n---\n...\n", "--- # c\n", "~\n", "---\nnull\n", "%YAML 1.2\n"}) {
    const auto outcome = parse_manifests("t", text);
    EXPECT_EQ(text_of(outcome.problems), "") << text;
    EXPECT_THAT(outcome.documents, IsEmpty()) << text;
    EXPECT_THAT(outcome.warnings, IsEmpty()) << text;
  }
}

}  // namespace
}  // namespace weft::model
