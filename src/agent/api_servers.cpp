#include "agent/api_servers.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "sources/kubernetes/kubeconfig.h"

namespace weft::agent {

bool ApiServers::take(const model::EndpointSlice& slice) {
  const auto service = slice.meta.labels.find("kubernetes.io/service-name");
  if (slice.meta.namespace_ != "default" || service == slice.meta.labels.end() || service->second != "kubernetes")
    return forget(slice.meta.key());
  std::vector<std::string> found;
  for (const auto& port : slice.ports) {
    if (port.protocol != Protocol::tcp || port.port == 0) continue;
    for (const auto& endpoint : slice.endpoints)
      if (endpoint.ready)
        for (const auto& address : endpoint.addresses)
          found.push_back(address.is_v4() ? fmt::format("{}:{}", address.to_string(), port.port)
                                          : fmt::format("[{}]:{}", address.to_string(), port.port));
  }
  auto& kept = slices_[slice.meta.key()];
  if (kept == found) return false;
  kept = std::move(found);
  return true;
}

bool ApiServers::forget(const model::ObjectKey& slice) { return slices_.erase(slice) > 0; }

std::vector<std::string> ApiServers::addresses() const {
  std::vector<std::string> all;
  for (const auto& [key, addresses] : slices_) all.insert(all.end(), addresses.begin(), addresses.end());
  std::ranges::sort(all);
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

std::vector<std::string> servers_in_order(std::vector<std::string> given, const std::vector<std::string>& remembered,
                                          bool of_pod) {
  std::vector<std::string> further;
  for (const auto& text : remembered)
    if (const auto server = kubernetes::parse_server(text); server && std::ranges::find(given, *server) == given.end())
      further.push_back(*server);
  const auto at = of_pod && !given.empty() ? std::prev(given.end()) : given.end();
  given.insert(at, further.begin(), further.end());
  return given;
}

}  // namespace weft::agent
