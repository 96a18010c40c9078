#include "lab/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <set>

namespace weft::lab {
namespace {

constexpr std::string_view prefix = "weft-";
constexpr std::string_view node_prefix = "node";
constexpr std::size_t longest_netns_name = 200;  // a file name, and /proc shows it

// FNV-1a: names must be the same in every process and every build, which std::hash does not promise.
std::uint64_t stable_hash(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash;
}

bool is_lab_name(std::string_view name) {
  const auto is_inner = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  return !name.empty() && name.size() <= longest_lab_name && name.front() != '-' && name.back() != '-' &&
         std::ranges::all_of(name, is_inner);
}

std::vector<std::string> entries_of(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error))
    names.push_back(entry->path().filename().string());
  std::ranges::sort(names);
  return names;
}

// "node" and "node12": a word and a number.
bool is_numbered(std::string_view text, std::string_view word) {
  return text.starts_with(word) && text.size() > word.size() &&
         std::ranges::all_of(text.substr(word.size()), [](char c) { return c >= '0' && c <= '9'; });
}

std::string url_of(const std::string& address, unsigned port) {
  return address.contains(':') ? fmt::format("http://[{}]:{}", address, port)
                               : fmt::format("http://{}:{}", address, port);
}

}  // namespace

Result<void> check_lab_name(std::string_view name) {
  if (is_lab_name(name)) return {};
  return fail(ErrorCode::invalid,
              fmt::format("\"{}\" is not a lab's name: expected 1 to {} lower-case letters, digits and '-'", name,
                          longest_lab_name));
}

NodeLayout Layout::node_layout(unsigned number) const {
  NodeLayout node{.number = number, .name = fmt::format("{}{}", node_prefix, number)};
  node.instance = fmt::format("lab-{}-{}", name_, node.name);
  node.netns = fmt::format("{}{}-{}", prefix, name_, node.name);
  node.run_dir = fmt::format("{}/{}/{}", roots_.run, name_, node.name);
  node.state_dir = fmt::format("{}/{}/{}", roots_.state, name_, node.name);
  node.bpffs = fmt::format("{}/{}", roots_.bpffs, node.instance);
  if (settings_.nodes > 1 || settings_.shared()) node.cgroup = "weft-" + node.instance;
  const Underlay underlay = settings_.underlay;
  node.network = underlay == Underlay::routed ? number : underlay == Underlay::mixed ? 1 + (number - 1) % 2 : 0;
  // .2 is the first node, as in a lab of one; .3 is host1.
  const unsigned first = settings_.renumbered.contains(number) ? 200 : 100;
  const unsigned host = first == 100 && (number == 1 || underlay == Underlay::routed) ? 2 : first + number;
  const NetworkLayout& network = networks_[node.network];
  const auto beside = [host](const std::string& world) {
    return fmt::format("{}{}", world.substr(0, world.size() - 1), host);
  };
  if (settings_.has_v4()) node.gateway_v4 = network.world_v4, node.address_v4 = beside(network.world_v4);
  if (settings_.has_v6()) node.gateway_v6 = network.world_v6, node.address_v6 = beside(network.world_v6);
  node.pod_cidrs = {fmt::format("10.244.{}.0/24", number - 1),
                    number == 1 ? "fd00:10:244::/64" : fmt::format("fd00:10:244:{:x}::/64", number - 1)};
  return node;
}

Layout::Layout(std::string name, Roots roots, const Settings& settings)
    : name_(std::move(name)), roots_(std::move(roots)), settings_(settings) {
  networks_.push_back(
      {std::string(addresses::uplink), std::string(addresses::world_v4), std::string(addresses::world_v6), 0x01});
  const unsigned further = settings_.underlay == Underlay::routed  ? settings_.nodes
                           : settings_.underlay == Underlay::mixed ? 2
                                                                   : 0;
  for (unsigned number = 1; number <= further; ++number)
    networks_.push_back({fmt::format("net{}", number), fmt::format("198.18.{}.1", number),
                         fmt::format("2001:db8:0:1{:02x}::1", number), static_cast<std::uint8_t>(0xa0 + number)});
  for (unsigned number = 1; number <= settings_.nodes; ++number) nodes_.push_back(node_layout(number));
  for (unsigned number = 1; settings_.shared() && number <= settings_.etcd_members; ++number)
    etcd_.push_back(etcd_layout(number));
}

const NodeLayout* Layout::find_node(std::string_view name) const {
  const auto found = std::ranges::find(nodes_, name, &NodeLayout::name);
  return found == nodes_.end() ? nullptr : &*found;
}

Result<const NodeLayout*> Layout::need_node(std::string_view name) const {
  if (const auto* node = find_node(name)) return node;
  return fail(
      ErrorCode::not_found, fmt::format("\"{}\" is no node of lab {}", name, name_),
      nodes_.size() == 1 ? "its only node is node1" : fmt::format("its nodes are node1 to {}", nodes_.back().name));
}

