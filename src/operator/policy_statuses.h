// Which nodes enforce which generation of each NetworkPolicy, for people: a WeftPolicyStatus beside each policy, of its
// name, which goes with it (docs/adr/0021-who-enforces-which-policy.md). Follows the metadata of policies and what
// nodes tell (cluster/enforcement_view.h); what was written is what is there, and nothing else is remembered.
//
// Of a status that changes all the time, as nodes tell one after the other, a write each few seconds is enough; what is
// decided (True, False, Unknown) is written within one.
//
// Owner thread only; a handler must not destroy this.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "operator/object_writer.h"
#include "sources/cluster/context.h"
#include "sources/cluster/enforcement_view.h"
#include "sources/etcd/mirror.h"
#include "sources/kubernetes/reflector.h"

namespace weft::op {

class PolicyStatuses {
 public:
  struct Parts {
    kubernetes::Http& http;
    etcd::Scheduler& scheduler;
    etcd::Random random;
    cluster::Context store;
    etcd::BackoffOptions backoff{std::chrono::milliseconds(500), std::chrono::milliseconds(30000)};
    std::function<std::chrono::system_clock::time_point()> wall_clock = std::chrono::system_clock::now;
  };
  struct Handlers {
    std::function<bool()> acts;  // this program's duty is it now
    std::function<void(const kubernetes::Failure& why)> trouble;
    std::function<void(const Error& why)> store_trouble;
  };
  PolicyStatuses(Parts parts, Handlers handlers);
  ~PolicyStatuses() = default;
  PolicyStatuses(const PolicyStatuses&) = delete;
  PolicyStatuses& operator=(const PolicyStatuses&) = delete;

  // It became this program's duty, or is it no more: then nothing that is under way is waited for.
  void duty_changed();
  // Once a second.
  void check();

 private:
  // What is known of a policy beside what the server says now.
  struct Known {
    std::string uid;
    std::int64_t generation = 0;
    std::uint64_t revision = 0;  // of the first sight of that generation
    etcd::Scheduler::Time written{};
    std::string last_version;  // of its status, when that went
    std::uint64_t tries = 0;   // to make one
  };

  void policies_changed(const kubernetes::Change& change);
  void statuses_changed(const kubernetes::Change& change);
  void nodes_changed(const etcd::Change& change);
  void told(const etcd::Change& change);
  [[nodiscard]] bool ready() const;
  void all_due();
  void soon();
  void look();
  // False: it is to be looked at again.
  bool settle(const std::string& key);
  bool write(const std::string& key, const kubernetes::Entry& policy, Known& known);

  Parts parts_;
  Handlers handlers_;
  cluster::EnforcementView view_;
  std::map<std::string, Known> known_;  // by "namespace/name"
  std::set<std::string> due_;
  std::set<std::string> unsettled_;  // what becomes of them may depend on the time, or on any node
  ObjectWriter writer_;
  etcd::Timer look_;
  kubernetes::Reflector policies_;
  kubernetes::Reflector statuses_;
  etcd::Mirror alive_;
  etcd::Mirror told_;
};

}  // namespace weft::op
