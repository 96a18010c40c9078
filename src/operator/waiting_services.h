// LoadBalancer Services that wait for an address get one as soon as there is a pool for them, or an address comes free,
// and lose it when no pool has it any more. One program in the cluster does that for all: this one while it has the
// role. What is given is compared with `state/assignments-epoch`, as everything that gives (shared_objects.h), so it
// does no harm if two believe to have the role.
//
// Owner thread only; a handler must not destroy this.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control/services/services.h"
#include "sources/cluster/shared_objects.h"

namespace weft::op {

class WaitingServices {
 public:
  struct Handlers {
    std::function<bool()> acts;  // this program's duty is it now
    cluster::Trouble trouble;
  };
  WaitingServices(const cluster::Context& context, const std::string& name, Handlers handlers);
  ~WaitingServices() = default;
  WaitingServices(const WaitingServices&) = delete;
  WaitingServices& operator=(const WaitingServices&) = delete;

  // Of the nodes and of what is on their networks: given to those only who ask for them.
  void keep_out(std::vector<IpAddress> addresses);
  // Looks for what can be given. Also called by itself after every change.
  void serve();

  [[nodiscard]] std::uint64_t served() const { return served_; }  // how often a Service got an address
  [[nodiscard]] std::size_t waiting() const { return services_->pending().size(); }

 private:
  void take(const cluster::SharedDifference& difference);
  void take_service(const cluster::ObjectKey& key, const std::string* text);
  void take_pool(const cluster::ObjectKey& key, const std::string* text);
  void answered(const cluster::WriteResult& result, std::uint64_t gives);

  Handlers handlers_;
  std::unique_ptr<control::ServiceCompiler> services_;  // only what gives addresses of it is used
  std::map<std::string, model::LoadBalancerPool> pools_;
  control::ServiceNode node_;
  bool writing_ = false;
  bool owed_ = true;  // something changed since it was looked for last
  std::uint64_t served_ = 0;
  cluster::SharedObjects shared_;
};

}  // namespace weft::op
