#include "agent/other_networks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/cni_install.h"

namespace weft::agent {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(OtherNetworks, AListBeforeOursTakesThePods) {
  const std::string calico = R"({"cniVersion": "0.3.1", "name": "k8s-pod-network", "plugins": [
    {"type": "calico", "ipam": {}}, {"type": "portmap"}]})";
  const auto found = judge_lists("/etc/cni/net.d", "05-weft.conflist",
                                 {{"00-cilium.conflist", R"({"name": "cilium", "plugins": [{"type": "cilium-cni"}]})"},
                                  {"05-weft.conflist", cni_list("/run/weft/weft.sock")},
                                  {"10-calico.conflist", calico},
                                  {"87-podman-bridge.conf", R"({"name": "podman", "type": "bridge"})"},
                                  {"99-weft.conflist", cni_list("/run/other.sock")},
                                  {"99-broken.conflist", "{"}});
  EXPECT_THAT(
      found.harmful,
      ElementsAre(AllOf(Field(&Fault::text, HasSubstr("/etc/cni/net.d/00-cilium.conflist (network \"cilium\", by "
                                                      "cilium-cni) comes before 05-weft.conflist")),
                        Field(&Fault::remedy, HasSubstr("uninstall")))));
  EXPECT_THAT(found.left, ElementsAre(Field(&Fault::text,
                                            HasSubstr("(network \"k8s-pod-network\", by calico, portmap) lies beside")),
                                      Field(&Fault::text, HasSubstr("(network \"podman\", by bridge) lies beside"))));
}

TEST(OtherNetworks, DevicesAreNamedByWhoseTheyAre) {
  const auto found = judge_devices({"cali1234567890a", "cilium_host", "cilium_vxlan", "cni0", "eth0", "flannel.1",
                                    "kube-ipvs0", "lo", "weft0", "weft1a2b3c4d"});
  EXPECT_THAT(found, ElementsAre(Field(&Fault::text, HasSubstr("of Calico on this node: cali1234567890a")),
                                 Field(&Fault::text, HasSubstr("of Cilium on this node: cilium_host, cilium_vxlan")),
                                 Field(&Fault::text, HasSubstr("of Flannel on this node: flannel.1")),
                                 AllOf(Field(&Fault::text, HasSubstr("of kube-proxy on this node: kube-ipvs0")),
                                       Field(&Fault::remedy, HasSubstr("delete daemonset kube-proxy"))),
                                 Field(&Fault::text, HasSubstr("of the bridge plugin (Flannel and others)"))));
  EXPECT_THAT(judge_devices({"eth0", "cni-podman0", "calico0"}), ElementsAre(Field(&Fault::text, HasSubstr("Calico"))));
}

TEST(OtherNetworks, ManyAreCounted) {
  std::vector<std::string> names;
  for (int i = 10; i < 30; ++i) names.push_back("cali" + std::to_string(i));
  EXPECT_THAT(judge_devices(names), ElementsAre(Field(&Fault::text, HasSubstr("cali15, and 14 more"))));
}

TEST(OtherNetworks, ProgramsAtUplinks) {
  EXPECT_THAT(
      judge_programs("eth0", {"weft_from_dev", "cil_from_netdev", "my_own"}),
      ElementsAre(Field(&Fault::text, HasSubstr("BPF programs at eth0 of Cilium on this node: cil_from_netdev"))));
  EXPECT_THAT(judge_programs("eth0", {"weft_from_dev", "weft_xdp"}), IsEmpty());
}

TEST(OtherNetworks, KubeProxyByItsChainsOrItsTable) {
  EXPECT_THAT(judge_rules({{"nat", "KUBE-SERVICES", "nft"}, {"nat", "POSTROUTING", "nft"}}),
              ElementsAre(AllOf(Field(&Fault::text, HasSubstr("of kube-proxy on this node: nft nat KUBE-SERVICES")),
                                Field(&Fault::remedy, HasSubstr("kube-proxy --cleanup")))));
  EXPECT_THAT(judge_rules({{"kube-proxy", "services", "nft"}}),
              ElementsAre(Field(&Fault::text, HasSubstr("kube-proxy"))));
  // The kubelet's own, and a firewall's.
  EXPECT_THAT(judge_rules({{"mangle", "KUBE-KUBELET-CANARY", "nft"},
                           {"mangle", "KUBE-IPTABLES-HINT", "nft"},
                           {"filter", "DOCKER-USER", "iptables"}}),
              IsEmpty());
}

}  // namespace
}  // namespace weft::agent
