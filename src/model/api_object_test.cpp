// Objects as API servers send them, of the shapes of Kubernetes 1.28 to 1.36: full of fields that mean nothing here, in
// lists without apiVersion and kind, and with fields of versions that this one does not know.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/parse.h"

namespace weft::model {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr std::string_view kServer = "https://10.0.0.1:6443";

template <class T>
T taken(Kind kind, std::string_view json) {
  const auto read = object_from_api(kind, kServer, json);
  EXPECT_TRUE(read) << read.error().text();
  if (!read) return {};
  // What is stored says the same when it is read again.
  const auto again = object_from_json(read->json);
  EXPECT_TRUE(again) << again.error().text() << read->json;
  if (!again) return {};
  EXPECT_EQ(metadata_of(read->object).key(), metadata_of(*again).key());
  return std::get<T>(read->object);
}

constexpr std::string_view kPod = R"({
  "metadata": {"name": "web-7c5ddbdf54-x7k2p", "generateName": "web-7c5ddbdf54-", "namespace": "shop",
    "uid": "0f5ad0a6-7f3b-4a4f-8f0b-2f0f6a1f9f11", "resourceVersion": "418", "generation": 1,
    "creationTimestamp": "2026-05-04T10:11:12Z", "labels": {"app": "web", "pod-template-hash": "7c5ddbdf54"},
    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7c5ddbdf54",
      "uid": "3c9", "controller": true, "blockOwnerDeletion": true}],
    "managedFields": [{"manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": "2026-05-04T10:11:13Z",
      "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {"f:podIPs": {".": {}}}}, "subresource": "status"}]},
  "spec": {"volumes": [{"name": "kube-api-access-abcde", "projected": {"sources": [{"serviceAccountToken":
      {"expirationSeconds": 3607, "path": "token"}}], "defaultMode": 420}}],
    "containers": [{"name": "web", "image": "nginx:1.27", "ports": [{"name": "http", "containerPort": 80,
      "hostPort": 8080, "protocol": "TCP"}], "resources": {}, "terminationMessagePath": "/dev/termination-log",
      "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent",
      "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}],
    "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
    "serviceAccountName": "default", "serviceAccount": "default", "nodeName": "node-a", "securityContext": {},
    "schedulerName": "default-scheduler", "tolerations": [{"key": "node.kubernetes.io/not-ready",
      "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}], "priority": 0,
    "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority", "resources": {"limits": {"cpu": "1"}},
    "hostnameOverride": "web"},
  "status": {"phase": "Running", "observedGeneration": 1, "conditions": [
      {"type": "PodReadyToStartContainers", "observedGeneration": 1, "status": "True", "lastProbeTime": null,
       "lastTransitionTime": "2026-05-04T10:11:13Z"},
      {"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-05-04T10:11:13Z"}],
    "hostIP": "192.0.2.2", "hostIPs": [{"ip": "192.0.2.2"}], "podIP": "10.244.1.9",
    "podIPs": [{"ip": "10.244.1.9"}, {"ip": "fd00:10:244:1::9"}], "startTime": "2026-05-04T10:11:12Z",
    "containerStatuses": [{"name": "web", "state": {"running": {"startedAt": "2026-05-04T10:11:13Z"}},
      "lastState": {}, "ready": true, "restartCount": 0, "image": "nginx:1.27", "imageID": "sha256:1", "started": true}],
    "qosClass": "BestEffort"}})";

TEST(ApiObject, APodIsWhatTheKubeletSees) {
  const auto pod = taken<Pod>(Kind::pod, kPod);
  EXPECT_EQ(pod.meta.key().to_string(), "shop/web-7c5ddbdf54-x7k2p");
  EXPECT_EQ(pod.meta.labels.at("app"), "web");
  EXPECT_EQ(pod.spec.node, "node-a");
  EXPECT_TRUE(pod.ready);
  ASSERT_THAT(pod.spec.containers, SizeIs(1));
  ASSERT_THAT(pod.spec.containers[0].ports, SizeIs(1));
  EXPECT_EQ(pod.spec.containers[0].ports[0].host_port, 8080);
  const auto json = object_from_api(Kind::pod, kServer, kPod)->json;
  EXPECT_THAT(json, HasSubstr("0f5ad0a6-7f3b-4a4f-8f0b-2f0f6a1f9f11"));
  EXPECT_EQ(uid_of(json), "0f5ad0a6-7f3b-4a4f-8f0b-2f0f6a1f9f11");
  EXPECT_THAT(json, Not(HasSubstr("managedFields")));
  EXPECT_THAT(json, Not(HasSubstr("resourceVersion")));
}

TEST(ApiObject, AService) {
  const auto service = taken<Service>(Kind::service, R"({
    "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "9"},
    "spec": {"ports": [{"name": "http", "protocol": "TCP", "appProtocol": "kubernetes.io/h2c", "port": 80,
        "targetPort": "http", "nodePort": 30080}],
      "selector": {"app": "web"}, "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00:10:96::7"],
      "type": "LoadBalancer", "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
      "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000, "ipFamilies": ["IPv4", "IPv6"],
      "ipFamilyPolicy": "PreferDualStack", "allocateLoadBalancerNodePorts": true, "internalTrafficPolicy": "Cluster",
      "trafficDistribution": "PreferSameZone", "fieldOfLater": {"a": 1}},
    "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.5", "ipMode": "VIP"}]}}})");
  EXPECT_EQ(service.meta.key().to_string(), "shop/web");
  ASSERT_THAT(service.ports, SizeIs(1));
  EXPECT_EQ(service.ports[0].node_port, 30080);
}

