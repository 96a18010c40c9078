#include "agent/start_check.h"

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

}  // namespace weft::agent
