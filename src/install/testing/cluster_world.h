// A cluster for tests: the API server of tests, the resources that an installation needs, and a thread that does what
// controllers and kubelets would do, as far as a test lets it.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "chart/chart.h"
#include "install/cluster.h"
#include "sources/kubernetes/testing/api_server.h"

namespace weft::install::testing {

using kubernetes::testing::ApiServer;
using nlohmann::json;

class ClusterWorld {
 public:
  ClusterWorld() {
    const auto add = [&](const char* group_version, const char* plural, const char* kind) {
      server.store().add_resource(std::string("/apis/") + group_version + "/" + plural,
                                  {.kind = kind, .api_version = group_version});
    };
    add("apps/v1", "daemonsets", "DaemonSet");
    add("apps/v1", "deployments", "Deployment");
    add("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget");
    for (const auto* kind : {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}) {
      std::string plural(kind);
      std::ranges::transform(plural, plural.begin(),
                             [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      add("rbac.authorization.k8s.io/v1", (plural + "s").c_str(), kind);
    }
    add("admissionregistration.k8s.io/v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy");
    add("admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding");
    put("/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
        {{"data",
          {{"ClusterConfiguration",
            "networking: {podSubnet: '10.7.0.0/16,fd00:7::/48', serviceSubnet: 10.8.0.0/16}\n"}}}});
    put("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes",
        {{"metadata", {{"labels", {{"kubernetes.io/service-name", "kubernetes"}}}}},
         {"endpoints", {{{"addresses", {"192.0.2.11"}}}, {{"addresses", {"192.0.2.10"}}}}},
         {"ports", {{{"port", 6443}}}}});
    for (const auto* name : {"n1", "n2"}) put(std::string("/api/v1/nodes/") + name, node(name));
    auto made = Cluster::connect(server.access());
    if (!made) throw std::runtime_error(made.error().message);
    cluster = std::move(*made);
    controllers_ = std::jthread([this](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        tick();
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    });
  }
  ~ClusterWorld() {
    controllers_.request_stop();
    controllers_.join();
  }
  ClusterWorld(const ClusterWorld&) = delete;
  ClusterWorld& operator=(const ClusterWorld&) = delete;

  static json node(const std::string& name, const std::string& kernel = "6.1.0-13-amd64") {
    return {{"metadata", {{"name", name}, {"labels", {{"kubernetes.io/os", "linux"}}}}},
            {"status",
             {{"conditions", {{{"type", "Ready"}, {"status", "True"}}}},
              {"nodeInfo", {{"operatingSystem", "linux"}, {"kernelVersion", kernel}, {"architecture", "amd64"}}}}}};
  }
  void put(const std::string& path, json object) { EXPECT_GT(server.store().put(path, std::move(object)), 0) << path; }
  json get(const std::string& path) {
    const auto place = kubernetes::testing::parse_path(path);
    const auto answer = server.store().get(*place);
    return answer.code == 200 ? json::parse(answer.text) : json();
  }
  std::vector<json> all(const std::string& collection) {
    const auto place = kubernetes::testing::parse_path(collection);
    const auto list =
        json::parse(server.store().list(*place, {.namespace_name = place->namespace_name}, "", "", 0).text);
    return list.value("items", std::vector<json>());
  }
  // What it told, in lines.
  std::function<void(const std::string&)> progress() {
    return [this](const std::string& line) { told += line + "\n"; };
  }

  void set_status(const std::string& path, const json& status) {
    auto place = kubernetes::testing::parse_path(path);
    place->status = true;
    server.store().patch(*place, {{"status", status}}, false);
  }

  ApiServer server;
  std::unique_ptr<Cluster> cluster;
  std::string told;
  // What controllers do; each may be left out.
  std::atomic<bool> establishes{true};
  std::atomic<bool> rolls_out{true};
  // A pod that nobody has seen: its status.
  std::function<json(const json& pod)> run_pod = [](const json&) { return json{{"phase", "Succeeded"}}; };

 private:
  void tick() {
    if (establishes)
      for (const auto& definition : all("/apis/apiextensions.k8s.io/v1/customresourcedefinitions"))
        if (!definition.contains("status")) {
          server.store().add_resource(
              "/apis/weft.io/v1alpha1/" + text_at(definition, "/spec/names/plural"),
              {.kind = text_at(definition, "/spec/names/kind"), .api_version = "weft.io/v1alpha1"});
          set_status("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + text_at(definition, "/metadata/name"),
                     {{"conditions", {{{"type", "Established"}, {"status", "True"}}}}});
        }
    if (rolls_out) {
      for (const auto& set : all("/apis/apps/v1/namespaces/weft-system/daemonsets"))
        if (number_at(set, "/status/numberReady") != 2)
          set_status("/apis/apps/v1/namespaces/weft-system/daemonsets/weft", {{"observedGeneration", 1},
                                                                              {"desiredNumberScheduled", 2},
                                                                              {"updatedNumberScheduled", 2},
                                                                              {"numberReady", 2}});
      for (const auto& deployment : all("/apis/apps/v1/namespaces/weft-system/deployments"))
        if (number_at(deployment, "/status/readyReplicas") != 2)
          set_status("/apis/apps/v1/namespaces/weft-system/deployments/weft-operator",
                     {{"observedGeneration", 1}, {"updatedReplicas", 2}, {"readyReplicas", 2}});
    }
    for (const auto& pod : all("/api/v1/pods")) {
      if (pod.contains("status") || !run_pod) continue;
      const auto status = run_pod(pod);
      if (!status.is_null())
        set_status(
            "/api/v1/namespaces/" + text_at(pod, "/metadata/namespace") + "/pods/" + text_at(pod, "/metadata/name"),
            status);
    }
  }

  std::jthread controllers_;
};

}  // namespace weft::install::testing
