// The connection to the Kubernetes API server, and the node's objects from there, as the configuration says. On the
// agent's thread.
#pragma once

#include <chrono>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "agent/kubernetes_objects.h"
#include "config/agent/config.h"
#include "sources/etcd/scheduler.h"
#include "sys/netlink.h"

namespace weft::agent {

class KubernetesSource {
 public:
  // Reads the credentials; connects later. `loop`, `store`, `objects` and `publisher` outlive it. Addresses of the
  // server that an earlier run heard of are in `store`.
  static Result<std::unique_ptr<KubernetesSource>> open(asio::io_context& loop, const Config& config,
                                                        store::Store& store, Objects& objects, Publisher& publisher,
                                                        KubernetesObjects::Handlers handlers);

  [[nodiscard]] KubernetesObjects& objects() { return *objects_; }
  [[nodiscard]] kubernetes::Http& http() { return *http_; }
  [[nodiscard]] etcd::Scheduler& scheduler() { return scheduler_; }
  [[nodiscard]] const std::string& server() const { return server_; }
  // Once a second. Why this node hears nothing of the server, and since when: once that lasts; empty: it hears.
  // `netlink` says whether the machine itself is the reason.
  std::string check(sys::Netlink& netlink);
  [[nodiscard]] nlohmann::json status_json() const;

 private:
  explicit KubernetesSource(asio::io_context& loop) : scheduler_(loop) {}

  etcd::AsioScheduler scheduler_;
  std::string server_;
  std::vector<std::string> servers_;  // all that are tried
  std::unique_ptr<kubernetes::Http> http_;
  std::unique_ptr<KubernetesObjects> objects_;
  std::optional<std::chrono::system_clock::time_point> silent_since_;
};

}  // namespace weft::agent
