// The connection of a ClusterLink to etcd, or to the API server that stands in for it.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "agent/cluster_link.h"
#include "agent/kubernetes_access.h"
#include "sources/cluster/access.h"
#include "sources/crd_store/store.h"
#include "sources/etcd/grpc_client.h"
#include "sources/kubernetes/open_access.h"

namespace weft::agent {

void ClusterLink::servers_changed() {
  if (!http_) return;
  auto access = kubernetes_access(config_, store_);
  if (!access) return;
  servers_ = access->servers;
  http_->use_servers(std::move(access->servers));
}

Result<void> ClusterLink::connect_store(asio::io_context& loop) {
  const auto random = etcd::system_random();
  if (!on_kubernetes()) {
    servers_ = config_.etcd_endpoints;
    WEFT_TRY(const auto to, cluster::etcd_options(config_));
    WEFT_TRY(client_, etcd::make_client(scheduler_, to, random));
    return {};
  }
  WEFT_TRY(auto access, kubernetes_access(config_, store_));
  servers_ = access.servers;
  const auto namespace_name = kubernetes::namespace_of(config_, access);
  // A connection of its own: what objects take their time for does not keep this node's lease waiting.
  WEFT_TRY(http_, kubernetes::make_http(loop, std::move(access), {.user_agent = "weftd/" WEFT_VERSION}));
  crd::StoreOptions options;
  options.cluster = config_.cluster;
  options.namespace_name = namespace_name;
  options.holder = config_.node;
  options.trouble = [this](const Error& error) {
    if (foreign_objects_.insert(error.message).second) spdlog::warn("{}", error.text());
  };
  WEFT_TRY(client_, crd::make_kubernetes_store(scheduler_, *http_, std::move(options), random));
  return {};
}

std::string ClusterLink::store_text() const { return fmt::format("{} ({})", store_name(), fmt::join(servers_, ", ")); }

}  // namespace weft::agent
