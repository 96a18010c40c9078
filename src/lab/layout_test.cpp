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
  const Layout layout(std::string(longest_lab_name, 'x'), {});
  EXPECT_LT(layout.node().socket().size(), 108U);
  EXPECT_LT(layout.supervisor_socket().size(), 108U);
}

}  // namespace
}  // namespace weft::lab
