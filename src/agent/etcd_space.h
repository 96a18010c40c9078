// Whether etcd can be written to. A database at its quota raises an alarm, and from then on every write of anybody is
// refused while all that is read goes on: a node that writes nothing at the moment would hear of it last.
// On the agent's thread; `client`, `scheduler` and `faults` outlive it.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "agent/faults.h"
#include "sources/etcd/client.h"
#include "sources/etcd/scheduler.h"

namespace weft::agent {

class EtcdSpace {
 public:
  EtcdSpace(etcd::Client& client, etcd::Scheduler& scheduler, Faults& faults, std::string etcd);

  // Once a second.
  void check();

 private:
  void ask();
  void answered(bool full);

  etcd::Client* client_;
  etcd::Scheduler* scheduler_;
  Faults* faults_;
  std::string etcd_;
  etcd::Scheduler::Time next_{};
  bool asking_ = false;
  std::optional<std::chrono::system_clock::time_point> full_since_;  // as far as is known
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weft::agent
