// The stored JSON form and the way back from it and from the YAML shown to users.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/expand.h"
#include "model/parse.h"

namespace weft::model {
namespace {

using nlohmann::json;
using testing::SizeIs;

constexpr std::string_view all_kinds = R"(# every kind, with much of what it can hold
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: "on", "y": "0x1"}}
spec: {finalizers: [kubernetes]}
status: {phase: Active}
---
apiVersion: v1
kind: Pod
metadata: {name: p, annotations: {note: "multi\nline \u00e4 \U0001F600", none: }, uid: u}
spec:
  containers:
  - {name: c, image: i, command: [a, "b c"], args: ["--x=1"], env: [{name: A, value: "yes"}], ports: [{containerPort: 80, name: http}]}
  volumes: [{name: v, emptyDir: {sizeLimit: 0x10, other: 1.5e3, third: .inf}}]
status: {conditions: [{type: Ready, status: "False"}], podIP: 1.2.3.4}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, generation: 4, managedFields: [{manager: x}]}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}, annotations: {a: b}}, spec: {containers: [{name: c, ports: [{containerPort: 53, protocol: UDP}]}], hostNetwork: false}}
status: {replicas: 2}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIPs: [10.0.0.1, "fd00::1"]
  selector: {app: web}
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}
  ports: [{name: a, port: 80, targetPort: http}, {name: b, port: 53, protocol: UDP, targetPort: 5353}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.9], conditions: {ready: false}, hostname: h, targetRef: {kind: Pod, name: p}}]
ports: [{name: a, port: 8080}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: n}
spec:
  podSelector: {matchExpressions: [{key: a, operator: NotIn, values: [x, y]}]}
  ingress:
  - from:
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    - {podSelector: {}, namespaceSelector: {}}
    ports: [{port: 1, endPort: 9}, {port: http, protocol: SCTP}]
  - {}
  egress:

  - to: [{podSelector: {matchLabels: {a: b}}}]
---
apiVersion: weft.io/v1alpha1
kind: LoadBalancerPool
metadata: {name: public}
spec: {addresses: [192.0.2.0/28, "2001:db8::1-2001:db8::9"], serviceSelector: {matchLabels: {a: b}}, namespaces: [shop], autoAssign: false}
status: {free: 3}
---
apiVersion: weft.io/v1alpha1
kind: L2Announcement
metadata: {name: lan}
spec: {interfaces: ["eth*"], loadBalancerIPs: false}
---
apiVersion: weft.io/v1alpha1
kind: EgressGateway
metadata: {name: partner}
spec:
  selectors: [{podSelector: {matchLabels: {a: b}}, namespaceSelector: {}}]
  destinationCIDRs: [192.0.2.0/24, "::/0"]
  excludedCIDRs: [192.0.2.7/32]
  gateways: [{nodeSelector: {}, egressIPs: [192.0.2.9], interface: eth1}, {node: w1}]
  maxGateways: 2
  failover: Drop
