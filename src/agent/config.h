// weftd's configuration file: YAML, every key known, documented in deploy/weftd.yaml.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "model/objects.h"

namespace weft::agent {

struct Config {
  std::string instance = "default";         // names the pins below bpffs
  std::string node;                         // host name when empty
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
  // Other nodes; docs/nodes.md. `embedded` knows none: the node is by itself.
  enum class Store { embedded, etcd };
  Store store = Store::embedded;
  std::string cluster = "default";          // nodes of one cluster share what lies below this name
  std::vector<std::string> etcd_endpoints;  // "https://10.0.0.1:2379"
  std::string etcd_ca_file;
  std::string etcd_certificate_file;
  std::string etcd_key_file;
  std::string etcd_user;
  std::string etcd_password_file;
  std::uint32_t pod_block_length_v4 = 24;  // of a node's share of pod_cidrs
  std::uint32_t pod_block_length_v6 = 64;
  enum class Tunnel { none, vxlan, geneve, ipip };
  Tunnel tunnel = Tunnel::none;
  enum class TunnelScope { always, cross_subnet };
  TunnelScope tunnel_scope = TunnelScope::always;
  std::uint16_t tunnel_port = 8472;  // of VXLAN
  std::uint32_t lease_seconds = 30;
  std::uint32_t reclaim_seconds = 600;

  // The node's own sockets are to leave these alone: lb_port_* and, with masquerade, nat_port_*, as the kernel
  // writes a list of ports, in order and neighbours joined.
  [[nodiscard]] std::string reserved_ports() const;
  // What selectors of nodes see: node_labels, the name and the zone under their well-known keys.
  [[nodiscard]] LabelMap labels() const;
  [[nodiscard]] bool clustered() const { return store == Store::etcd; }
  // What pods' packets grow by on their way to another node, in IPv4 or IPv6; 0 where they go as they are.
  [[nodiscard]] std::uint32_t tunnel_overhead(bool outer_v4) const;
  [[nodiscard]] std::string socket_path() const { return run_dir + "/weft.sock"; }
  [[nodiscard]] std::string store_path() const { return state_dir + "/weft.db"; }
  [[nodiscard]] std::string pin_path() const { return bpffs + "/" + instance; }
};

std::string_view to_string(Config::Tunnel tunnel);

// An unknown key, a wrong type or value is an error "<file>:<line>:<column>: <key>: ...".
Result<Config> parse_config(const std::string& file, std::string_view text);
Result<Config> load_config(const std::string& path);  // an empty path: the defaults

}  // namespace weft::agent
