// weftd's configuration file: YAML, every key known, documented in deploy/weftd.yaml.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "config/cluster_access.h"
#include "config/kubernetes_access.h"
#include "model/objects.h"

namespace weft::agent {

struct Config : config::ClusterAccess, config::KubernetesAccess {
  std::string instance = "default";         // names the pins below bpffs
  std::string node;                         // when empty: NODE_NAME of the environment, or else the host name
  std::string state_dir = "/var/lib/weft";  // the store: <state_dir>/weft.db
  std::string run_dir = "/run/weft";        // the API socket: <run_dir>/weft.sock
  std::string bpffs = "/sys/fs/bpf/weft";   // pins: <bpffs>/<instance>/
  std::string cgroup_root;                  // for the socket hook; the cgroup v2 mount when empty
  std::vector<Cidr> pod_cidrs;              // one of each family at most
  std::vector<Cidr> service_cidrs;
  std::vector<Cidr> native_cidrs;  // reached without source translation
  // Other nodes from which clients' packets inside their own are taken; docs/xdp.md. None: from nobody.
  std::vector<Cidr> load_balancer_peers;
  bool masquerade = true;
  std::vector<std::string> devices;       // uplinks; those with a default route when empty
  std::uint32_t mtu = 0;                  // of pods; the smallest uplink's when 0
  std::uint32_t quarantine_seconds = 60;  // before a released address is given again
  std::uint32_t flow_table_entries = 0;   // per family; by the node's memory when 0
  std::uint16_t nat_port_min = 49152;
  std::uint16_t nat_port_max = 65535;
  // Services for clients outside the node; docs/services.md.
  std::string zone;      // of this node, for topology hints
  LabelMap node_labels;  // of this node, for selectors of nodes
  std::uint16_t node_port_min = 30000;
  std::uint16_t node_port_max = 32767;
  std::uint16_t lb_port_min = 45056;  // source ports towards backends on other nodes
  std::uint16_t lb_port_max = 49151;
  model::Algorithm service_algorithm = model::Algorithm::random;   // of Services without an annotation
  model::Forwarding service_forwarding = model::Forwarding::snat;  // likewise
  std::uint32_t maglev_table_size = 16381;
  std::uint32_t service_hash_seed = 0;  // the same on every node that serves the same addresses
  std::uint32_t service_table_entries = 65536;
  std::uint32_t backend_table_entries = 131072;
  std::uint32_t slot_table_entries = 1048576;
  std::uint32_t remote_table_entries = 262144;  // addresses of other nodes' pods
  bool external_ips = true;                     // Services may name addresses of their own (spec.externalIPs)
  enum class Xdp { automatic, native, generic, off };
  Xdp xdp = Xdp::automatic;
  bool events = true;
  std::uint32_t flow_history = 4096;  // flows kept for `weft observe`
  std::string log_level = "info";     // error, warn, info, debug
  std::string log_file;               // standard error when empty
  // Other nodes; docs/nodes.md. `embedded` knows none: the node is by itself. `kubernetes`: what they share is in the
  // API server (docs/kubernetes.md).
  enum class Store { embedded, etcd, kubernetes };
  Store store = Store::embedded;
  // Where Pods, Services and policies come from: users apply them, or a Kubernetes API server has them.
  enum class ObjectSource { applied, kubernetes };
  ObjectSource objects = ObjectSource::applied;
  std::vector<IpAddress> node_addresses;  // of no file: those by which its Node object says that others know it
  // Which blocks of pod_cidrs a node takes: any that are free, or those in its Node object's spec.podCIDRs.
  enum class NodeCidrs { pools, kubernetes };
  NodeCidrs node_cidrs = NodeCidrs::pools;
  std::vector<Cidr> own_cidrs;           // of no file: those of its Node object
  std::vector<std::string> api_servers;  // of no file: "10.0.0.1:6443", the API server's, as was heard last
  // Where the agent installs the plugin and the list that tells the runtime of it; empty: it does not.
  std::string cni_bin_dir;
  std::string cni_conf_dir;
  std::string cni_conf_name = "05-weft.conflist";
  std::uint32_t pod_block_length_v4 = 24;  // of a node's share of pod_cidrs
  std::uint32_t pod_block_length_v6 = 64;
  enum class Tunnel { none, vxlan, geneve, ipip };
  Tunnel tunnel = Tunnel::none;
  enum class TunnelScope { always, cross_subnet };
  TunnelScope tunnel_scope = TunnelScope::always;
  std::uint16_t tunnel_port = 8472;  // of VXLAN
  // What speaks BGP for BGPPeerings; docs/bgp.md. `automatic`: BIRD or FRR, which of them is installed.
  enum class BgpSpeaker { automatic, bird, frr, none };
  BgpSpeaker bgp_speaker = BgpSpeaker::automatic;
  bool edge = false;  // away for however long, the node keeps what it has
  // The cluster's duties (docs/nodes.md): an agent does them while there is no operator, or leaves them to operators.
  enum class OperatorUse { automatic, external };
  OperatorUse operator_use = OperatorUse::automatic;
  enum class Encryption { none, wireguard };
  Encryption encryption = Encryption::none;  // of pods' packets to other nodes; takes the tunnel's place
  bool encryption_strict = false;            // nothing goes to a node whose key is not known
  bool encryption_node_to_node = false;      // what the nodes themselves say to each other, too
  std::uint16_t wireguard_port = 51871;      // and the next one, while keys change
  std::uint32_t wireguard_rotate_seconds = 0;
  std::uint32_t wireguard_keepalive_seconds = 0;

