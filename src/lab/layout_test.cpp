#include "lab/layout.h"

#include <gmock/gmock.h>

namespace weft::lab {
namespace {

TEST(LabName, Syntax) {
  for (const auto* good : {"a", "default", "lab-1", "0", "abcdefghijklmnopqrstuvwxyz012345"})
    EXPECT_TRUE(check_lab_name(good)) << good;
  for (const auto* bad : {"", "-a", "a-", "A", "a.b", "a/b", "..", "a b", "abcdefghijklmnopqrstuvwxyz0123456"})
    EXPECT_FALSE(check_lab_name(bad)) << bad;
}

TEST(Layout, EverythingIsNamedAfterTheLab) {
  const Layout layout("shop", {});
  EXPECT_EQ(layout.node().netns, "weft-shop-node1");
  EXPECT_EQ(layout.world_netns(), "weft-shop-world");
  EXPECT_EQ(layout.neighbour_netns(), "weft-shop-host1");
  EXPECT_EQ(layout.node().socket(), "/run/weft/lab/shop/node1/weft.sock");
  EXPECT_EQ(layout.node().state_dir, "/var/lib/weft/lab/shop/node1");
  EXPECT_EQ(layout.node().bpffs, "/sys/fs/bpf/weft/lab-shop-node1");
  EXPECT_EQ(layout.pod_netns("web", "a-0"), "weft-shop.web.a-0");
}

TEST(Layout, ANodeByItselfIsTheFirstOfMany) {
  const Layout one("shop", {});
  const Layout many("shop", {}, {.nodes = 32, .store = "etcd"});
  ASSERT_EQ(many.nodes().size(), 32U);
  EXPECT_EQ(one.node().address_v4, "192.0.2.2");
  EXPECT_EQ(one.node().address_v6, "2001:db8:0:1::2");
  EXPECT_EQ(one.node().cgroup, "") << "all of the hierarchy";
  EXPECT_EQ(many.node().address_v4, one.node().address_v4);
  EXPECT_EQ(many.node().netns, one.node().netns);
  EXPECT_EQ(many.nodes()[31].name, "node32");
  EXPECT_EQ(many.nodes()[31].address_v4, "192.0.2.132");
  EXPECT_EQ(many.nodes()[31].cgroup, "weft-lab-shop-node32");
  EXPECT_EQ(many.nodes()[11].pod_cidrs[1], "fd00:10:244:b::/64");
  EXPECT_EQ(many.find_node("node7")->number, 7U);
  EXPECT_EQ(many.find_node("node33"), nullptr);
}

TEST(Layout, RoutedNodesHaveNetworksOfTheirOwn) {
  const Layout routed("shop", {}, {.nodes = 3, .underlay = Underlay::routed});
  ASSERT_EQ(routed.networks().size(), 4U) << "and that of the world and host1";
  EXPECT_EQ(routed.nodes()[2].address_v4, "198.18.3.2");
  EXPECT_EQ(routed.nodes()[2].gateway_v6, "2001:db8:0:103::1");
  const Layout mixed("shop", {}, {.nodes = 4, .underlay = Underlay::mixed, .underlay_family = "4"});
  EXPECT_EQ(mixed.nodes()[0].network, mixed.nodes()[2].network);
  EXPECT_NE(mixed.nodes()[0].network, mixed.nodes()[1].network);
  EXPECT_EQ(mixed.nodes()[3].address_v4, "198.18.2.104");
  EXPECT_EQ(mixed.nodes()[3].address_v6, "");
  EXPECT_TRUE(mixed.etcd().empty());
  const Layout shared("shop", {}, {.nodes = 2, .store = "etcd", .etcd_members = 3});
  EXPECT_EQ(shared.etcd().front().client_url(), "http://192.0.2.1:2379");
  EXPECT_EQ(shared.etcd().back().peer_url(), "http://192.0.2.5:2380");
  EXPECT_NE(shared.find_etcd("etcd3"), nullptr);
  EXPECT_EQ(shared.find_etcd("etcd4"), nullptr);
  const Layout v6("shop", {}, {.nodes = 2, .store = "etcd", .etcd_members = 2, .underlay_family = "6"});
  EXPECT_EQ(v6.etcd().front().client_url(), "http://[2001:db8:0:1::1]:2379");
  EXPECT_EQ(v6.etcd().back().client_url(), "http://[2001:db8:0:1::4]:2379");
}

TEST(Layout, InstancesAndNamespacesOfEveryNodeBelongToTheirLab) {
  const Layout layout("a-b", {}, {.nodes = 12});
  for (const auto& node : layout.nodes()) {
    EXPECT_EQ(lab_of_netns(node.netns), "a-b");
    EXPECT_EQ(lab_of_instance(node.instance), "a-b");
  }
  for (const auto* other : {"", "lab-", "lab-a", "lab-a-host1", "lab--node1", "lab-a-node", "lab-A-node1", "a-node1"})
    EXPECT_EQ(lab_of_instance(other), std::nullopt) << other;
}

TEST(Layout, NamesOfDifferentLabsNeverMeet) {
  const Layout a("a", {});
  const Layout ab("a-b", {});
  EXPECT_NE(a.pod_netns("b-c", "d"), ab.pod_netns("c", "d"));
  EXPECT_NE(a.pod_netns("b", "node1"), ab.node().netns);
  EXPECT_EQ(lab_of_netns(a.pod_netns("b", "node1")), "a");
  EXPECT_EQ(lab_of_netns(ab.node().netns), "a-b");
  EXPECT_EQ(lab_of_netns(ab.world_netns()), "a-b");
  EXPECT_EQ(lab_of_netns(ab.neighbour_netns()), "a-b");
  EXPECT_NE(a.container_id("b", "c"), ab.container_id("b", "c"));
  EXPECT_NE(a.container_id("b", "c"), a.container_id("b", "d"));
}

TEST(Layout, ForeignNamespacesBelongToNoLab) {
  for (const auto* name : {"", "cni-1234", "weft-", "weft-a", "weft-test-responder", "weft-a-nodeX", "weft-a-node",
                           "weft-a-host", "weft-.a.b", "weft-A.b.c", "node1"})
    EXPECT_EQ(lab_of_netns(name), std::nullopt) << name;
}

TEST(Layout, LongPodNamesAreCutButStayApart) {
  const Layout layout("shop", {});
  const std::string pod(253, 'p');
  const auto name = layout.pod_netns("web", pod);
  EXPECT_LE(name.size(), 200U);
  EXPECT_EQ(lab_of_netns(name), "shop");
  EXPECT_NE(name, layout.pod_netns("web", pod.substr(1)));
  EXPECT_EQ(name, layout.pod_netns("web", pod));
}

TEST(Layout, PathsFitIntoASocketAddress) {
  const Layout layout(std::string(longest_lab_name, 'x'), {}, {.nodes = 32});
  EXPECT_LT(layout.nodes().back().socket().size(), 108U);
  EXPECT_LT(layout.supervisor_socket().size(), 108U);
}

}  // namespace
}  // namespace weft::lab
