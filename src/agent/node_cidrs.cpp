#include "agent/node_cidrs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "model/objects.h"

namespace weft::agent {
namespace {

std::string list_of(const std::vector<Cidr>& cidrs) {
  std::vector<std::string> texts;
  for (const auto& cidr : cidrs) texts.push_back(cidr.to_string());
  return fmt::format("{}", fmt::join(texts, ", "));
}

}  // namespace

std::string node_cidrs_text(const Config& config) { return list_of(config.own_cidrs); }

Result<void> check_node_cidrs_known(const Config& config) {
  if (config.node_cidrs == Config::NodeCidrs::pools || !config.own_cidrs.empty()) return {};
  return fail(ErrorCode::unavailable, "node_cidrs is kubernetes, but the Node object of this node has no spec.podCIDRs",
              "kube-controller-manager gives them: --allocate-node-cidrs, --cluster-cidr (kubeadm: podSubnet); or set "
              "node_cidrs: pools");
}

Result<std::vector<cluster::PoolRange>> parts_for_node(const Config& config, std::string_view pool, Family family) {
  std::vector<cluster::PoolRange> within;
  if (config.node_cidrs == Config::NodeCidrs::pools || pool != model::default_address_pool) return within;
  WEFT_CHECK(check_node_cidrs_known(config));
  const auto length = family == Family::v4 ? config.pod_block_length_v4 : config.pod_block_length_v6;
  for (const auto& cidr : config.own_cidrs) {
    if (cidr.family() != family) continue;
    if (std::ranges::none_of(config.pod_cidrs, [&](const Cidr& all) { return all.contains(cidr); }))
      return fail(
          ErrorCode::invalid,
          fmt::format("podCIDR {} of this Node is not in pod_cidrs ({})", cidr.to_string(), list_of(config.pod_cidrs)),
          "pod_cidrs is what kube-controller-manager has as --cluster-cidr");
    if (cidr.length() > length)
      return fail(
          ErrorCode::invalid,
          fmt::format("podCIDR {} of this Node is smaller than a block, which is a /{}", cidr.to_string(), length),
          fmt::format("set pod_block_length_{} to {} or more on all nodes", family == Family::v4 ? "v4" : "v6",
                      cidr.length()));
    within.push_back({.cidr = cidr, .block_length = length});
  }
  if (within.empty())
    return fail(ErrorCode::unavailable,
                fmt::format("the podCIDRs of this Node ({}) have no {}", node_cidrs_text(config),
                            family == Family::v4 ? "IPv4" : "IPv6"),
                "give pod_cidrs the families that kube-controller-manager has in --cluster-cidr");
  return within;
}

bool outside_node_cidrs(const Config& config, const cluster::Block& block) {
  if (config.node_cidrs == Config::NodeCidrs::pools || block.pool != model::default_address_pool ||
      config.own_cidrs.empty())
    return false;
  return std::ranges::none_of(config.own_cidrs, [&](const Cidr& cidr) { return cidr.contains(block.cidr); });
}

}  // namespace weft::agent
