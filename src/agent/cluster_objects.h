// The objects of a node whose store is etcd. What users apply here is admitted against what the cluster has, written
// there, and answered when it came back and is published; what others apply comes the same way. weft.db holds what came
// last: a start without etcd uses it.
//
// One change at a time, in the order they were asked for. A change that met another node's is admitted again.
// On the agent's thread; answers do not run inside the call that asks.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/faults.h"
#include "agent/intake.h"
#include "agent/objects.h"
#include "agent/publisher.h"
#include "sources/cluster/shared_objects.h"

namespace weft::agent {

class ClusterObjects {
 public:
  struct Parts {
    cluster::Context context;
    std::string node;
    std::string etcd;  // its endpoints, for messages
    Objects& objects;
    Publisher& publisher;
  };
  struct Handlers {
    Intake::Handlers intake;
    // This node's duty is it to give waiting Services what they wait for.
    std::function<bool()> serves;
    std::function<void(const std::string& text)> note;
    // All that etcd has and this node does not understand, by what it is.
    std::function<void(const std::map<std::string, Fault>& faults)> misunderstood;
  };
  template <class T>
  using Done = std::function<void(Result<T>)>;

  ClusterObjects(Parts parts, Handlers handlers);

  struct Applied {
    bool refused = false;  // for its problems: nothing was applied
    std::vector<model::Document> documents;
    std::vector<Objects::Action> actions;  // of the documents
    std::vector<model::Problem> problems;
  };
  // Those with problems already count among all.
  void apply(std::vector<model::Document> documents, std::vector<model::Problem> problems, bool all_or_nothing,
             Done<Applied> done);
  // Those that are not there are passed over.
  void remove(std::vector<store::StoredKey> keys, Done<void> done);
  // To a cluster that has none: this node's objects, or none, are the cluster's from now on. Returns how many.
  void push(bool none, Done<std::size_t> done);

  // Once a second: tries again what could not be done.
  void check();
  [[nodiscard]] nlohmann::json status_json() const;
  // What it means that etcd has no objects of the cluster, or has lost them, while this node has some; empty: it is not
  // so.
  [[nodiscard]] std::string unfounded() const;
  // What the cluster has was heard of, now or by an earlier run.
  [[nodiscard]] bool known() const;
  // The revision up to which changes of policies are taken in; 0: none are by this run.
  [[nodiscard]] std::uint64_t policies_seen() const { return policies_seen_; }
  // Of the last change of that object; 0: it is not there.
  [[nodiscard]] std::uint64_t revision_of(const store::StoredKey& key) const;
  // Once what etcd has now of this pod, and of its Namespace, is known here; without etcd at once.
  void catch_up(const model::ObjectKey& pod, std::function<void()> done);
  // Why a change would be refused now, for whatever it is about.
  [[nodiscard]] std::optional<Error> unavailable() const;

 private:
  struct Job {
    enum class Kind : std::uint8_t { apply, remove, push };
    Kind kind = Kind::apply;
    std::vector<model::Document> documents;
    std::vector<model::Problem> problems;
    bool all_or_nothing = true;
    std::vector<store::StoredKey> keys;
    bool none = false;
    Done<Applied> applied;
    Done<void> removed;
    Done<std::size_t> pushed;

    int tries = 0;
    bool founds = false;  // this try writes the cluster's first objects
    Applied result;
    std::map<store::StoredKey, Objects::Planned> tried;  // what was to be written
    std::vector<std::string> written;                    // by earlier tries
    std::vector<cluster::SharedWrite> writes;            // of this try
  };
  // What came and is not stored yet.
  struct Owed {
    bool whole = false;
    std::map<cluster::ObjectKey, std::optional<std::string>> objects;
    std::map<cluster::AssignmentKey, std::optional<std::string>> assignments;
  };

  void submit(Job job);
  void start();
  void attempt();
  Result<void> plan_apply(Job& job, bool& gives);
  Result<void> plan_remove(Job& job, bool& gives) const;
  Result<void> plan_push(Job& job) const;
  void answered(const cluster::WriteResult& result);
  [[nodiscard]] std::optional<Error> not_taken(const Job& job) const;
  [[nodiscard]] Error failure(const Job& job, const cluster::WriteResult& result) const;
  void finish(const std::optional<Error>& error);

  void take(const cluster::SharedDifference& difference);
  void settle();
  void read_objects(Publisher::Brought& brought);
  void read_assignments(Publisher::Brought& brought);
  void tell_misunderstood();
  void serve();
  void state_changed();

  Parts parts_;
  Handlers handlers_;
  Intake intake_;
  std::deque<Job> jobs_;  // the first one is at work
  bool working_ = false;
  etcd::Timer start_;
  etcd::Timer retry_;
  std::map<std::string, Misunderstood> misunderstood_;  // by name_of()
  std::optional<Owed> owed_;
  bool pools_changed_ = true;  // since waiting Services were served
  bool serving_ = false;
  bool connected_ = false;
  std::uint64_t policies_seen_ = 0;
  std::chrono::system_clock::time_point since_ = std::chrono::system_clock::now();  // connected or not
  std::unique_ptr<cluster::SharedObjects> shared_;
};

}  // namespace weft::agent
