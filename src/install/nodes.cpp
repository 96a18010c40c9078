#include "install/nodes.h"

namespace weft::install {

using nlohmann::json;

namespace {

bool is_linux(const json& node) {
  const auto system = text_at(node, "/metadata/labels/kubernetes.io~1os");
  return system.empty() || system == "linux";
}

}  // namespace

bool is_away(const json& node) {
  const auto* ready = condition(node, "Ready");
  return ready != nullptr && text_at(*ready, "/status") == "Unknown";
}

bool has_agent(const json& node) {
  return is_linux(node) && text_at(node, "/metadata/labels/weft.io~1agent") != no_agent;
}

Outcome<Machines> look_at_machines(Cluster& cluster) {
  const auto nodes = cluster.list("/api/v1/nodes");
  if (!nodes) return std::unexpected(nodes.error());
  Machines machines;
  for (const auto& node : *nodes)
    if (is_linux(node)) (is_away(node) ? machines.away : machines.here).insert(text_at(node, "/metadata/name"));
  return machines;
}

Outcome<std::set<std::string>> without_node(Cluster& cluster) {
  std::set<std::string> names;
  const auto told = cluster.list("/apis/weft.io/v1alpha1/weftnodes");
  if (!told && told.error().reason == kubernetes::Reason::not_found) return names;  // nodes share by etcd, or nothing
  if (!told) return std::unexpected(told.error());
  for (const auto& one : *told) names.insert(text_at(one, "/metadata/name"));
  const auto nodes = cluster.list("/api/v1/nodes");
  if (!nodes) return std::unexpected(nodes.error());
  for (const auto& node : *nodes) names.erase(text_at(node, "/metadata/name"));
  return names;
}

}  // namespace weft::install
