// What a lab is called and where its parts are. Everything of a lab is found by its name alone, so
// that `down` can take away what a crash left.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "lab/settings.h"

namespace weft::lab {

// The machine's directories; tests put them elsewhere.
struct Roots {
  std::string run = "/run/weft/lab";
  std::string state = "/var/lib/weft/lab";
  std::string bpffs = "/sys/fs/bpf/weft";
};

inline constexpr std::size_t longest_lab_name = 32;
inline constexpr std::string_view default_lab = "default";
inline constexpr std::string_view neighbour_name = "host1";

// Lower-case letters, digits and '-', as in Kubernetes names; at most 32.
Result<void> check_lab_name(std::string_view name);

struct NodeLayout {
  unsigned number = 1;
  std::string name;      // "node1"
  std::string instance;  // "lab-<lab>-node1": names the agent's pins and device group
  std::string netns;     // name below /run/netns
  std::string run_dir;
  std::string state_dir;
  std::string bpffs;  // the agent's pin directory
  // Its own cgroup below the hierarchy's mount; empty for the only node, whose agent has all of it.
  std::string cgroup;
  // On the underlay; empty where the lab has none of the family.
  std::string address_v4;
  std::string address_v6;
  std::string gateway_v4;  // the world's address on the node's network
  std::string gateway_v6;
  unsigned network = 0;                // which of the underlay's networks it is on
  std::vector<std::string> pod_cidrs;  // of the node by itself, without etcd
  [[nodiscard]] std::string socket() const { return run_dir + "/weft.sock"; }
  [[nodiscard]] std::string config_file() const { return run_dir + "/weftd.yaml"; }
  [[nodiscard]] std::string pid_file() const { return run_dir + "/weftd.pid"; }
  [[nodiscard]] std::string log_file() const { return run_dir + "/weftd.log"; }
};

// A weft-operator of the lab; it runs where etcd does.
struct OperatorLayout {
  std::string name;  // "operator1"
  std::string config_file;
  std::string pid_file;
  std::string log_file;
};

// A member of the lab's etcd, a process in the world.
struct EtcdLayout {
  std::string name;  // "etcd1"
  std::string address;
  std::string data;
  std::string pid_file;
  std::string log_file;
  [[nodiscard]] std::string client_url() const;
  [[nodiscard]] std::string peer_url() const;
};

// A network of the underlay: a bridge in the world, which is router between them.
struct NetworkLayout {
  std::string bridge;
  std::string world_v4;  // the world's addresses on it
  std::string world_v6;
  std::uint8_t mac = 0;  // last byte of the bridge's
};

class Layout {
 public:
  // `name` has passed check_lab_name.
  Layout(std::string name, Roots roots, const Settings& settings = {});

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const Roots& roots() const { return roots_; }
  [[nodiscard]] const Settings& settings() const { return settings_; }
  [[nodiscard]] const std::vector<NodeLayout>& nodes() const { return nodes_; }
  [[nodiscard]] const NodeLayout& node() const { return nodes_.front(); }
  [[nodiscard]] const NodeLayout* find_node(std::string_view name) const;
  // not_found, naming the nodes there are.
  [[nodiscard]] Result<const NodeLayout*> need_node(std::string_view name) const;
  [[nodiscard]] std::vector<OperatorLayout> operators() const;
  [[nodiscard]] bool has_operator(std::string_view name) const;
  // The first is that of the world and of host1; it has one also when no node is on it.
  [[nodiscard]] const std::vector<NetworkLayout>& networks() const { return networks_; }

  [[nodiscard]] std::string run_dir() const { return roots_.run + "/" + name_; }
  [[nodiscard]] std::string state_dir() const { return roots_.state + "/" + name_; }
  [[nodiscard]] std::string pods_dir() const { return run_dir() + "/pods"; }  // logs of pods' commands
  [[nodiscard]] std::string supervisor_pid_file() const { return run_dir() + "/supervisor.pid"; }
  [[nodiscard]] std::string supervisor_log() const { return run_dir() + "/supervisor.log"; }
  [[nodiscard]] std::string supervisor_socket() const { return run_dir() + "/supervisor.sock"; }
  [[nodiscard]] std::string settings_file() const { return state_dir() + "/lab.json"; }
  [[nodiscard]] std::string placement_file() const { return state_dir() + "/placement"; }
  [[nodiscard]] std::string conditions_file() const { return state_dir() + "/conditions.json"; }
  // Empty where nodes share nothing.
  [[nodiscard]] const std::vector<EtcdLayout>& etcd() const { return etcd_; }
  [[nodiscard]] const EtcdLayout* find_etcd(std::string_view name) const;
  [[nodiscard]] std::string world_netns() const { return "weft-" + name_ + "-world"; }
  // Another host on the node's network, without Weft: clients outside, backends elsewhere.
  [[nodiscard]] std::string neighbour_netns() const { return "weft-" + name_ + "-" + std::string(neighbour_name); }
  [[nodiscard]] std::string pod_netns(std::string_view namespace_, std::string_view pod) const;
  // Stable, so that an ADD interrupted by a crash is repeated, not doubled.
  [[nodiscard]] std::string container_id(std::string_view namespace_, std::string_view pod) const;

 private:
  [[nodiscard]] NodeLayout node_layout(unsigned number) const;
  [[nodiscard]] EtcdLayout etcd_layout(unsigned number) const;

  std::string name_;
  Roots roots_;
  Settings settings_;
  std::vector<NodeLayout> nodes_;
  std::vector<NetworkLayout> networks_;
  std::vector<EtcdLayout> etcd_;
};

// The lab of an agent's instance, "lab-<lab>-node<N>"; nothing when it is not one.
std::optional<std::string> lab_of_instance(std::string_view name);

// The directories below `roots.bpffs` where agents of this lab's nodes pin.
std::vector<std::string> pins_of(const Roots& roots, std::string_view lab);

// The lab a named network namespace belongs to; nothing when it is not a lab's.
std::optional<std::string> lab_of_netns(std::string_view netns_name);

// Names of labs that have any trace on this machine: directories, namespaces or pins. Sorted.
std::vector<std::string> find_labs(const Roots& roots);
// Names below /run/netns that belong to this lab.
std::vector<std::string> namespaces_of(std::string_view lab);

// What every lab looks like inside. Labs are separate network namespaces, so all have the same
// addresses; those of the world are documentation ranges (RFC 5737, RFC 3849), those of networks of
// routed nodes are of the range for benchmarks of networks (RFC 2544). Nodes' own are in NodeLayout.
namespace addresses {
inline constexpr std::string_view world_v4 = "192.0.2.1";
inline constexpr std::string_view world_v6 = "2001:db8:0:1::1";
inline constexpr std::string_view neighbour_v4 = "192.0.2.3";
inline constexpr std::string_view neighbour_v6 = "2001:db8:0:1::3";
inline constexpr unsigned uplink_length_v4 = 24;
inline constexpr unsigned uplink_length_v6 = 64;
// Further places outside, for ipBlock rules.
inline constexpr std::array<std::string_view, 3> world_places = {"198.51.100.1", "203.0.113.1", "2001:db8:0:2::1"};
// Of the whole lab; a node by itself has the first /24 and /64.
inline constexpr std::array<std::string_view, 2> pod_cidrs = {"10.244.0.0/16", "fd00:10:244::/48"};
inline constexpr std::array<std::string_view, 2> service_cidrs = {"10.96.0.0/16", "fd00:10:96::/112"};
inline constexpr std::string_view uplink = "uplink0";  // of every host, and the world's switch
inline constexpr unsigned etcd_port = 2379;
}  // namespace addresses

}  // namespace weft::lab