TEST(ApiObject, AnEndpointSliceWithHintsOfNodes) {
  const auto slice = taken<EndpointSlice>(Kind::endpoint_slice, R"({
    "metadata": {"name": "web-abcde", "generateName": "web-", "namespace": "shop", "uid": "u",
      "labels": {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": "web"},
      "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-05-04T10:11:12Z"}},
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.244.1.9"], "conditions": {"ready": true, "serving": true, "terminating": false},
      "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "p"}, "nodeName": "node-a", "zone": "z1",
      "hints": {"forZones": [{"name": "z1"}], "forNodes": [{"name": "node-a"}]}}],
    "ports": [{"name": "http", "protocol": "TCP", "port": 80, "appProtocol": "kubernetes.io/h2c"}]})");
  ASSERT_THAT(slice.endpoints, SizeIs(1));
  EXPECT_EQ(slice.endpoints[0].node, "node-a");
  EXPECT_THAT(slice.endpoints[0].hint_nodes, SizeIs(1));
}

TEST(ApiObject, AnEmptyEndpointSliceHasNullLists) {
  const auto slice = taken<EndpointSlice>(Kind::endpoint_slice, R"({
    "metadata": {"name": "web-abcde", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv6", "endpoints": null, "ports": null})");
  EXPECT_THAT(slice.endpoints, IsEmpty());
}

TEST(ApiObject, ANamespace) {
  const auto space = taken<Namespace>(Kind::namespace_, R"({"metadata": {"name": "shop", "uid": "n",
    "labels": {"kubernetes.io/metadata.name": "shop", "team": "blue"}}, "spec": {"finalizers": ["kubernetes"]},
    "status": {"phase": "Active"}})");
  EXPECT_EQ(space.meta.labels.at("team"), "blue");
}

// A kind of peer that a later version of Kubernetes may bring selects nobody: the rule allows less, not more.
TEST(ApiObject, APolicysPeerOfALaterKindSelectsNobody) {
  const auto policy = taken<NetworkPolicy>(Kind::network_policy, R"({"metadata": {"name": "p", "namespace": "shop"},
    "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"],
      "ingress": [{"from": [{"serviceSelector": {"matchLabels": {"a": "b"}}}], "ports": [{"port": 80, "protocol": "TCP"}]}]},
    "status": {}})");
  ASSERT_THAT(policy.ingress, SizeIs(1));
  ASSERT_THAT(policy.ingress[0].peers, SizeIs(1));
  const auto& peer = policy.ingress[0].peers[0];
  EXPECT_FALSE(peer.pod_selector || peer.namespace_selector || peer.ip_block);
}

// What is not understood of a policy closes: as much of it as can be read says for whom, and in which directions.
TEST(ApiObject, APolicyThatCannotBeReadIsolates) {
  const auto closed = [](const std::string& spec) {
    const std::string text =
        R"({"metadata": {"name": "p", "namespace": "shop", "uid": "u", "labels": {"a": "b"}}, "spec": )" + spec + "}";
    EXPECT_FALSE(object_from_api(Kind::network_policy, kServer, text)) << spec;
    const auto read = closed_policy_from_api(kServer, text);
    EXPECT_TRUE(read) << read.error().text();
    EXPECT_EQ(uid_of(read->json), "u");
    const auto policy = std::get<NetworkPolicy>(read->object);
    EXPECT_EQ(policy.meta.key().to_string(), "shop/p");
    EXPECT_THAT(policy.ingress, IsEmpty());
    EXPECT_THAT(policy.egress, IsEmpty());
    return (policy.pod_selector.empty() ? "all" : policy.pod_selector.to_string()) +
           (policy.applies_ingress ? " ingress" : "") + (policy.applies_egress ? " egress" : "");
  };
  const std::string bad = R"("ingress": [{"ports": [{"port": 70000}]}])";
  const std::string web = R"("podSelector": {"matchLabels": {"app": "web"}}, )";
  EXPECT_EQ(closed("{" + web + R"("policyTypes": ["Ingress"], )" + bad + "}"), "app=web ingress");
  EXPECT_EQ(closed("{" + web + R"("policyTypes": ["Egress"], )" + bad + "}"), "app=web egress");
  EXPECT_EQ(closed("{" + web + bad + "}"), "app=web ingress egress") << "nobody says which";
  EXPECT_EQ(closed("{" + web + R"("policyTypes": ["Ingress", "Sideways"], )" + bad + "}"), "app=web ingress egress");
  EXPECT_EQ(closed(R"({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]},
                       "policyTypes": ["Ingress"]})"),
            "all ingress");
  EXPECT_EQ(closed(R"({"podSelector": "web", "policyTypes": "Ingress"})"), "all ingress egress");
  EXPECT_EQ(closed("[]"), "all ingress egress");
  for (const auto* nameless : {"[]", "{", R"({"spec": {}})", R"({"metadata": {"name": 7}})"})
    EXPECT_FALSE(closed_policy_from_api(kServer, nameless)) << nameless;
}

