#include "install/ranges.h"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "base/endpoint_host.h"
#include "base/ip.h"

namespace weft::install {
namespace {

using nlohmann::json;

struct Range {
  const char* key;
  Cidr cidr;
};

std::unexpected<Error> wrong(std::string message, std::string hint) {
  return fail(ErrorCode::invalid, "nothing has been changed: " + std::move(message), std::move(hint));
}

Result<void> read_ranges(const json& values, const char* key, std::vector<Range>& ranges) {
  for (const auto& entry : list_at(values, fmt::format("/{}", key).c_str())) {
    const auto text = entry.is_string() ? entry.get<std::string>() : entry.dump();
    const auto cidr = Cidr::parse(text);
    if (!cidr)
      return wrong(fmt::format("{}: \"{}\" is no range of addresses: {}", key, text, cidr.error().message),
                   fmt::format("--set {}=10.244.0.0/16, as an example", key));
    if (const auto address = IpAddress::parse(text.substr(0, text.find('/'))); address && *address != cidr->address())
      return wrong(fmt::format("{}: {} has bits set behind its length", key, text),
                   fmt::format("{} is what it would be taken for: give that, or what was meant", cidr->to_string()));
    ranges.push_back({key, *cidr});
  }
  return {};
}

Result<void> check_overlaps(const std::vector<Range>& ranges) {
  for (std::size_t i = 0; i < ranges.size(); ++i)
    for (std::size_t j = i + 1; j < ranges.size(); ++j)
      if (ranges[i].cidr.contains(ranges[j].cidr) || ranges[j].cidr.contains(ranges[i].cidr))
        return wrong(fmt::format("{} {} and {} {} overlap", ranges[i].key, ranges[i].cidr.to_string(), ranges[j].key,
                                 ranges[j].cidr.to_string()),
                     "an address is a pod's or a Service's; values of an earlier install count too: --reset-values "
                     "forgets them");
  return {};
}

std::vector<std::pair<IpAddress, std::string>> machines(Cluster& cluster, const json& values) {
  std::vector<std::pair<IpAddress, std::string>> all;
  // Who may not list Nodes installs without.
  if (const auto nodes = cluster.list("/api/v1/nodes"))
    for (const auto& node : *nodes)
      for (const auto& address : list_at(node, "/status/addresses"))
        if (const auto parsed = IpAddress::parse(text_at(address, "/address")))
          all.emplace_back(*parsed, "node " + text_at(node, "/metadata/name"));
  for (const auto& server : list_at(values, "/kubernetesServers"))
    if (server.is_string())
      if (const auto host = endpoint_host(server.get_ref<const std::string&>()))
        all.emplace_back(*host, "the API server");
  return all;
}

Result<void> check_machines(Cluster& cluster, const json& values, const std::vector<Range>& ranges) {
  for (const auto& [address, whose] : machines(cluster, values))
    for (const auto& range : ranges)
      if (range.cidr.contains(address))
        return wrong(fmt::format("{} {} has {}, the address of {}", range.key, range.cidr.to_string(),
                                 address.to_string(), whose),
                     "choose a range that nothing else has: nodes would be cut off");
  return {};
}

Result<void> check_blocks(const json& values, const std::vector<Range>& ranges) {
  for (const auto& range : ranges) {
    if (std::string_view(range.key) != "podCIDRs") continue;
    const bool v4 = range.cidr.is_v4();
    const auto* key = v4 ? "pod_block_length_v4" : "pod_block_length_v6";
    const auto given = number_at(values, fmt::format("/agentConfig/{}", key).c_str());
    const auto length = given > 0 ? given : v4 ? 24 : 64;
    if (std::cmp_greater(range.cidr.length(), length))
      return wrong(
          fmt::format("podCIDRs {} is smaller than what one node takes, a /{}", range.cidr.to_string(), length),
          fmt::format("give a larger range, or --set agentConfig.{}=LENGTH", key));
  }
  return {};
}

}  // namespace

Result<void> check_ranges(Cluster& cluster, const json& values) {
  std::vector<Range> ranges;
  for (const auto* key : {"podCIDRs", "serviceCIDRs"}) WEFT_CHECK(read_ranges(values, key, ranges));
  WEFT_CHECK(check_overlaps(ranges));
  WEFT_CHECK(check_blocks(values, ranges));
  return check_machines(cluster, values, ranges);
}

}  // namespace weft::install