std::vector<OperatorLayout> Layout::operators() const {
  std::vector<OperatorLayout> all;
  for (unsigned number = 1; number <= settings_.operators; ++number) {
    const auto name = fmt::format("operator{}", number);
    const auto file = run_dir() + "/" + name;
    all.push_back({.name = name, .config_file = file + ".yaml", .pid_file = file + ".pid", .log_file = file + ".log"});
  }
  return all;
}

bool Layout::has_operator(std::string_view name) const {
  return std::ranges::any_of(operators(), [&](const auto& each) { return each.name == name; });
}

// The first has the world's own address, others .4 and up, beside it.
EtcdLayout Layout::etcd_layout(unsigned number) const {
  const std::string_view world = settings_.has_v4() ? addresses::world_v4 : addresses::world_v6;
  EtcdLayout member{.name = fmt::format("etcd{}", number), .address = std::string(world)};
  if (number > 1) member.address = fmt::format("{}{}", world.substr(0, world.size() - 1), number + 2);
  const std::string file = number == 1 ? "etcd" : member.name;
  member.data = state_dir() + "/" + file;
  member.pid_file = run_dir() + "/" + file + ".pid";
  member.log_file = run_dir() + "/" + file + ".log";
  return member;
}

const EtcdLayout* Layout::find_etcd(std::string_view name) const {
  const auto found = std::ranges::find(etcd_, name, &EtcdLayout::name);
  return found == etcd_.end() ? nullptr : &*found;
}

std::string EtcdLayout::client_url() const { return url_of(address, addresses::etcd_port); }
std::string EtcdLayout::peer_url() const { return url_of(address, addresses::etcd_port + 1); }

// Dots separate, because neither lab names nor Kubernetes namespaces have any: "a" with "b-c/d" and
// "a-b" with "c/d" stay apart.
std::string Layout::pod_netns(std::string_view namespace_, std::string_view pod) const {
  std::string name = fmt::format("{}{}.{}.{}", prefix, name_, namespace_, pod);
  if (name.size() <= longest_netns_name) return name;
  return fmt::format("{}~{:016x}", name.substr(0, longest_netns_name - 17), stable_hash(name));
}

std::string Layout::container_id(std::string_view namespace_, std::string_view pod) const {
  const std::string name = fmt::format("{}/{}/{}", name_, namespace_, pod);
  return fmt::format("lab{:016x}{:016x}", stable_hash(name), stable_hash(name + "/container"));
}

std::optional<std::string> lab_of_netns(std::string_view netns_name) {
  if (!netns_name.starts_with(prefix)) return std::nullopt;
  std::string_view rest = netns_name.substr(prefix.size());
  if (const auto dot = rest.find('.'); dot != std::string_view::npos) {
    rest = rest.substr(0, dot);
  } else if (const auto dash = rest.rfind('-'); dash != std::string_view::npos) {
    const auto role = rest.substr(dash + 1);
    if (!is_numbered(role, node_prefix) && !is_numbered(role, "host") && role != "world") return std::nullopt;
    rest = rest.substr(0, dash);
  } else {
    return std::nullopt;
  }
  if (!is_lab_name(rest)) return std::nullopt;
  return std::string(rest);
}

std::vector<std::string> namespaces_of(std::string_view lab) {
  std::vector<std::string> names;
  for (auto& name : entries_of("/run/netns"))
    if (lab_of_netns(name) == lab) names.push_back(std::move(name));
  return names;
}

std::optional<std::string> lab_of_instance(std::string_view name) {
  constexpr std::string_view instance_prefix = "lab-";
  const auto dash = name.rfind('-');
  if (!name.starts_with(instance_prefix) || dash <= instance_prefix.size()) return std::nullopt;
  const auto lab = name.substr(instance_prefix.size(), dash - instance_prefix.size());
  if (!is_numbered(name.substr(dash + 1), node_prefix) || !is_lab_name(lab)) return std::nullopt;
  return std::string(lab);
}

std::vector<std::string> pins_of(const Roots& roots, std::string_view lab) {
  std::vector<std::string> directories;
  for (const auto& name : entries_of(roots.bpffs))
    if (lab_of_instance(name) == lab) directories.push_back(roots.bpffs + "/" + name);
  return directories;
}

std::vector<std::string> find_labs(const Roots& roots) {
  std::set<std::string> labs;
  for (const auto& directory : {roots.run, roots.state})
    for (const auto& name : entries_of(directory))
      if (is_lab_name(name)) labs.insert(name);
  for (const auto& name : entries_of("/run/netns"))
    if (const auto lab = lab_of_netns(name)) labs.insert(*lab);
  for (const std::string_view name : entries_of(roots.bpffs))
    if (const auto lab = lab_of_instance(name)) labs.insert(*lab);
  return {labs.begin(), labs.end()};
}

}  // namespace weft::lab
