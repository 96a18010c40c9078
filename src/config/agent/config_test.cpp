#include "config/agent/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <filesystem>

#include <cstdlib>
#include <fstream>

namespace weft::agent {
namespace {

using ::testing::HasSubstr;

std::string problem(std::string_view text) {
  const auto config = parse_config("weftd.yaml", text);
  return config ? "accepted" : config.error().message;
}

TEST(Config, AnEmptyFileGivesTheDefaults) {
  for (const auto* text : {"", "# only a comment\n", "---\n", "{}"}) {
    const auto config = parse_config("weftd.yaml", text);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->instance, "default");
    EXPECT_EQ(config->pod_cidrs.size(), 2U);
    EXPECT_EQ(config->service_cidrs.size(), 2U);
    EXPECT_FALSE(config->node.empty());
    EXPECT_EQ(config->socket_path(), "/run/weft/weft.sock");
    EXPECT_EQ(config->store_path(), "/var/lib/weft/weft.db");
    EXPECT_EQ(config->pin_path(), "/sys/fs/bpf/weft/default");
  }
}

TEST(Config, RangesThatCannotBeUsedAreRefused) {
  EXPECT_THAT(problem("mtu: 100"), HasSubstr("mtu: expected 0 or at least 1280, found 100"));
  EXPECT_THAT(problem("mtu: 100\npod_cidrs: [10.1.0.0/24]"), HasSubstr("at least 576"));
  EXPECT_EQ(problem("mtu: 1000\npod_cidrs: [10.1.0.0/24]"), "accepted");
  EXPECT_THAT(problem("pod_cidrs: [10.1.0.0/32]"), HasSubstr("weftd.yaml: pod_cidrs: 10.1.0.0/32 is too small"));
  EXPECT_THAT(problem("service_cidrs: [10.2.0.0/31]"), HasSubstr("too small"));
  EXPECT_THAT(problem("pod_cidrs: [\"fd00::/128\"]"), HasSubstr("too small"));
  EXPECT_THAT(problem("pod_cidrs: [127.0.0.0/8]"), HasSubstr("127.0.0.0/8, which no host routes"));
  EXPECT_THAT(problem("pod_cidrs: [127.1.0.0/24]"), HasSubstr("no host routes"));
  EXPECT_THAT(problem("service_cidrs: [0.0.0.0/0]"), HasSubstr("no host routes"));
  EXPECT_THAT(problem("service_cidrs: [\"fe80::/64\"]"), HasSubstr("no host routes"));
  EXPECT_THAT(problem("service_cidrs: [224.0.0.0/24]"), HasSubstr("no host routes"));
  EXPECT_EQ(problem("pod_cidrs: []"), "accepted");  // a node without pods of its own
  EXPECT_EQ(problem("pod_cidrs: [10.1.0.0/29]"), "accepted");
}

TEST(Config, AClusterNeedsToBeReachedAndCutIntoBlocks) {
  EXPECT_THAT(problem("store: etcd"), HasSubstr("etcd_endpoints is empty"));
  EXPECT_THAT(problem("store: mysql"), HasSubstr("expected embedded, etcd or kubernetes"));
  EXPECT_THAT(problem("etcd_endpoints: [\"http://a:1\"]"), HasSubstr("store is embedded"));
  EXPECT_THAT(problem("tunnel: vxlan"), HasSubstr("store is embedded, which knows none"));
  EXPECT_THAT(problem("edge: true"), HasSubstr("edge: true keeps what others would take, but store is embedded"));
  EXPECT_THAT(problem("operator: external"), HasSubstr("but store is embedded"));
  EXPECT_EQ(problem("edge: false\noperator: auto"), "accepted");
  EXPECT_THAT(problem("run_dir: /" + std::string(97, 'r')), HasSubstr("run_dir: the socket"));
  EXPECT_EQ(problem("run_dir: /" + std::string(96, 'r')), "accepted");
  const std::string cluster = "store: etcd\netcd_endpoints: [\"http://a:1\"]\n";
  EXPECT_EQ(problem(cluster), "accepted");
  EXPECT_THAT(problem(cluster + "pod_cidrs: [10.0.0.0/25]"), HasSubstr("a block of /24 is larger than"));
  EXPECT_THAT(problem(cluster + "lease_seconds: 30\nreclaim_seconds: 59"), HasSubstr("less than twice"));
  EXPECT_THAT(problem(cluster + "tunnel: gre"), HasSubstr("expected none, vxlan, geneve or ipip"));
  EXPECT_EQ(parse_config("weftd.yaml", cluster)->pod_cidrs.front().length(), 16U);
}

TEST(Config, EncryptionIsBetweenNodesOfACluster) {
  const std::string cluster = "store: etcd\netcd_endpoints: [\"http://a:1\"]\n";
  EXPECT_EQ(problem(cluster + "encryption: wireguard\nencryption_strict: true"), "accepted");
  EXPECT_THAT(problem("encryption: wireguard"), HasSubstr("store is embedded"));
  EXPECT_THAT(problem(cluster + "encryption: ipsec"), HasSubstr("expected none or wireguard"));
  EXPECT_THAT(problem(cluster + "encryption_strict: true"), HasSubstr("there is no encryption to be so"));
  EXPECT_THAT(problem(cluster + "encryption_node_to_node: true"), HasSubstr("there is no encryption to be so"));
  EXPECT_THAT(problem(cluster + "encryption: wireguard\nwireguard_port: 65535"), HasSubstr("a number from 1 to 65534"));
  EXPECT_THAT(problem(cluster + "encryption: wireguard\ntunnel: vxlan\nwireguard_port: 8471"),
              HasSubstr("but 8472 is a tunnel's"));
}

TEST(Config, ATunnelTakesItsRoom) {
  Config config;
  EXPECT_EQ(config.tunnel_overhead(true), 0U);
  config.tunnel = Config::Tunnel::vxlan;
  EXPECT_EQ(config.tunnel_overhead(true), 50U);
  EXPECT_EQ(config.tunnel_overhead(false), 70U);
  config.tunnel = Config::Tunnel::geneve;
  EXPECT_EQ(config.tunnel_overhead(true), 36U);
  config.tunnel = Config::Tunnel::ipip;
  EXPECT_EQ(config.tunnel_overhead(true), 20U);
  EXPECT_EQ(config.overhead(true), 20U);
  config.store = Config::Store::etcd;
  config.encryption = Config::Encryption::wireguard;
  EXPECT_EQ(config.overhead(true), 80U);
  EXPECT_EQ(config.overhead(false), 100U);
  EXPECT_TRUE(config.tunnels());
}

TEST(Config, WhatIsNoYamlIsSaidInWords) {
  EXPECT_THAT(problem("a: [1"), HasSubstr("weftd.yaml:"));
  EXPECT_THAT(problem("a: [1"), HasSubstr("not YAML"));
}

TEST(Config, EveryKeyIsRead) {
  const auto config = parse_config("weftd.yaml", R"(
instance: blue-1
node: node-7
state_dir: /tmp/state
run_dir: /tmp/run
bpffs: /tmp/bpf
cgroup_root: /tmp/cgroup
pod_cidrs: [10.1.0.0/16]
service_cidrs: ["fd02::/112", 10.2.0.0/16]
native_cidrs: [192.168.0.0/16, 172.16.0.0/12]
load_balancer_peers: [192.0.2.7, "2001:db8::7", 198.51.100.0/28]
masquerade: false
devices: [eth0, eth1]
mtu: 1400
quarantine_seconds: 5
flow_table_entries: 4096
nat_port_min: 40000
nat_port_max: 45000
zone: west
node_labels: {rack: "7", example.com/disk: ssd}
node_port_min: 20000
node_port_max: 21000
lb_port_min: 50000
lb_port_max: 51000
service_algorithm: maglev
service_forwarding: dsr-geneve
maglev_table_size: 2039
service_hash_seed: 7
service_table_entries: 128
backend_table_entries: 256
slot_table_entries: 4096
remote_table_entries: 512
xdp: native
external_ips: false
events: no
flow_history: 100
log_level: debug
log_file: /tmp/log
store: etcd
cluster: west
etcd_endpoints: ["https://10.0.0.1:2379", "https://10.0.0.2:2379"]
etcd_ca_file: /ca
etcd_certificate_file: /cert
etcd_key_file: /key
etcd_user: weft
etcd_password_file: /password
pod_block_length_v4: 26
pod_block_length_v6: 80
tunnel: geneve
tunnel_scope: cross-subnet
tunnel_port: 4789
encryption: wireguard
encryption_strict: true
encryption_node_to_node: true
wireguard_port: 5000
wireguard_rotate_seconds: 86400
wireguard_keepalive_seconds: 25
lease_seconds: 5
reclaim_seconds: 60
edge: true
)");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->instance, "blue-1");
  EXPECT_EQ(config->node, "node-7");
  EXPECT_EQ(config->store_path(), "/tmp/state/weft.db");
  EXPECT_EQ(config->socket_path(), "/tmp/run/weft.sock");
  EXPECT_EQ(config->pin_path(), "/tmp/bpf/blue-1");
  EXPECT_EQ(config->cgroup_root, "/tmp/cgroup");
  EXPECT_THAT(config->pod_cidrs, ::testing::ElementsAre(*Cidr::parse("10.1.0.0/16")));
  EXPECT_EQ(config->service_cidrs.size(), 2U);
  EXPECT_EQ(config->native_cidrs.size(), 2U);
  EXPECT_THAT(config->load_balancer_peers,
              ::testing::ElementsAre(*Cidr::parse("192.0.2.7/32"), *Cidr::parse("2001:db8::7/128"),
                                     *Cidr::parse("198.51.100.0/28")));
  EXPECT_FALSE(config->masquerade);
  EXPECT_THAT(config->devices, ::testing::ElementsAre("eth0", "eth1"));
  EXPECT_EQ(config->mtu, 1400U);
  EXPECT_EQ(config->quarantine_seconds, 5U);
  EXPECT_EQ(config->flow_table_entries, 4096U);
  EXPECT_EQ(config->nat_port_min, 40000);
  EXPECT_EQ(config->nat_port_max, 45000);
  EXPECT_EQ(config->zone, "west");
  EXPECT_EQ(config->labels(), (LabelMap{{"example.com/disk", "ssd"},
                                        {"kubernetes.io/hostname", "node-7"},
                                        {"rack", "7"},
                                        {"topology.kubernetes.io/zone", "west"}}));
  EXPECT_EQ(config->node_port_min, 20000);
  EXPECT_EQ(config->node_port_max, 21000);
  EXPECT_EQ(config->lb_port_min, 50000);
  EXPECT_EQ(config->lb_port_max, 51000);
  EXPECT_EQ(config->service_algorithm, model::Algorithm::maglev);
  EXPECT_EQ(config->service_forwarding, model::Forwarding::dsr_geneve);
  EXPECT_EQ(config->maglev_table_size, 2039U);
  EXPECT_EQ(config->service_hash_seed, 7U);
  EXPECT_EQ(config->service_table_entries, 128U);
  EXPECT_EQ(config->backend_table_entries, 256U);
  EXPECT_EQ(config->store, Config::Store::etcd);
  EXPECT_EQ(config->cluster, "west");
  EXPECT_EQ(config->etcd_endpoints.size(), 2U);
  EXPECT_EQ(config->etcd_ca_file + config->etcd_certificate_file + config->etcd_key_file, "/ca/cert/key");
  EXPECT_EQ(config->etcd_user + config->etcd_password_file, "weft/password");
  EXPECT_EQ(config->pod_block_length_v4, 26U);
  EXPECT_EQ(config->pod_block_length_v6, 80U);
  EXPECT_EQ(config->tunnel, Config::Tunnel::geneve);
  EXPECT_EQ(config->tunnel_scope, Config::TunnelScope::cross_subnet);
  EXPECT_EQ(config->tunnel_port, 4789);
  EXPECT_TRUE(config->encrypts());
  EXPECT_TRUE(config->encryption_strict);
  EXPECT_TRUE(config->encryption_node_to_node);
  EXPECT_EQ(config->wireguard_port, 5000);
  EXPECT_EQ(config->wireguard_rotate_seconds, 86400U);
  EXPECT_EQ(config->wireguard_keepalive_seconds, 25U);
  EXPECT_EQ(config->lease_seconds, 5U);
  EXPECT_EQ(config->reclaim_seconds, 60U);
  EXPECT_TRUE(config->edge);
  EXPECT_EQ(config->slot_table_entries, 4096U);
  EXPECT_EQ(config->remote_table_entries, 512U);
  EXPECT_EQ(config->xdp, Config::Xdp::native);
  EXPECT_FALSE(config->external_ips);
  EXPECT_FALSE(config->events);
  EXPECT_EQ(config->flow_history, 100U);
  EXPECT_EQ(config->log_level, "debug");
  EXPECT_EQ(config->log_file, "/tmp/log");
}

TEST(Config, AnUnknownKeyIsRefusedWithItsPlace) {
  EXPECT_THAT(problem("mtu: 1400\n  \nmtuu: 3\n"), HasSubstr("weftd.yaml:3:1: unknown key \"mtuu\""));
  EXPECT_THAT(problem("[1]: 3\n"), HasSubstr("weftd.yaml:1:1: unknown key"));
}

TEST(Config, AKeyGivenTwiceIsRefused) {
  EXPECT_THAT(problem("mtu: 1400\nevents: true\nmtu: 1300\n"), HasSubstr("weftd.yaml:3:1: mtu"));
}

TEST(Config, WrongTypesAndValuesAreRefusedWithTheirPlace) {
  EXPECT_THAT(problem("mtu: big"), HasSubstr("weftd.yaml:1:6: mtu: expected a number from 0 to 65535, found \"big\""));
  EXPECT_THAT(problem("mtu: 70000"), HasSubstr("found 70000"));
  EXPECT_THAT(problem("mtu: -1"), HasSubstr("found -1"));
  EXPECT_THAT(problem("mtu: [1]"), HasSubstr("mtu: expected a number"));
  EXPECT_THAT(problem("masquerade: perhaps"), HasSubstr("expected true or false, found \"perhaps\""));
  EXPECT_THAT(problem("node: {a: b}"), HasSubstr("node: expected text"));
  EXPECT_THAT(problem("node_labels: [a]"), HasSubstr("node_labels: expected labels"));
  EXPECT_THAT(problem("node_labels: {-a: b}"), HasSubstr("\"-a\" is no key of a label"));
  EXPECT_THAT(problem("node_labels: {a: b c}"), HasSubstr("a: \"b c\" is no value of a label"));
  EXPECT_THAT(problem("node_labels: {a: b, a: c}"), HasSubstr("a is given twice"));
  EXPECT_THAT(problem("devices: eth0"), HasSubstr("devices: expected a list"));
  EXPECT_THAT(problem("devices: [[eth0]]"), HasSubstr("devices: expected text"));
  EXPECT_THAT(problem("pod_cidrs: [10.0.0.0/33]"), HasSubstr("pod_cidrs"));
  EXPECT_THAT(problem("pod_cidrs: [10.0.0.0/24, 10.1.0.0/24]"), HasSubstr("second of its family"));
  EXPECT_THAT(problem("log_level: loud"), HasSubstr("expected error, warn, info or debug, found \"loud\""));
  EXPECT_THAT(problem("nat_port_min: 80"), HasSubstr("from 1024"));
  EXPECT_THAT(problem("- a\n- b\n"), HasSubstr("expected a mapping"));
  EXPECT_THAT(problem("just text"), HasSubstr("expected a mapping"));
}

TEST(Config, ReservedPortsAreWrittenAsTheKernelDoes) {
  const auto reserved = [](const std::string& text) { return parse_config("weftd.yaml", text)->reserved_ports(); };
  EXPECT_EQ(reserved(""), "45056-65535");
  EXPECT_EQ(reserved("masquerade: false"), "45056-49151");
  EXPECT_EQ(reserved("lb_port_min: 65001\nlb_port_max: 65001\nnat_port_max: 65000"), "49152-65001");
  EXPECT_EQ(reserved("lb_port_min: 40000\nlb_port_max: 40000"), "40000,49152-65535");
  EXPECT_EQ(reserved("lb_port_min: 60000\nnat_port_min: 49152\nnat_port_max: 50000\nlb_port_max: 60999"),
            "49152-50000,60000-60999");
}

TEST(Config, WhatContradictsItselfIsRefused) {
  EXPECT_THAT(problem("nat_port_min: 50000\nnat_port_max: 40000"), HasSubstr("nat_port_min is above nat_port_max"));
  EXPECT_THAT(problem("node_port_min: 300\nnode_port_max: 200"), HasSubstr("node_port_min is above node_port_max"));
  EXPECT_THAT(problem("lb_port_min: 49000\nlb_port_max: 48000"), HasSubstr("lb_port_min is above lb_port_max"));
  EXPECT_THAT(problem("lb_port_max: 49152"), HasSubstr("nat_port_max overlap"));
  EXPECT_THAT(problem("node_port_max: 45056"), HasSubstr("overlaps with the ports of translation"));
  EXPECT_THAT(problem("maglev_table_size: 1000"), HasSubstr("not a prime"));
  EXPECT_THAT(problem("xdp: fast"), HasSubstr("expected auto, native, generic or off, found \"fast\""));
  EXPECT_THAT(problem("pod_cidrs: [10.96.0.0/12]"), HasSubstr("overlap"));
  EXPECT_THAT(problem("pod_cidrs: [10.96.4.0/24]"), HasSubstr("overlap"));
  EXPECT_THAT(problem("instance: ../up"), HasSubstr("instance"));
  EXPECT_THAT(problem("instance: \"\""), HasSubstr("instance"));
  EXPECT_THAT(problem("instance: " + std::string(101, 'a')), HasSubstr("instance"));
}

TEST(Config, OnlyOtherNodesArePeers) {
  EXPECT_EQ(problem("load_balancer_peers: []"), "accepted");
  EXPECT_EQ(problem("load_balancer_peers: [192.0.2.7, \"2001:db8::7\", 198.51.100.0/28]"), "accepted");
  EXPECT_THAT(problem("load_balancer_peers: [node-7]"),
              HasSubstr("weftd.yaml:1:22: load_balancer_peers: \"node-7\" is neither an address nor a CIDR"));
  EXPECT_THAT(problem("load_balancer_peers: 192.0.2.7"), HasSubstr("expected a list"));
  EXPECT_THAT(problem("load_balancer_peers: [0.0.0.0/0]"), HasSubstr("no host routes"));
  EXPECT_THAT(problem("load_balancer_peers: [\"fe80::7\"]"), HasSubstr("no host routes"));
  EXPECT_THAT(problem("load_balancer_peers: [10.244.0.0/16]"),
              HasSubstr("load_balancer_peers 10.244.0.0/16 and pod_cidrs 10.244.0.0/24 overlap"));
  EXPECT_THAT(problem("load_balancer_peers: [10.244.0.9]"), HasSubstr("pod_cidrs"));
  EXPECT_THAT(problem("load_balancer_peers: [10.96.0.1]"), HasSubstr("service_cidrs"));
}

TEST(Config, BrokenYamlNamesItsPlace) {
  EXPECT_THAT(problem("mtu: [1\n"), HasSubstr("weftd.yaml:"));
  EXPECT_THAT(problem("mtu: 'a\n"), HasSubstr("weftd.yaml:"));
  EXPECT_NE(problem(std::string(100000, '[')), "accepted");
}

TEST(Config, AMissingFileIsNamed) {
  const auto config = load_config("/nonexistent/weftd.yaml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, ErrorCode::not_found);
  EXPECT_THAT(config.error().message, HasSubstr("/nonexistent/weftd.yaml"));
  EXPECT_TRUE(load_config(""));
}

// Every key is in the file that is shipped, commented, with its default.
TEST(Config, TheShippedFileShowsEveryKeyWithItsDefault) {
  std::ifstream file(WEFT_SHIPPED_CONFIG);
  std::string text;
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("# ") && line.find(": ") != std::string::npos &&
        line.find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789", 2) == line.find(": "))
      text += line.substr(2) + "\n";
  for (const auto* key : {"cni_bin_dir", "cni_conf_dir", "cni_conf_name", "kubernetes_servers", "node"})
    EXPECT_THAT(text, HasSubstr(std::string(key) + ": "));
  const auto shown = parse_config("weftd.yaml", text);
  ASSERT_TRUE(shown) << shown.error().text() << "\n" << text;
  const auto defaults = parse_config("weftd.yaml", "");
  EXPECT_EQ(shown->cni_conf_name, defaults->cni_conf_name);
  EXPECT_EQ(shown->node, defaults->node);
  EXPECT_EQ(shown->reserved_ports(), defaults->reserved_ports());
}

TEST(Config, WhereThePluginIsInstalled) {
  EXPECT_TRUE(parse_config("weftd.yaml", "")->cni_conf_dir.empty()) << "nowhere, unless it is asked for";
  const auto config = parse_config("weftd.yaml", "cni_bin_dir: /opt/cni/bin\ncni_conf_dir: /etc/cni/net.d\n");
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->cni_bin_dir + config->cni_conf_dir + config->cni_conf_name,
            "/opt/cni/bin/etc/cni/net.d05-weft.conflist");
  EXPECT_THAT(problem("cni_bin_dir: opt"), HasSubstr("cni_bin_dir: expected an absolute path"));
  for (const auto* name : {"weft.conf", "\"\"", "a/b.conflist", ".conflist", ".x.conflist"})
    EXPECT_THAT(problem(std::string("cni_conf_name: ") + name), HasSubstr("cni_conf_name: expected")) << name;
}

TEST(Config, ANodesNameIsTheFilesOrThePodsOrTheHosts) {
  ::setenv("NODE_NAME", "worker-7", 1);
  EXPECT_EQ(parse_config("weftd.yaml", "")->node, "worker-7");
  EXPECT_EQ(parse_config("weftd.yaml", "node: \"\"")->node, "worker-7");
  EXPECT_EQ(parse_config("weftd.yaml", "node: other")->node, "other");
  ::unsetenv("NODE_NAME");
  EXPECT_FALSE(parse_config("weftd.yaml", "node: \"\"")->node.empty());
}

TEST(Config, ObjectsOfKubernetes) {
  const auto config = parse_config("weftd.yaml",
                                   "objects: kubernetes\nkubeconfig: /etc/k\nkubernetes_context: east\n"
                                   "kubernetes_servers: [\"https://10.0.0.1:6443\", 10.0.0.2:6443]\n");
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->objects, Config::ObjectSource::kubernetes);
  EXPECT_EQ(config->kubeconfig, "/etc/k");
  EXPECT_THAT(config->kubernetes_servers, testing::SizeIs(2));
  EXPECT_TRUE(parse_config("weftd.yaml", "objects: kubernetes\n")) << "from inside a pod";
  const auto stored = parse_config("weftd.yaml",
                                   "objects: kubernetes\nstore: kubernetes\nnode_cidrs: kubernetes\n"
                                   "pod_cidrs: [10.244.0.0/16]\n");
  ASSERT_TRUE(stored) << stored.error().text();
  EXPECT_EQ(stored->store_name(), "the Kubernetes API server");
  EXPECT_EQ(stored->node_cidrs, Config::NodeCidrs::kubernetes);
  for (const auto* wrong :
       {"objects: files\n", "kubeconfig: /etc/k\n", "kubernetes_servers: [\"https://a\"]\n",
        "objects: kubernetes\nkubernetes_servers: [\"ftp://a\"]\n", "objects: kubernetes\nkubernetes_context: east\n",
        "store: kubernetes\npod_cidrs: [10.244.0.0/16]\n", "objects: kubernetes\nnode_cidrs: kubernetes\n",
        "store: etcd\netcd_endpoints: [\"http://a:1\"]\npod_cidrs: [10.244.0.0/16]\nnode_cidrs: kubernetes\n",
        "objects: kubernetes\nstore: kubernetes\npod_cidrs: [10.244.0.0/16]\nnode_cidrs: nodes\n"})
    EXPECT_FALSE(parse_config("weftd.yaml", wrong)) << wrong;
}

// A node is cleaned whatever else the file says.
TEST(Config, WhatIsToBeTakenAwayIsFoundInAFileThatIsRefused) {
  const auto path = std::filesystem::temp_directory_path() / ("weft-cleanup-" + std::to_string(::getpid()) + ".yaml");
  std::ofstream(path)
      << "state_dir: /var/lib/other\ncni_conf_dir: /host/net.d\npod_cidrs: [10.244.0.0/33]\nnosuch: 4\n";
  EXPECT_FALSE(load_config(path));
  const auto config = load_config_for_cleanup(path);
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->state_dir, "/var/lib/other");
  EXPECT_EQ(config->cni_conf_dir, "/host/net.d");
  std::ofstream(path) << "state_dir: [x]\n";
  EXPECT_FALSE(load_config_for_cleanup(path)) << "where things are must be known";
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace weft::agent
