#include "agent/kubernetes_source.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "agent/agent.h"
#include "agent/kubernetes_access.h"
#include "agent/own_reason.h"
#include "base/utc_text.h"
#include "sources/etcd/grpc_client.h"
#include "sources/kubernetes/http.h"

namespace weft::agent {
namespace {

// A watch that is opened anew, or a server that is restarted, is no absence.
constexpr auto patience = std::chrono::seconds(3);

}  // namespace

Result<std::unique_ptr<KubernetesSource>> KubernetesSource::open(asio::io_context& loop, const Config& config,
                                                                 store::Store& store, Objects& objects,
                                                                 Publisher& publisher,
                                                                 KubernetesObjects::Handlers handlers) {
  auto access = kubernetes_access(config, store);
  if (!access) return fail(access.error().in("objects: kubernetes"));
  std::unique_ptr<KubernetesSource> source(new KubernetesSource(loop));
  source->server_ = access->servers.front();
  source->servers_ = access->servers;
  handlers.api_servers = [&store, &config, raw = source.get(),
                          told = std::move(handlers.api_servers)](const std::vector<std::string>& addresses) {
    remember_servers(store, addresses);
    if (auto now = kubernetes_access(config, store)) {
      raw->servers_ = now->servers;
      raw->http_->use_servers(std::move(now->servers));
    }
    if (told) told(addresses);
  };
  WEFT_TRY(source->http_, kubernetes::make_http(loop, std::move(*access), {.user_agent = "weftd/" WEFT_VERSION}));
  source->objects_ = std::make_unique<KubernetesObjects>(KubernetesObjects::Parts{.http = *source->http_,
                                                                                  .scheduler = source->scheduler_,
                                                                                  .random = etcd::system_random(),
                                                                                  .node = config.node,
                                                                                  .server = source->server_,
                                                                                  .external_ips = config.external_ips,
                                                                                  .shared_pools = config.clustered(),
                                                                                  .objects = objects,
                                                                                  .publisher = publisher},
                                                         std::move(handlers));
  return source;
}

std::string KubernetesSource::check(sys::Netlink& netlink) {
  objects_->check();
  const auto why = objects_->silence();
  const auto now = std::chrono::system_clock::now();
  if (why.empty()) {
    silent_since_.reset();
    return {};
  }
  if (!silent_since_) silent_since_ = now;
  if (now - *silent_since_ < patience) return {};
  const auto own = own_reason(netlink, servers_);
  return fmt::format(
      "the Kubernetes API server ({}) has not been heard of since {}: {}{}{}; this node goes on with what it has",
      server_, utc_text(*silent_since_), own, own.empty() ? "" : ": ", why);
}

nlohmann::json KubernetesSource::status_json() const {
  auto status = objects_->status_json();
  status["since"] = silent_since_ ? utc_text(*silent_since_) : "";
  return status;
}

// --- The agent's part ----------------------------------------------------------------------------

Result<void> Agent::open_kubernetes() {
  WEFT_TRY(kubernetes_, KubernetesSource::open(loop_, config_, *store_, *objects_, *publisher_,
                                               {.intake = intake_handlers("what the Kubernetes API server has"),
                                                .misunderstood =
                                                    [this](const std::map<std::string, Fault>& faults) {
                                                      faults_.replace("misunderstood", faults);
                                                    },
                                                .api_servers =
                                                    [this](const std::vector<std::string>& addresses) {
                                                      config_.api_servers = addresses;
                                                      if (cluster_) cluster_->servers_changed();
                                                    }}));
  config_.api_servers = remembered_servers(*store_);
  life_->follow(*kubernetes_, [this](const NodeFacts& facts) { take_node_facts(facts); });
  return {};
}

void Agent::check_kubernetes() {
  trim_owed_ = kubernetes_->objects().took_many() || trim_owed_;
  const auto silent = kubernetes_->check(*netlink_);
  silent.empty() ? faults_.clear("kubernetes")
                 : faults_.set("kubernetes", silent,
                               "see whether it runs and can be reached from this node, and what the message says of it "
                               "(kubernetes_servers lists addresses that do not need Services to work)");
}

Error Agent::not_here() const {
  return {ErrorCode::invalid,
          fmt::format("the objects of this node are those of the Kubernetes API server {}; nothing was changed",
                      kubernetes_->server()),
          "use kubectl there"};
}

}  // namespace weft::agent