---
apiVersion: v1
kind: Service
metadata: {name: lb, annotations: {weft.io/algorithm: maglev, weft.io/local-redirect: "a=b"}}
spec: {type: LoadBalancer, ports: [{port: 80, nodePort: 30000}], loadBalancerSourceRanges: [10.0.0.0/8]}
status: {conditions: [], loadBalancer: {ingress: [{ip: 192.0.2.1, ipMode: Proxy}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: going, deletionTimestamp: "2026-01-01T00:00:00Z", creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {containers: [{name: c, ports: [{containerPort: 80, hostPort: 80, hostIP: 192.0.2.1}]}]}
---
apiVersion: weft.io/v1alpha1
kind: BGPPeering
metadata: {name: tor}
spec:
  localAS: 65001
  peers: [{address: 192.0.2.1, peerAS: 65000, multihop: 2, passwordFile: /etc/weft/tor, families: [IPv6]}]
  advertise: [{services: [ExternalIP], communities: ["65000:100", no-export], largeCommunities: ["1:2:3"]}]
  import: {cidrs: [10.0.0.0/8]}
)";

ParseOutcome parsed() {
  auto outcome = parse_manifests("all.yaml", all_kinds);
  for (const auto& problem : outcome.problems) ADD_FAILURE() << problem.to_string();
  EXPECT_THAT(outcome.documents, SizeIs(13));
  return outcome;
}

TEST(Stored, RoundTripsEveryKindWithItsLocationAndRuleLines) {
  for (const auto& document : parsed().documents) {
    const auto back = object_from_json(document.json);
    ASSERT_TRUE(back) << back.error().message << "\n" << document.json;
    EXPECT_EQ(*back, document.object) << document.json;
    EXPECT_GT(metadata_of(*back).location.line, 0);
    EXPECT_EQ(metadata_of(*back).location.file, "all.yaml");
  }
}

TEST(Stored, RuleLinesComeBack) {
  const auto outcome = parsed();
  const auto policy = std::get<NetworkPolicy>(object_from_json(outcome.documents[6].json).value());
  ASSERT_THAT(policy.ingress, SizeIs(2));
  EXPECT_EQ(policy.ingress[1].line - policy.ingress[0].line, 4);
  EXPECT_EQ(policy.egress[0].line - policy.ingress[0].line, 7);
  EXPECT_EQ(policy.ingress[0].line - policy.meta.location.line, 6);
}

TEST(Stored, PublicFormHasNoPrivateKeyAndReadsBackAsYaml) {
  for (const auto& document : parsed().documents) {
    const std::string shown = public_json(document.json);
    EXPECT_EQ(shown.find("x-weft"), std::string::npos);
    const std::string yaml = yaml_from_json(shown);
    const auto again = parse_manifests("again", yaml);
    ASSERT_TRUE(again.problems.empty()) << again.problems[0].to_string() << "\n" << yaml;
    ASSERT_THAT(again.documents, SizeIs(1)) << yaml;
    EXPECT_EQ(json::parse(public_json(again.documents[0].json)), json::parse(shown)) << yaml;
  }
}

TEST(Stored, IsNormalisedKubernetesJson) {
  const auto outcome = parsed();
  const json space = json::parse(public_json(outcome.documents[0].json));
  EXPECT_EQ(space["metadata"]["labels"]["kubernetes.io/metadata.name"], "shop");
  EXPECT_FALSE(space.contains("status"));
  EXPECT_FALSE(space["metadata"].contains("namespace"));
  const json pod = json::parse(outcome.documents[1].json);
  EXPECT_EQ(pod["metadata"]["namespace"], "default");
  EXPECT_EQ(pod["metadata"]["annotations"]["none"], "");
  EXPECT_EQ(pod["spec"]["containers"][0]["env"][0]["value"], "yes");
  EXPECT_EQ(pod["spec"]["volumes"][0]["emptyDir"]["other"], 1500.0);
  EXPECT_FALSE(pod["status"].contains("podIP"));
  const json deployment = json::parse(outcome.documents[2].json);
  EXPECT_EQ(deployment["spec"]["replicas"], 2);
  EXPECT_FALSE(deployment["metadata"].contains("managedFields"));
  const json stateful = json::parse(outcome.documents[3].json);
  EXPECT_EQ(stateful["kind"], "Deployment");
  EXPECT_FALSE(stateful["spec"].contains("serviceName"));
  const json pool = json::parse(outcome.documents[7].json);
  EXPECT_FALSE(pool["metadata"].contains("namespace"));
  EXPECT_FALSE(pool.contains("status"));
  const json balancer = json::parse(outcome.documents[10].json);
  EXPECT_EQ(balancer["status"], json::parse(R"({"loadBalancer":{"ingress":[{"ip":"192.0.2.1","ipMode":"Proxy"}]}})"));
  const json going = json::parse(outcome.documents[11].json);
  EXPECT_EQ(going["metadata"]["deletionTimestamp"], "2026-01-01T00:00:00Z");
  EXPECT_FALSE(going["metadata"].contains("creationTimestamp"));
}

TEST(Stored, YamlLooksLikeKubectls) {
  EXPECT_EQ(
      yaml_from_json(
          R"({"kind":"X","list":[{"a":1,"b":[2,"3"]},[],{}],"metadata":{"labels":{}},"text":"a: b","words":"two words"})"),
      R"(kind: X
list:
- a: 1
  b:
  - 2
  - "3"
- []
- {}
metadata:
  labels: {}
text: "a: b"
words: two words
)");
  for (const char* text :
       {"yes",   "",   "~",    "null", "1",    "1.5",      "0x1",          "true",         "- a", "-",   "a #b",
        "*a",    "&a", "!a",   "[a",   "{a",   "a: b",     "a:",           " a",           "a ",  "---", "2026-01-01",
        "12:30", "@a", "`a",   "%a",   "|",    ">",        "'a",           "\"a",          "=",   "?",   "? a",
        ":",     ",",  "a\nb", "\t",   "\x7f", "\xc2\x85", "\xe2\x80\xa8", "\xef\xbb\xbf", "<<",  "y",   "..."}) {
    const json value{
        {"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", "a"}, {"annotations", {{"k", text}}}}}};
    const auto outcome = parse_manifests("t", yaml_from_json(value.dump()));
    ASSERT_THAT(outcome.documents, SizeIs(1)) << text;
    EXPECT_EQ(metadata_of(outcome.documents[0].object).annotations.at("k"), text);
  }
}