// https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
TEST(ApiObject, ASidecarsPortsAreThePods) {
  const auto pod = taken<Pod>(Kind::pod, R"({"metadata": {"name": "p", "namespace": "shop"}, "spec": {
    "initContainers": [
      {"name": "proxy", "image": "i", "restartPolicy": "Always", "ports": [{"name": "metrics", "containerPort": 9090}]},
      {"name": "setup", "image": "i", "ports": [{"name": "once", "containerPort": 1}]}],
    "containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 80}]}]}})");
  ASSERT_THAT(pod.spec.sidecar_ports, SizeIs(1));
  EXPECT_EQ(pod.spec.sidecar_ports[0].name, "metrics");
  EXPECT_EQ(pod.spec.sidecar_ports[0].port, 9090);
}

TEST(ApiObject, APodThatHasFinishedSaysSoWhenItIsReadAgain) {
  for (const auto& [phase, finished] : {std::pair("Running", false), {"Succeeded", true}, {"Failed", true}}) {
    const auto text = std::string(R"({"metadata": {"name": "p", "namespace": "shop"},
      "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": ")") +
                      phase + "\"}}";
    EXPECT_EQ(taken<Pod>(Kind::pod, text).finished, finished) << phase;
    const auto again = object_from_json(object_from_api(Kind::pod, kServer, text)->json);
    ASSERT_TRUE(again);
    EXPECT_EQ(std::get<Pod>(*again).finished, finished) << phase;
  }
}

TEST(ApiObject, WhatIsWrongIsNamed) {
  const auto slice = object_from_api(Kind::endpoint_slice, kServer, R"({"metadata": {"name": "s", "namespace": "n"},
    "addressType": "IPv4", "endpoints": [{"addresses": ["here"]}], "ports": []})");
  ASSERT_FALSE(slice);
  EXPECT_THAT(slice.error().message, HasSubstr("endpoints[0].addresses[0]: "));
  EXPECT_FALSE(object_from_api(Kind::pod, kServer, "[]"));
  EXPECT_FALSE(object_from_api(Kind::pod, kServer, "{\"metadata\": "));
  EXPECT_FALSE(object_from_api(Kind::pod, kServer, "{}"));
}

// Users who misspell a field are told so; an API server is not.
TEST(ApiObject, UsersAreToldOfUnknownFields) {
  const auto outcome = parse_manifests("p.yaml", R"({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
    "metadata": {"name": "p"}, "spec": {"podSelector": {}, "ingres": []}})");
  EXPECT_THAT(outcome.problems, SizeIs(1));
}

// An annotation of a later version must not leave a pod without its identity.
TEST(ApiObject, AnUnknownAnnotationOfWeftIsPassedOver) {
  const auto pod = taken<Pod>(Kind::pod, R"({"metadata": {"name": "p", "namespace": "n", "annotations":
    {"weft.io/colour": "red", "weft.io/weight": "7"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})");
  EXPECT_EQ(pod.weight, 7U);
}

// But a person who has misspelt one wants to know.
TEST(ApiObject, AMisspeltAnnotationIsTold) {
  const auto misspelt = [](const std::string& annotations) {
    return object_from_api(Kind::service, kServer,
                           R"({"metadata": {"name": "s", "namespace": "n", "annotations": {)" + annotations +
                               R"(}}, "spec": {"clusterIP": "None"}})")
        .value()
        .misspelt;
  };
  EXPECT_EQ(misspelt(R"("weft.io/algoritm": "maglev", "weft.io/colour": "red")"),
            "unknown annotation \"weft.io/algoritm\"; did you mean \"weft.io/algorithm\"?");
  EXPECT_EQ(misspelt(R"("weft.io/algorithm": "maglev", "example.com/algoritm": "x")"), "");
}

}  // namespace
}  // namespace weft::model
