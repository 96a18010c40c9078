// What the operator does where objects are a Kubernetes API server's (docs/kubernetes.md). Several run and follow the
// same; the one that has the Lease writes, and stops before another may begin. On the loop's thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "operator/balancers.h"
#include "operator/crd_keeper.h"
#include "operator/events.h"
#include "operator/policy_statuses.h"
#include "operator/pool_keeper.h"
#include "sources/kubernetes/lease.h"
#include "sources/kubernetes/reflector.h"

namespace weft::op {

class KubernetesDuties {
 public:
  struct Parts {
    kubernetes::Http& http;
    etcd::Scheduler& scheduler;
    etcd::Random random;
    std::string server;  // for messages
    kubernetes::ElectionOptions election;
    std::optional<cluster::Context> store;  // nothing: nodes share nothing
    std::vector<Crd> crds;                  // to keep installed
    std::string version;                    // of this program
    etcd::BackoffOptions backoff{std::chrono::milliseconds(500), std::chrono::milliseconds(30000)};
  };
  struct Handlers {
    TellEvent event;
    // It acts, or does no more.
    std::function<void()> duty;
  };
  KubernetesDuties(Parts parts, Handlers handlers);
  ~KubernetesDuties() = default;
  KubernetesDuties(const KubernetesDuties&) = delete;
  KubernetesDuties& operator=(const KubernetesDuties&) = delete;

  [[nodiscard]] bool acts() const { return acts_; }
  [[nodiscard]] const std::string& leader() const { return election_->holder(); }
  // Why it hears nothing of the server; empty: it does, and could act.
  [[nodiscard]] std::string silence() const;
  [[nodiscard]] const Balancers& balancers() const { return balancers_; }
  // What nodes tell of their networks (of the store, where there is one).
  void keep_out(std::vector<IpAddress> addresses);
  // Stops, and lets another one act at once; `done` when the server has answered, or does not.
  void close(std::function<void()> done);

 private:
  void set_acts(bool acts);
  void nodes_changed();
  [[nodiscard]] std::string clash_of(const cluster::Pool& pool) const;
  void trouble(const kubernetes::Failure& why);
  void trouble(const Error& why);
  void tick();

  Parts parts_;
  Handlers handlers_;
  bool acts_ = false;
  std::vector<IpAddress> told_;                            // by the store
  std::map<std::string, etcd::Scheduler::Time> troubled_;  // what was said, when
  Balancers balancers_;
  PoolKeeper pools_;
  CrdKeeper crds_;
  std::unique_ptr<PolicyStatuses> policies_;  // null: nodes share nothing, and tell nobody
  kubernetes::Reflector nodes_;
  std::unique_ptr<kubernetes::Election> election_;
  etcd::Timer tick_;
};

}  // namespace weft::op
