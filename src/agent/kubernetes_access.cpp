#include "agent/kubernetes_access.h"

#include <nlohmann/json.hpp>

#include "agent/api_servers.h"
#include "sources/kubernetes/open_access.h"

namespace weft::agent {
namespace {

constexpr auto servers_name = "kubernetes-servers";

}  // namespace

std::vector<std::string> remembered_servers(store::Store& store) {
  const auto stored = store.get(servers_name);
  if (!stored || !*stored) return {};
  const auto list = nlohmann::json::parse(**stored, nullptr, false);
  std::vector<std::string> servers;
  if (list.is_array())
    for (const auto& server : list)
      if (server.is_string()) servers.push_back(server.get<std::string>());
  return servers;
}

Result<kubernetes::Access> kubernetes_access(const Config& config, store::Store& store) {
  WEFT_TRY(auto access, kubernetes::open_access(config));
  access.servers = servers_in_order(std::move(access.servers), remembered_servers(store), config.kubeconfig.empty());
  return access;
}

void remember_servers(store::Store& store, const std::vector<std::string>& addresses) {
  if (!addresses.empty()) (void)store.set(servers_name, nlohmann::json(addresses).dump());
}

}  // namespace weft::agent
