// weft-operator: does the duties that one program of a cluster has to do (docs/adr/0009-operator.md). Several run; the
// one that has the role `collector` acts, the others stand by. On the loop's thread.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/operator/config.h"
#include "operator/health_server.h"
#include "operator/kubernetes_duties.h"
#include "operator/waiting_services.h"
#include "sources/cluster/collector.h"
#include "sources/cluster/operators.h"
#include "sources/cluster/role.h"
#include "sources/crd_store/session_reaper.h"
#include "sources/etcd/client.h"
#include "sources/etcd/scheduler.h"
#include "sources/kubernetes/event_sender.h"
#include "sources/kubernetes/http.h"

namespace weft::op {

class Duties;

class Operator {
 public:
  // Does not wait for etcd, nor for the Kubernetes API server.
  static Result<std::unique_ptr<Operator>> start(asio::io_context& loop, const Config& config);
  ~Operator();
  Operator(const Operator&) = delete;
  Operator& operator=(const Operator&) = delete;

  // Gives roles and leases back, so that another one acts at once; `done` is told when it has been answered, or is not.
  void stop(std::function<void()> done);

 private:
  Operator(asio::io_context& loop, Config config);
  [[nodiscard]] std::string not_ready() const;
  Result<std::optional<cluster::Context>> open_store(asio::io_context& loop);
  Result<void> open_kubernetes(asio::io_context& loop, const std::string& run,
                               const std::optional<cluster::Context>& store);
  void open_duties(const cluster::Context& store, const std::string& run);
  Result<std::unique_ptr<etcd::Client>> open_kubernetes_store(asio::io_context& loop);
  void end_sessions(bool acts);

  Config config_;
  etcd::AsioScheduler scheduler_;
  std::string namespace_;  // of Weft's own objects, with store: kubernetes
  std::unique_ptr<kubernetes::Http> http_;
  std::unique_ptr<kubernetes::EventSender> events_;
  std::unique_ptr<kubernetes::Http> store_http_;  // of store: kubernetes
  std::unique_ptr<etcd::Client> client_;          // null: nodes share nothing
  std::unique_ptr<KubernetesDuties> kubernetes_;  // null: objects are not Kubernetes'
  std::unique_ptr<crd::SessionReaper> reaper_;    // of store: kubernetes, while this one acts
  std::unique_ptr<Duties> duties_;
  std::unique_ptr<HealthServer> health_;  // null: nobody asks
};

// What it does, on any client of etcd and any clock.
class Duties {
 public:
  struct Options {
    cluster::OperatorKey self;
    cluster::OperatorRecord record;  // what of it does not change
    std::chrono::seconds lease{30};
    std::chrono::milliseconds patience{200};  // of Role
    bool objects = true;                      // Services and pools are in the store, too
    // The addresses that nodes and their networks have.
    std::function<void(const std::vector<IpAddress>& addresses)> taken;
    // What is done elsewhere than in the store, to be told there.
    std::function<void(cluster::OperatorRecord& record)> more;
  };
  Duties(const cluster::Context& context, Options options);
  ~Duties() = default;
  Duties(const Duties&) = delete;
  Duties& operator=(const Duties&) = delete;

  [[nodiscard]] bool acts() const { return role_.holds().has_value(); }
  // It is one of the cluster's operators: the store knows it.
  [[nodiscard]] bool joined() const { return seat_.membership().has_value(); }
  [[nodiscard]] const cluster::Collected& collected() const { return collector_.collected(); }
  // Absent: they are not in the store.
  [[nodiscard]] const std::optional<WaitingServices>& waiting_services() const { return waiting_; }
  void close(etcd::Done<void> done);

 private:
  void role_changed();
  void seat_changed();
  void nodes_changed(const etcd::Change& change);
  void trouble(const Error& error);
  void tell();
  void tick();

  cluster::Context context_;
  Options options_;
  cluster::OperatorRecord told_;
  std::uint64_t seen_rounds_ = 0;
  etcd::Scheduler::Time troubled_{};
  std::map<std::string, std::vector<IpAddress>> taken_;  // by node
  etcd::Timer tick_;
  cluster::OperatorSeat seat_;
  cluster::Role role_;
  cluster::Collector collector_;
  std::optional<WaitingServices> waiting_;
  etcd::Mirror nodes_;
};

}  // namespace weft::op
