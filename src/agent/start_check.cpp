#include "agent/start_check.h"

#include <fmt/format.h>

#include <utility>

#include "sources/cluster/check_access.h"
#include "sources/cluster/member.h"

namespace weft::agent {

Result<void> check_start(const Config& config) {
  if (!config.clustered()) return {};
  if (config.store == Config::Store::etcd) WEFT_CHECK(cluster::check_access(config));
  cluster::MemberOptions options;
  options.cluster = config.cluster;
  options.self.name = config.node;
  options.self.boot_id = "-";  // the machine's, whatever it is
  options.lease = std::chrono::seconds(config.lease_seconds);
  options.delay = std::chrono::seconds(config.reclaim_seconds);
  cluster::Pool pool{.name = "default", .ranges = {}};
  for (const auto& cidr : config.pod_cidrs)
    pool.ranges.push_back({cidr, cidr.is_v4() ? config.pod_block_length_v4 : config.pod_block_length_v6});
  if (!pool.ranges.empty()) options.pools.push_back(std::move(pool));
  return cluster::validate(options);
}

Result<void> check_machine(const Config& config, const Node& node) {
  const auto refuse = [](const Cidr& cidr, const IpAddress& address, const std::string& whose) {
    return fail(ErrorCode::invalid,
                fmt::format("pod_cidrs: {} has {}, {}", cidr.to_string(), address.to_string(), whose),
                "give pods a range that nothing else has; that of the nodes' own network is none");
  };
  for (const auto& cidr : config.pod_cidrs) {
    for (const auto& [ifindex, uplink] : node.uplinks)
      for (const auto& address : {uplink.v4, uplink.v6})
        if (address && cidr.contains(*address))
          return refuse(cidr, *address, "the address of this node on " + uplink.name);
    for (const auto& router : node.next_hops)
      if (cidr.contains(router)) return refuse(cidr, router, "a router that this node sends by");
  }
  return {};
}

}  // namespace weft::agent
