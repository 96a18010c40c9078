#include "install/install.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "install/cleanup.h"
#include "install/survey.h"
#include "install/testing/cluster_world.h"
#include "install/uninstall.h"

namespace weft::install {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using testing::ClusterWorld;
using ::testing::HasSubstr;
using testing::json;
using ::testing::Not;

constexpr const char* config = "/api/v1/namespaces/weft-system/configmaps/weft-config";
constexpr const char* daemon_set = "/apis/apps/v1/namespaces/weft-system/daemonsets/weft";

class InstallTest : public ::testing::Test {
 protected:
  Result<void> install(InstallOptions options = {}) {
    options.timeout = std::chrono::seconds(options.wait ? 5 : 0);
    return install::install(*world.cluster, options, world.progress());
  }
  std::string refused(const Result<void>& result) {
    return result ? "done" : result.error().message + "\n" + result.error().hint;
  }
  std::string weftd() { return world.get(config)["data"]["weftd.yaml"]; }
  // Of what it wrote, in order: "namespaces/weft-system".
  std::vector<std::string> written(const std::string& method) {
    std::vector<std::string> all;
    for (const auto& request : world.server.requests()) {
      if (!request.starts_with(method + " ")) continue;
      const auto path = request.substr(0, request.find('?'));
      const auto slash = path.rfind('/', path.rfind('/') - 1);
      all.push_back(path.substr(slash + 1));
    }
    return all;
  }