TEST(Stored, DamagedJsonIsAnError) {
  for (const char* text :
       {"", "{", "[]", "1", "null", "{}", R"({"apiVersion":"v1"})", R"({"apiVersion":"v1","kind":1})",
        R"({"apiVersion":"v1","kind":"List","items":[]})", R"({"apiVersion":"v1","kind":"ConfigMap"})",
        R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":[]})",
        R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"ports":[{"port":"x"}]}})"}) {
    const auto object = object_from_json(text);
    ASSERT_FALSE(object) << text;
    EXPECT_EQ(object.error().code, ErrorCode::invalid);
  }
  const auto odd = object_from_json(
      R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"},"x-weft-location":{"file":3,"line":"x"}})");
  ASSERT_TRUE(odd);
  EXPECT_EQ(metadata_of(*odd).location, SourceLocation{});
  EXPECT_FALSE(object_from_json(std::string(100000, '[')));
  EXPECT_FALSE(object_from_json(std::string(100000, '[') + std::string(100000, ']')));
  EXPECT_EQ(public_json("nonsense"), "nonsense");
}

TEST(Stored, WhatNestsTooDeeplyIsRefusedBeforeItIsWalked) {
  const std::string deep = std::string(600000, '[') + std::string(600000, ']');
  const auto text = R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n"},"x-weft-location":)" + deep + "}";
  EXPECT_FALSE(object_from_json(text));
  EXPECT_EQ(with_uid(text, "u"), text);
  EXPECT_EQ(without_status(text), text);
  const auto brackets = R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n","annotations":{"a":"\"[)" +
                        std::string(300, '[') + R"("}}})";
  EXPECT_TRUE(object_from_json(brackets)) << "those of texts are none";
}

TEST(Stored, PodOfADeployment) {
  const auto outcome = parsed();
  const auto& deployment = std::get<Deployment>(outcome.documents[2].object);
  const auto text = pod_json(outcome.documents[2].json, 1);
  ASSERT_TRUE(text);
  const auto object = object_from_json(*text);
  ASSERT_TRUE(object) << object.error().message;
  EXPECT_EQ(std::get<Pod>(*object), expand(deployment)[1]);
  EXPECT_EQ(json::parse(*text)["metadata"]["ownerReferences"][0]["name"], "web");
  EXPECT_FALSE(pod_json("[]", 0));
  EXPECT_FALSE(pod_json(outcome.documents[0].json, 0));
}

}  // namespace
}  // namespace weft::model
