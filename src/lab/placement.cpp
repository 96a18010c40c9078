#include "lab/placement.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <sstream>
#include <tuple>
#include <utility>

#include "base/fd.h"
#include "lab/log.h"
#include "sys/system.h"

namespace weft::lab {
namespace {

constexpr std::string_view nowhere = "-";

// What groups the pods of a workload: of those without, each is its own.
std::string group_of(const PodPlan& pod) {
  return pod.workload.empty() ? pod.key() : pod.namespace_ + "/" + pod.workload + "/";
}

}  // namespace

std::map<std::string, std::string> read_placement(const std::string& path) {
  std::map<std::string, std::string> nodes;
  const auto text = sys::read_file(path);
  if (!text) return nodes;
  std::istringstream lines(*text);
  std::string pod;
  std::string node;
  while (lines >> pod >> node) {
    if (node == nowhere)
      nodes.erase(pod);
    else
      nodes[pod] = node;
  }
  return nodes;
}

Placement::Placement(std::string path) : path_(std::move(path)), nodes_(read_placement(path_)) {
  std::string text;
  for (const auto& [pod, node] : nodes_) text += fmt::format("{} {}\n", pod, node);
  if (text.empty()) return;
  if (const auto written = sys::write_file_atomically(path_, text, 0644); !written)
    log_line("the placement of pods: {}", written.error().message);
}

// Appended, not written anew: a lab of thousands of pods would write millions of lines. A machine that loses power
// loses the pods too, so there is no fsync.
void Placement::note(const std::string& pod, std::string_view node) const {
  const Fd file(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  const std::string line = fmt::format("{} {}\n", pod, node);
  if (!file.valid() || ::write(file.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    log_line("the placement of {}: {}", pod, errno_error("write " + path_, errno).message);
}

std::string Placement::choose(const PodPlan& pod, const std::vector<NodeLayout>& nodes) const {
  const std::string group = group_of(pod);
  const auto load = [&](const NodeLayout& node) {
    std::size_t same = 0;
    std::size_t all = 0;
    for (const auto& [key, place] : nodes_) {
      if (place != node.name) continue;
      ++all;
      const auto found = workloads_.find(key);
      same += found != workloads_.end() && found->second == group ? 1 : 0;
    }
    return std::pair(same, all);
  };
  return std::ranges::min_element(nodes, {}, load)->name;
}

Result<std::string> Placement::place(const PodPlan& pod, const std::vector<NodeLayout>& nodes) {
  const std::string key = pod.key();
  const auto is_node = [&nodes](const std::string& name) {
    return std::ranges::any_of(nodes, [&name](const NodeLayout& node) { return node.name == name; });
  };
  // Manifests of clusters name theirs; a lab of one node never had them.
  if (nodes.size() == 1) return nodes.front().name;
  if (!pod.node_name.empty() && !is_node(pod.node_name))
    return fail(ErrorCode::not_found, fmt::format("spec.nodeName: \"{}\" is no node of this lab, which has node1 to {}",
                                                  pod.node_name, nodes.back().name));
  workloads_[key] = group_of(pod);
  const auto present = nodes_.find(key);
  const bool placed = present != nodes_.end() && is_node(present->second);
  if (placed && (pod.node_name.empty() || pod.node_name == present->second)) return present->second;
  std::string node = pod.node_name.empty() ? choose(pod, nodes) : pod.node_name;
  nodes_[key] = node;
  note(key, node);
  return node;
}

void Placement::forget(const std::string& pod) {
  workloads_.erase(pod);
  if (nodes_.erase(pod) != 0) note(pod, nowhere);
}

}  // namespace weft::lab