  // The node's own sockets are to leave these alone: lb_port_* and, with masquerade, nat_port_*, as the kernel
  // writes a list of ports, in order and neighbours joined.
  [[nodiscard]] std::string reserved_ports() const;
  // What selectors of nodes see: node_labels, the name and the zone under their well-known keys.
  [[nodiscard]] LabelMap labels() const;
  [[nodiscard]] bool clustered() const { return store != Store::embedded; }
  // What keeps what nodes share, for messages.
  [[nodiscard]] std::string_view store_name() const {
    return store == Store::kubernetes ? "the Kubernetes API server" : "etcd";
  }
  // Services get their addresses and ports from this node: neither from the cluster nor from an API server.
  [[nodiscard]] bool gives_numbers() const { return !clustered() && objects == ObjectSource::applied; }
  [[nodiscard]] bool encrypts() const { return clustered() && encryption == Encryption::wireguard; }
  // Whether pods' packets may leave inside others.
  [[nodiscard]] bool tunnels() const { return tunnel != Tunnel::none || encrypts(); }
  // What pods' packets grow by on their way to another node, in IPv4 or IPv6: in the tunnel (0 where they go as they
  // are), encrypted, and at most.
  [[nodiscard]] std::uint32_t tunnel_overhead(bool outer_v4) const;
  [[nodiscard]] static std::uint32_t wireguard_overhead(bool outer_v4) { return outer_v4 ? 60 : 80; }
  [[nodiscard]] std::uint32_t overhead(bool outer_v4) const;
  [[nodiscard]] std::string socket_path() const { return run_dir + "/weft.sock"; }
  [[nodiscard]] std::string bgp_path() const { return run_dir + "/bgp"; }
  [[nodiscard]] std::string store_path() const { return state_dir + "/weft.db"; }
  [[nodiscard]] std::string pin_path() const { return bpffs + "/" + instance; }
};

std::string_view to_string(Config::Tunnel tunnel);

// An unknown key, a wrong type or value is an error "<file>:<line>:<column>: <key>: ...".
Result<Config> parse_config(const std::string& file, std::string_view text);
// For taking away what a node has: where things are. What else is wrong in the file, ranges for one, must not keep it.
Result<Config> load_config_for_cleanup(const std::string& path);
Result<Config> load_config(const std::string& path);  // an empty path: the defaults

}  // namespace weft::agent
