// Addresses of LoadBalancerPools for Services of a Kubernetes cluster: follows both, decides about all of them at once
// (control/services/balancer_plan.h), and writes into status.loadBalancer of a Service what it has. Nothing is
// remembered elsewhere: what is there is what is held, whoever wrote it and whenever.
//
// A Service with loadBalancerClass weft.io/load-balancer is ours. One without a class may be another program's, too: it
// is ours while it has no address, while its addresses are of our pools, or when it has our condition. Of a status that
// is somebody else's nothing is changed, and what it has is not given to another.
//
// Owner thread only; a handler must not destroy this.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "control/services/balancer_plan.h"
#include "operator/balancer_view.h"
#include "operator/events.h"
#include "operator/object_writer.h"
#include "sources/kubernetes/reflector.h"

namespace weft::op {

class Balancers {
 public:
  struct Parts {
    kubernetes::Http& http;
    etcd::Scheduler& scheduler;
    etcd::Random random;
    std::string server;  // for messages
    etcd::BackoffOptions backoff{std::chrono::milliseconds(500), std::chrono::milliseconds(30000)};
    std::function<std::chrono::system_clock::time_point()> wall_clock = std::chrono::system_clock::now;
  };
  struct Handlers {
    std::function<bool()> acts;  // this program's duty is it now
    TellEvent event;
    std::function<void(const kubernetes::Failure& why)> trouble;
    // The pools, or what they are made of, changed.
    std::function<void()> pools;
  };
  Balancers(Parts parts, Handlers handlers);
  ~Balancers() = default;
  Balancers(const Balancers&) = delete;
  Balancers& operator=(const Balancers&) = delete;

  // Of the nodes and of what is on their networks: given to those only who ask for them.
  void keep_out(std::vector<IpAddress> addresses);
  // Pods have them: a LoadBalancerPool with one of them is not accepted.
  void set_pod_cidrs(std::vector<Cidr> cidrs);
  // It became this program's duty, or is it no more: then nothing that is under way is waited for.
  void duty_changed();
  // Once a second.
  void check();

  // Both are known, as they are now.
  [[nodiscard]] bool live() const { return services_.live() && pools_.live(); }
  [[nodiscard]] std::string silence() const;                      // why not; empty: they are
  [[nodiscard]] std::uint64_t served() const { return served_; }  // how often a Service got an address
  [[nodiscard]] std::size_t waiting() const { return waiting_; }
  // The LoadBalancerPool that is in force and has addresses of this; empty: none.
  [[nodiscard]] std::string pool_with(const Cidr& cidr) const;

 private:
  // Written on that version of the Service, and not to be seen yet.
  struct Assumed {
    std::string version;
    std::vector<IpAddress> addresses;
  };
  struct Pools {
    std::vector<const model::LoadBalancerPool*> accepted;
    std::map<std::string, std::string> refused;  // by name, why
    bool all_understood = true;
  };
  void soon();
  void plan();
  [[nodiscard]] Pools look_at_pools() const;
  [[nodiscard]] bool is_ours(const BalancedView& view, const Pools& pools) const;
  [[nodiscard]] std::vector<IpAddress> held_by(std::string_view key, const kubernetes::Entry& entry) const;
  void write(std::string_view key, const kubernetes::Entry& entry, const control::BalancerDecision& decision,
             const Pools& pools);
  void clean(std::string_view key, const kubernetes::Entry& entry);
  void tell_of(const BalancedView& view, bool given, const std::string& reason, const std::string& note);

  Parts parts_;
  Handlers handlers_;
  std::vector<IpAddress> kept_out_;
  std::vector<Cidr> pod_cidrs_;
  ObjectWriter writer_;
  std::map<std::string, Assumed, std::less<>> assumed_;
  std::map<std::string, etcd::Scheduler::Time> told_pools_;
  std::uint64_t served_ = 0;
  std::size_t waiting_ = 0;
  bool owed_ = false;  // something is to be told later
  etcd::Timer plan_;
  kubernetes::Reflector services_;
  kubernetes::Reflector pools_;

  void tell_pools(const Pools& pools);
};

}  // namespace weft::op