  ClusterWorld world;
};

TEST_F(InstallTest, MakesEverythingInOrderAndWaits) {
  const auto done = install();
  ASSERT_TRUE(done) << refused(done);
  const auto order = written("PATCH");
  EXPECT_EQ(order.front(), "namespaces/weft-system");
  const auto at = [&](const std::string& what) { return std::ranges::find(order, what) - order.begin(); };
  EXPECT_LT(at("customresourcedefinitions/podaddresspools.weft.io"), at("serviceaccounts/weft"));
  EXPECT_LT(at("serviceaccounts/weft"), at("clusterrolebindings/weft"));
  EXPECT_LT(at("configmaps/weft-config"), at("daemonsets/weft"));
  EXPECT_LT(at("daemonsets/weft"), at("deployments/weft-operator"));
  EXPECT_THAT(
      weftd(),
      AllOf(HasSubstr(R"(pod_cidrs: ["10.7.0.0/16","fd00:7::/48"])"), HasSubstr(R"(service_cidrs: ["10.8.0.0/16"])"),
            HasSubstr(R"(kubernetes_servers: ["https://192.0.2.10:6443","https://192.0.2.11:6443"])")));
  EXPECT_THAT(world.told, AllOf(HasSubstr("ConfigMap weft-system/weft-config created\n"),
                                HasSubstr("agents: 2 of 2 ready\n"), HasSubstr("operators: 2 of 2 ready\n")));
}

TEST_F(InstallTest, ASecondOneKeepsWhatTheFirstWasGiven) {
  ASSERT_TRUE(install({.set = {"tunnel=none", "agentConfig.mtu=1400"}}));
  const auto before = world.get(config)["data"];
  // The cluster's own word changes nothing any more: pods have addresses of these ranges.
  world.put(
      "/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
      {{"data", {{"ClusterConfiguration", "networking: {podSubnet: 10.99.0.0/16, serviceSubnet: 10.98.0.0/16}\n"}}}});
  ASSERT_TRUE(install());
  EXPECT_EQ(world.get(config)["data"], before);
  EXPECT_THAT(world.told, HasSubstr("tunnel=none, as before\n"));
  ASSERT_TRUE(install({.set = {"tunnel=geneve"}}));
  EXPECT_THAT(weftd(), AllOf(HasSubstr("tunnel: geneve"), HasSubstr("mtu: 1400"), HasSubstr("10.7.0.0/16")));
  ASSERT_TRUE(install({.reset_values = true}));
  EXPECT_THAT(weftd(), AllOf(HasSubstr("tunnel: vxlan"), Not(HasSubstr("mtu")), HasSubstr("10.99.0.0/16")));
}

// Agents would not start, or a node would be cut off: with the values of before, too.
TEST_F(InstallTest, RangesThatCannotBeAreRefusedBeforeAnythingIsChanged) {
  auto node = world.get("/api/v1/nodes/n1");
  node["status"]["addresses"] = {{{"type", "InternalIP"}, {"address", "192.0.2.21"}}};
  world.put("/api/v1/nodes/n1", node);
  const auto says = [&](const std::string& pods, const std::string& services = "10.8.0.0/16") {
    return refused(install({.set = {"podCIDRs=" + pods, "serviceCIDRs=" + services}}));
  };
  EXPECT_THAT(says("10.244.0.0/33"), HasSubstr("podCIDRs: \"10.244.0.0/33\" is no range of addresses"));
  EXPECT_THAT(says("10.244.0.0/16", "10.244.0.0/20"),
              HasSubstr("podCIDRs 10.244.0.0/16 and serviceCIDRs 10.244.0.0/20 overlap"));
  EXPECT_THAT(says("10.244.0.0/30"), HasSubstr("is smaller than what one node takes, a /24"));
  EXPECT_THAT(says("192.0.2.16/28,10.244.0.0/16"), HasSubstr("/24"));
  EXPECT_THAT(says("192.0.0.0/16"), HasSubstr("podCIDRs 192.0.0.0/16 has 192.0.2.21, the address of node n1"));
  EXPECT_THAT(says("10.244.0.0/16", "192.0.2.0/28"), HasSubstr("has 192.0.2.10, the address of the API server"));
  EXPECT_THAT(written("PATCH"), ::testing::IsEmpty());
  EXPECT_EQ(says("10.244.0.0/16"), "done");
  EXPECT_THAT(refused(install({.set = {"serviceCIDRs=10.244.8.0/24"}})), HasSubstr("--reset-values"));
}

TEST_F(InstallTest, AgentsAreHeldToTheirNodeWhereTheServerCanDoIt) {
  const auto policies = [&] {
    return world.all("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies").size() +
           world.all("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings").size();
  };
  world.server.set_minor(29);
  ASSERT_TRUE(install());
  EXPECT_EQ(policies(), 0U);
  EXPECT_THAT(world.told, HasSubstr("nodeRestriction=false, for the API server is older than Kubernetes 1.30"));
  // It was not what somebody asked for.
  world.server.set_minor(30);
  ASSERT_TRUE(install());
  EXPECT_EQ(policies(), 8U);
  ASSERT_TRUE(install({.set = {"nodeRestriction=false"}}));
  EXPECT_EQ(policies(), 0U);
  EXPECT_THAT(world.told, HasSubstr("ValidatingAdmissionPolicyBinding weft-state-restriction deleted\n"));
  ASSERT_TRUE(install({.set = {"nodeRestriction=true"}}));
  EXPECT_EQ(policies(), 8U);
  ASSERT_TRUE(uninstall(*world.cluster, {.timeout = 5s}, world.progress()));
  EXPECT_EQ(policies(), 0U);
}

TEST_F(InstallTest, RangesThatNobodyKnowsAreAskedFor) {
  world.server.store().remove("/api/v1/namespaces/kube-system/configmaps/kubeadm-config");
  EXPECT_THAT(refused(install()),
              AllOf(HasSubstr("the cluster does not say what podCIDRs are"), HasSubstr("--set podCIDRs=")));
  EXPECT_THAT(written("PATCH"), ::testing::IsEmpty());
  EXPECT_THAT(refused(install({.set = {"podCIDRs=10.1.0.0/16"}})), HasSubstr("what serviceCIDRs are"));
  world.server.store().add_resource("/apis/networking.k8s.io/v1/servicecidrs",
                                    {.kind = "ServiceCIDR", .api_version = "networking.k8s.io/v1"});
  world.put("/apis/networking.k8s.io/v1/servicecidrs/kubernetes", {{"spec", {{"cidrs", {"10.3.0.0/16"}}}}});
  EXPECT_EQ(refused(install({.set = {"podCIDRs=10.1.0.0/16"}})), "done");
  EXPECT_THAT(weftd(), HasSubstr("10.3.0.0/16"));
}

TEST_F(InstallTest, AWrongValueChangesNothing) {
  EXPECT_THAT(refused(install({.set = {"tunel=none"}})), HasSubstr("there is no \"tunel\""));
  EXPECT_THAT(refused(install({.set = {"tunnel=gre"}})), HasSubstr("tunnel: expected one of"));
  EXPECT_THAT(refused(install({.set = {"agentConfig"}})), HasSubstr("expected KEY=VALUE"));
  EXPECT_THAT(written("PATCH"), ::testing::IsEmpty());
}

// Pods would not start with it.
TEST_F(InstallTest, WhatTheProgramsWouldRefuseIsRefusedBeforeAnythingIsChanged) {
  const auto says = [&](std::vector<std::string> set) { return refused(install({.set = std::move(set)})); };
  EXPECT_THAT(says({"agentConfig.nosuch=1"}), HasSubstr("agentConfig.nosuch: weftd.yaml:13:1: unknown key \"nosuch\""));
  EXPECT_THAT(says({"agentConfig.mtu=many"}), HasSubstr("agentConfig.mtu: "));
  EXPECT_THAT(says({"agentConfig.mtu=100"}), HasSubstr("agentConfig.mtu: "));
  EXPECT_THAT(says({"podCIDRs=10.7.0.0/16,10.9.0.0/16"}),
              HasSubstr("podCIDRs: weftd.yaml:6:12: pod_cidrs: 10.9.0.0/16 is the second of its family"));
  EXPECT_THAT(says({"podCIDRs=10.7.0.1/16"}),
              AllOf(HasSubstr("podCIDRs: 10.7.0.1/16 has bits set behind its length"), HasSubstr("10.7.0.0/16")));
  EXPECT_THAT(says({"serviceCIDRs=127.0.0.0/16"}), HasSubstr("serviceCIDRs: weftd.yaml: service_cidrs: "));
  EXPECT_THAT(says({"kubernetesServers=https://api.test:70000"}), HasSubstr("kubernetesServers: "));
  EXPECT_THAT(says({"operatorConfig.nosuch=1"}), HasSubstr("operatorConfig.nosuch: weft-operator.yaml:"));
  EXPECT_THAT(says({"operatorConfig.health_address=9441"}), HasSubstr("operatorConfig.health_address: "));
  EXPECT_THAT(written("PATCH"), ::testing::IsEmpty());
}

TEST_F(InstallTest, WhatStandsInTheWayIsNamedAndStops) {
  world.put("/apis/apps/v1/namespaces/kube-system/daemonsets/calico-node", {{"spec", json::object()}});
  world.put("/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy", {{"spec", json::object()}});
  world.put("/api/v1/nodes/old", ClusterWorld::node("old", "5.15.0-100-generic"));
  world.server.deny("create clusterroles");
  world.server.deny("patch daemonsets");
  EXPECT_THAT(refused(install()),
              AllOf(HasSubstr("nothing has been changed"),
                    HasSubstr("Calico is this cluster's network (kube-system/calico-node)"),
                    HasSubstr("node old has Linux 5.15.0-100-generic"),
                    HasSubstr("lacks rights: create clusterroles, patch daemonsets"), HasSubstr("--force")));
  EXPECT_THAT(world.told, AllOf(HasSubstr("kube-proxy is running"),
                                HasSubstr("kubectl -n kube-system delete daemonset kube-proxy")));
  EXPECT_THAT(written("PATCH"), ::testing::IsEmpty());
  EXPECT_EQ(refused(install({.force = true})), "done");
}

TEST_F(InstallTest, AConflictAndALackOfRightsSayWhatToDo) {
  world.server.fail({.method = "PATCH", .path_contains = "weft-config", .status = 409});
  EXPECT_THAT(refused(install()), AllOf(HasSubstr("ConfigMap weft-system/weft-config could not be applied"),
                                        HasSubstr("--force-conflicts")));
  world.server.fail({.method = "PATCH", .path_contains = "clusterroles", .status = 403});
  EXPECT_THAT(refused(install()),
              AllOf(HasSubstr("ClusterRole weft could not be applied"), HasSubstr("lacks that right")));
  ASSERT_TRUE(install({.force_conflicts = true}));
  const auto requests = world.server.requests();
  EXPECT_TRUE(std::ranges::any_of(requests,
                                  [](const std::string& one) { return one.find("force=true") != std::string::npos; }));
}

TEST_F(InstallTest, AServerThatIsBusyIsAskedAgain) {
  world.server.fail({.method = "PATCH", .path_contains = "daemonsets", .status = 429, .retry_after = 1});
  world.server.fail({.method = "GET", .path_contains = "/version", .status = 503});
  EXPECT_EQ(refused(install()), "done");
}

TEST_F(InstallTest, WhatIsNotReadyIsToldWithItsReasons) {
  world.rolls_out = false;
  world.run_pod = nullptr;
  const auto pod = [&](const std::string& name, const std::string& node, const json& status,
                       const char* component = "agent") {
    world.put(
        "/api/v1/namespaces/weft-system/pods/" + name,
        {{"metadata", {{"labels", {{"app.kubernetes.io/name", "weft"}, {"app.kubernetes.io/component", component}}}}},
         {"spec", {{"nodeName", node}}},
         {"status", status}});
  };
  pod("weft-a", "n1",
      {{"containerStatuses",
        {{{"name", "weftd"},
          {"state", {{"waiting", {{"reason", "ErrImageNeverPull"}, {"message", "no image weft:0.1.0"}}}}}}}}});
  pod("weft-b", "n2",
      {{"containerStatuses",
        {{{"name", "weftd"},
          {"ready", false},
          {"state", {{"waiting", {{"reason", "CrashLoopBackOff"}, {"message", "back-off"}}}}},
          {"lastState",
           {{"terminated", {{"exitCode", 1}, {"message", "more\nweftd: /sys/fs/bpf is no BPF file system\n"}}}}}}}}});
  pod("weft-operator-a", "",
      {{"conditions", {{{"type", "PodScheduled"}, {"status", "False"}, {"message", "0/2 nodes are available"}}}}},
      "operator");
  world.put("/api/v1/namespaces/weft-system/events/e", {{"involvedObject", {{"name", "weft-operator"}}},
                                                        {"type", "Warning"},
                                                        {"reason", "FailedCreate"},
                                                        {"message", "exceeded quota"}});
  InstallOptions options;
  options.timeout = 1s;
  const auto done = install::install(*world.cluster, options, world.progress());
  EXPECT_THAT(
      refused(done),
      AllOf(HasSubstr("not ready after 1 s"), HasSubstr("weft-a on node n1: ErrImageNeverPull: no image weft:0.1.0"),
            HasSubstr("weft-b on node n2: weftd ended with 1: weftd: /sys/fs/bpf is no BPF file system"),
            HasSubstr("weft-operator-a: no node takes it: 0/2 nodes are available"),
            HasSubstr("1 of 2 pods exist: FailedCreate: exceeded quota")));
}

TEST_F(InstallTest, NodesThatAreAwayAreNotWaitedFor) {
  auto away = ClusterWorld::node("n2");
  away["status"]["conditions"][0]["status"] = "Unknown";
  world.put("/api/v1/nodes/n2", away);
  world.rolls_out = false;
  std::jthread controllers([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      world.set_status(daemon_set, {{"observedGeneration", 1},
                                    {"currentNumberScheduled", 2},
                                    {"desiredNumberScheduled", 2},
                                    {"updatedNumberScheduled", 1},
                                    {"numberReady", 1}});
      // One of the old ones is ready still.
      world.set_status("/apis/apps/v1/namespaces/weft-system/deployments/weft-operator",
                       {{"observedGeneration", 1}, {"replicas", 2}, {"updatedReplicas", 2}, {"readyReplicas", 1}});
      std::this_thread::sleep_for(20ms);
    }
  });
  const auto pod = [&](const std::string& name, const char* generation, const char* ready) {
    world.put("/api/v1/namespaces/weft-system/pods/" + name,
              {{"metadata",
                {{"labels",
                  {{"app.kubernetes.io/name", "weft"},
                   {"app.kubernetes.io/component", "agent"},
                   {"pod-template-generation", generation}}}}},
               {"spec", {{"nodeName", name}}},
               {"status", {{"conditions", {{{"type", "Ready"}, {"status", ready}}}}}}});
  };
  ASSERT_TRUE(install({.wait = false}));
  world.server.store().patch(*kubernetes::testing::parse_path(daemon_set),
                             {{"metadata", {{"annotations", {{"deprecated.daemonset.template.generation", "2"}}}}}},
                             false);
  // The one that is ready is the old one.
  pod("n1", "1", "True");
  pod("n2", "1", "False");
  EXPECT_THAT(refused(install()), HasSubstr("agents: 0 of 2 ready, away: n2"));
  pod("n1", "2", "True");
  EXPECT_EQ(refused(install()), "done");
  EXPECT_THAT(world.told,
              AllOf(HasSubstr("agent.maxUnavailable=2, for 1 nodes are away: n2"),
                    HasSubstr("agents: 1 of 2 ready, away: n2"), HasSubstr("operators: 1 of 2 ready, away: n2")));
}

TEST_F(InstallTest, AnInterruptEndsTheWait) {
  world.rolls_out = false;
  InstallOptions options;
  options.timeout = 60s;
  std::thread user([&] {
    while (world.get(daemon_set).is_null()) std::this_thread::sleep_for(5ms);
    std::this_thread::sleep_for(50ms);
    ::kill(::getpid(), SIGINT);
  });
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_THAT(refused(install::install(*world.cluster, options, world.progress())), HasSubstr("interrupted"));
  user.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s);
}

// --- Taking it away

class UninstallTest : public InstallTest {
 protected:
  UninstallTest() {
    EXPECT_TRUE(install());
    world.told.clear();
  }
  Result<void> uninstall(UninstallOptions options = {}) {
    options.timeout = 2s;
    return install::uninstall(*world.cluster, options, world.progress());
  }
};

TEST_F(UninstallTest, NodesAreCleanedBeforeWhatTheyNeedGoes) {
  world.put("/apis/weft.io/v1alpha1/loadbalancerpools/public", {{"spec", {{"addresses", {"192.0.2.0/28"}}}}});
  const auto done = uninstall();
  ASSERT_TRUE(done) << refused(done);
  EXPECT_THAT(world.told, AllOf(HasSubstr("node n1 is clean\n"), HasSubstr("node n2 is clean\n")));
  const auto order = written("DELETE");
  const auto at = [&](const std::string& what) { return std::ranges::find(order, what) - order.begin(); };
  EXPECT_LT(at("deployments/weft-operator"), at("daemonsets/weft"));
  EXPECT_LT(at("daemonsets/weft"), at("configmaps/weft-config"));
  EXPECT_EQ(order.back(), "namespaces/weft-system");
  EXPECT_THAT(world.all("/apis/rbac.authorization.k8s.io/v1/clusterroles"), ::testing::IsEmpty());
  EXPECT_FALSE(world.get("/apis/weft.io/v1alpha1/loadbalancerpools/public").is_null());
  EXPECT_EQ(refused(uninstall()), "done");  // again: nothing is left to do
}

TEST_F(UninstallTest, TheCleanupHasTheAgentsPlaces) {
  const auto pod = cleanup_pod(world.get(daemon_set), "n1", false);
  const auto& container = pod["spec"]["containers"][0];
  EXPECT_EQ(pod["spec"]["nodeName"], "n1");
  EXPECT_EQ(pod["spec"]["hostNetwork"], true);
  EXPECT_EQ(pod["spec"]["restartPolicy"], "Never");
  EXPECT_EQ(container["command"][1], "--cleanup");
  EXPECT_FALSE(container.contains("livenessProbe"));
  EXPECT_EQ(container["volumeMounts"],
            world.get(daemon_set)["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]);
  EXPECT_FALSE(pod["spec"].contains("affinity"));
  EXPECT_THAT(cleanup_pod(world.get(daemon_set), "n1", true)["spec"]["containers"][0]["command"][2],
              AllOf(HasSubstr("weftd --cleanup --purge"), HasSubstr("rmdir /host/var/lib/weft /host/run/weft")));
}

TEST_F(UninstallTest, AMachineIsCleanedByHandWithoutACluster) {
  const auto command =
      cleanup_by_hand(world.get(daemon_set), "cni_bin_dir: /host/opt/cni/bin\npod_cidrs: [10.7.0.0/16]\n", true);
  EXPECT_THAT(command, AllOf(HasSubstr("docker.io/library/weft:" + std::string(chart::version())),
                             HasSubstr("src=/etc/cni/net.d,dst=/host/etc/cni/net.d"),
                             HasSubstr(R"('{"cni_bin_dir":"/host/opt/cni/bin"}')"), HasSubstr("--cleanup --purge")));
  auto set = world.get(daemon_set);
  set["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.test:5000/weft:1";
  EXPECT_THAT(cleanup_by_hand(set, "", false),
              AllOf(HasSubstr(" registry.test:5000/weft:1 "), Not(HasSubstr("purge"))));
}

TEST_F(UninstallTest, ANodeThatCannotBeCleanedIsNamed) {
  world.run_pod = [](const json& pod) -> json {
    if (pod["spec"]["nodeName"] == "n1") return {{"phase", "Succeeded"}};
    return {
        {"phase", "Failed"},
        {"containerStatuses",
         {{{"name", "cleanup"}, {"state", {{"terminated", {{"exitCode", 1}, {"message", "weftd: an agent runs"}}}}}}}}};
  };
  auto away = ClusterWorld::node("n3");
  away["status"]["conditions"][0]["status"] = "Unknown";
  world.put("/api/v1/nodes/n3", away);
  EXPECT_THAT(refused(uninstall()),
              AllOf(HasSubstr("n2: cleanup ended with 1: weftd: an agent runs\n    once it answers: weft uninstall "
                              "--node n2\n"),
                    HasSubstr("n3: it is away"), Not(HasSubstr("n1:")), HasSubstr("as root: ctr -n k8s.io run")));
  EXPECT_THAT(world.told, AllOf(HasSubstr("node n2 is not clean: cleanup ended with 1: weftd: an agent runs"),
                                HasSubstr("node n3 is not cleaned: it is away")));
  // What is needed to clean them is there still, and nothing else.
  EXPECT_FALSE(world.get(config).is_null());
  EXPECT_FALSE(world.get("/api/v1/namespaces/weft-system/serviceaccounts/weft").is_null());
  EXPECT_TRUE(world.get("/api/v1/namespaces/weft-system/serviceaccounts/weft-operator").is_null());
  EXPECT_THAT(world.all("/apis/rbac.authorization.k8s.io/v1/clusterroles"), ::testing::IsEmpty());
  // When they are back, the same command ends it, with the image that the agents had.
  world.put("/api/v1/nodes/n3", ClusterWorld::node("n3"));
  world.run_pod = [](const json& pod) -> json {
    return {{"phase", pod["spec"]["containers"][0]["image"] == "weft:" + std::string(chart::version()) ? "Succeeded"
                                                                                                       : "Failed"}};
  };
  EXPECT_EQ(refused(uninstall()), "done");
  EXPECT_TRUE(world.get("/api/v1/namespaces/weft-system").is_null());
}

TEST_F(UninstallTest, NodesThatNeverComeBackAreGivenUp) {
  auto away = ClusterWorld::node("n2");
  away["status"]["conditions"][0]["status"] = "Unknown";
  world.put("/api/v1/nodes/n2", away);
  EXPECT_THAT(refused(uninstall()), HasSubstr("those that never will: weft uninstall --no-clean"));
  EXPECT_EQ(refused(uninstall({.clean = false})), "done");
  EXPECT_TRUE(world.get("/api/v1/namespaces/weft-system").is_null());
}

TEST_F(UninstallTest, AMachineWithoutANodeIsNamed) {
  world.put("/apis/weft.io/v1alpha1/weftnodes/old", {{"spec", {{"version", 1}}}});
  world.put("/apis/weft.io/v1alpha1/weftnodes/n1", {{"spec", {{"version", 1}}}});
  EXPECT_THAT(refused(uninstall()), AllOf(HasSubstr("old: it has no Node any more"), Not(HasSubstr("n1"))));
  EXPECT_TRUE(world.get("/api/v1/namespaces/weft-system").is_null());
}

TEST_F(UninstallTest, OneNodeIsLeftOutAndCleaned) {
  ASSERT_TRUE(uninstall_node(*world.cluster, "n1", {.timeout = 2s}, world.progress())) << world.told;
  EXPECT_EQ(world.get("/api/v1/nodes/n1")["metadata"]["labels"]["weft.io/agent"], "none");
  EXPECT_THAT(world.told, AllOf(HasSubstr("node n1 is clean"), Not(HasSubstr("n2"))));
  EXPECT_FALSE(world.get(daemon_set).is_null());
  EXPECT_THAT(refused(uninstall_node(*world.cluster, "n9", {.timeout = 2s}, world.progress())), HasSubstr("n9"));
  // An agent that comes again meets no cleanup.
  ASSERT_TRUE(install());
  EXPECT_THAT(world.all("/api/v1/namespaces/weft-system/pods"), ::testing::IsEmpty());
}

TEST_F(UninstallTest, APurgeFreesAndRemovesUsersObjects) {
  world.put("/apis/weft.io/v1alpha1/podaddresspools/blue",
            {{"metadata", {{"finalizers", {"weft.io/pool"}}}}, {"spec", {{"cidrs", {{{"cidr", "10.9.0.0/16"}}}}}}});
  const auto lost = what_gets_lost(*world.cluster);
  ASSERT_TRUE(lost);
  EXPECT_THAT(*lost, ::testing::ElementsAre("PodAddressPool: blue"));
  ASSERT_TRUE(uninstall({.purge = true}));
  EXPECT_TRUE(world.get("/apis/weft.io/v1alpha1/podaddresspools/blue").is_null());
  EXPECT_THAT(world.all("/apis/apiextensions.k8s.io/v1/customresourcedefinitions"), ::testing::IsEmpty());
}

TEST_F(UninstallTest, PodsThatDoNotEndAreGivenUpAndTheirNodesNamed) {
  world.put("/api/v1/namespaces/weft-system/pods/weft-x",
            {{"metadata", {{"labels", {{"app.kubernetes.io/name", "weft"}, {"app.kubernetes.io/component", "agent"}}}}},
             {"spec", {{"nodeName", "n2"}}},
             {"status", {{"phase", "Running"}}}});
  EXPECT_THAT(refused(uninstall()), HasSubstr("n2: its pod weft-x has not ended within 2 s"));
  EXPECT_THAT(world.told, AllOf(HasSubstr("node n1 is clean"), Not(HasSubstr("node n2 is clean"))));
  EXPECT_TRUE(world.get("/api/v1/namespaces/weft-system/pods/weft-x").is_null());
  EXPECT_FALSE(world.get(config).is_null());
}

// Their kubelets will never say that they have ended.
TEST_F(UninstallTest, PodsOfNodesThatAreAwayAreNotWaitedFor) {
  auto away = ClusterWorld::node("n2");
  away["status"]["conditions"][0]["status"] = "Unknown";
  world.put("/api/v1/nodes/n2", away);
  for (const auto* component : {"agent", "operator"})
    world.put("/api/v1/namespaces/weft-system/pods/weft-" + std::string(component),
              {{"metadata",
                {{"deletionTimestamp", "2026-01-01T00:00:00Z"},
                 {"finalizers", json::array()},
                 {"labels", {{"app.kubernetes.io/name", "weft"}, {"app.kubernetes.io/component", component}}}}},
               {"spec", {{"nodeName", "n2"}}},
               {"status", {{"phase", "Running"}}}});
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_THAT(refused(install::uninstall(*world.cluster, {.timeout = 60s}, world.progress())),
              HasSubstr("n2: it is away"));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 30s);
  EXPECT_THAT(world.told, HasSubstr("node n1 is clean"));
}

}  // namespace
}  // namespace weft::install
