#include "lab/programs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "lab/log.h"
#include "sys/system.h"

namespace weft::lab {
namespace {

constexpr std::string_view cgroup_prefix = "weft-";

std::string find_in_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream directories(path == nullptr ? "/usr/bin:/usr/sbin:/bin" : path);
  for (std::string directory; std::getline(directories, directory, ':');)
    if (auto file = fmt::format("{}/{}", directory, program); ::access(file.c_str(), X_OK) == 0) return file;
  return {};
}

// What all programs of one lab have in common. A lab's nodes go and come back fast.
std::string access_config(const Layout& layout) {
  std::vector<std::string> endpoints;
  for (const auto& member : layout.etcd()) endpoints.push_back(member.client_url());
  return fmt::format("cluster: {}\netcd_endpoints: [\"{}\"]\nlease_seconds: 5\nreclaim_seconds: 30\n", layout.name(),
                     fmt::join(endpoints, "\", \""));
}

std::string cluster_config(const Layout& layout) {
  const Settings& settings = layout.settings();
  return fmt::format(
      "store: etcd\n{}pod_cidrs: [\"{}\"]\n"
      "pod_block_length_v4: 24\npod_block_length_v6: 64\ntunnel: {}\ntunnel_scope: {}\n"
      "encryption: {}\nencryption_strict: {}\nencryption_node_to_node: {}\n",
      access_config(layout), fmt::join(addresses::pod_cidrs, "\", \""), settings.tunnel, settings.tunnel_scope,
      settings.encryption == "none" ? "none" : "wireguard", settings.encryption == "wireguard-strict",
      settings.encryption == "wireguard-nodes");
}

}  // namespace

std::string agent_config(const Layout& layout, const NodeLayout& node) {
  std::string config = fmt::format(
      "# Written by weft lab; a change here is lost.\n"
      "instance: {}\nnode: {}\nstate_dir: {}\nrun_dir: {}\nbpffs: {}\n"
      "service_cidrs: [\"{}\"]\nmasquerade: true\nnative_cidrs: []\ndevices: [{}]\n"
      // Both ends of a lab's uplinks have receive loops (act_like_a_wire).
      "xdp: native\n"
      // A lab's pods come and go fast, and nobody outside remembers their addresses.
      "quarantine_seconds: 5\n",
      node.instance, node.name, node.state_dir, node.run_dir, layout.roots().bpffs,
      fmt::join(addresses::service_cidrs, "\", \""), addresses::uplink);
  if (layout.settings().shared())
    config += cluster_config(layout) + (layout.settings().edge.contains(node.number) ? "edge: true\n" : "");
  else
    config += fmt::format("pod_cidrs: [\"{}\"]\n", fmt::join(node.pod_cidrs, "\", \""));
  if (const auto cgroup = cgroup_directory(node); !cgroup.empty()) config += fmt::format("cgroup_root: {}\n", cgroup);
  // Twenty nodes on one machine; each sees little of its traffic.
  if (layout.nodes().size() > 1)
    config +=
        "flow_table_entries: 65536\nservice_table_entries: 8192\nbackend_table_entries: 16384\n"
        "slot_table_entries: 131072\n";
  return config;
}

supervise::KeptProgram agent_program(const Layout& layout, const NodeLayout& node, const std::string& binary) {
  const auto prepare = [layout, node, binary]() -> Result<std::vector<std::string>> {
    WEFT_CHECK(sys::make_directories(node.run_dir, 0755));
    WEFT_CHECK(sys::make_directories(node.state_dir, 0700));
    WEFT_CHECK(ensure_cgroup(node));
    WEFT_CHECK(sys::write_file_atomically(node.config_file(), agent_config(layout, node), 0644));
    return std::vector<std::string>{binary, "--config", node.config_file()};
  };
  return {.what = "weftd of " + node.name,
          .netns = node.netns,
          .pid_file = node.pid_file(),
          .log_file = node.log_file(),
          .cgroup = cgroup_directory(node),
          .prepare = prepare,
          .log = log_text};
}

supervise::KeptProgram etcd_program(const Layout& layout, const EtcdLayout& member) {
  const auto prepare = [layout, member]() -> Result<std::vector<std::string>> {
    WEFT_CHECK(sys::make_directories(member.data, 0700));
    std::vector<std::string> cluster;
    for (const auto& each : layout.etcd()) cluster.push_back(each.name + "=" + each.peer_url());
    return std::vector<std::string>{
        "etcd", "--name", member.name, "--data-dir", member.data, "--listen-client-urls",
        member.client_url() + (member.name == layout.etcd().front().name ? ",http://127.0.0.1:2379" : ""),
        "--advertise-client-urls", member.client_url(), "--listen-peer-urls", member.peer_url(),
        "--initial-advertise-peer-urls", member.peer_url(), "--initial-cluster",
        fmt::format("{}", fmt::join(cluster, ",")),
        // Short elections make short leases possible.
        "--heartbeat-interval", "50", "--election-timeout", "500", "--logger", "zap", "--log-outputs", "stderr"};
  };
  return {.what = member.name,
          .netns = layout.world_netns(),
          .pid_file = member.pid_file,
          .log_file = member.log_file,
          .cgroup = {},
          .prepare = prepare,
          .environment = {},
          .log = log_text};
}

supervise::KeptProgram operator_program(const Layout& layout, const OperatorLayout& its, const std::string& binary) {
  const auto prepare = [layout, its, binary]() -> Result<std::vector<std::string>> {
    WEFT_CHECK(sys::write_file_atomically(
        its.config_file,
        fmt::format("# Written by weft lab; a change here is lost.\nname: {}\n{}", its.name, access_config(layout)),
        0644));
    return std::vector<std::string>{binary, "--config", its.config_file};
  };
  return {.what = its.name,
          .netns = layout.world_netns(),
          .pid_file = its.pid_file,
          .log_file = its.log_file,
          .cgroup = {},
          .prepare = prepare,
          .log = log_text};
}

Result<void> check_etcd(const Layout& layout) {
  if (!layout.settings().shared() || !find_in_path("etcd").empty()) return {};
  return fail(ErrorCode::not_found, "nodes that share what they know need etcd, which is not installed",
              "install it (Debian and Ubuntu: apt install etcd-server)");
}

std::string cgroup_directory(const NodeLayout& node) {
  const auto mount = node.cgroup.empty() ? Result<std::string>("") : sys::cgroup2_mount();
  return mount && !mount->empty() ? fmt::format("{}/{}", *mount, node.cgroup) : std::string();
}

Result<void> ensure_cgroup(const NodeLayout& node) {
  const auto directory = cgroup_directory(node);
  return directory.empty() ? Result<void>() : sys::make_directories(directory, 0755);
}

Result<void> remove_cgroups(std::string_view lab) {
  const auto mount = sys::cgroup2_mount();
  if (!mount) return {};
  std::error_code error;
  for (std::filesystem::directory_iterator entry(*mount, error), end; !error && entry != end; entry.increment(error)) {
    const auto name = entry->path().filename().string();
    if (!name.starts_with(cgroup_prefix) || lab_of_instance(name.substr(cgroup_prefix.size())) != lab) continue;
    if (::rmdir(entry->path().c_str()) != 0 && errno != ENOENT)
      return fail(errno_error("remove the cgroup " + entry->path().string(), errno));
  }
  return {};
}

}  // namespace weft::lab
