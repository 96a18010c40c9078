// The objects users applied and what Services hold, of the whole cluster: a mirror of both at one revision, told as
// differences, and a writer.
//
// What a write says was decided from the mirror's view: each object is compared with its revision there, and whoever
// gives out addresses or ports also compares and writes `state/assignments-epoch`, so that of two who decided at once
// one decides again. Then nobody gives anything twice, whatever is lost, late or repeated.
//
// A cluster has objects from its founding on: `state/assignments-epoch` is written with the first of them, and stays
// when the last is deleted. Without that key etcd is new, or was wiped; nothing is told then, not even that what was
// there is gone, so that nodes go on with what they know until somebody founds it again.
//
// An object that is a pool of addresses is written together with `pools`, which every claim of a block compares
// (block_allocator.h): compared with what it was, and, where the pool goes or is cut otherwise, with its having no
// block. So nobody has a block of a pool that is not there, and no two pools ever hold one address.
//
// Values are texts that are not looked at here. Owner thread only; a handler must not destroy this.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sources/cluster/context.h"
#include "sources/cluster/pools.h"

namespace weft::cluster {

struct SharedDifference {
  etcd::Revision revision = 0;  // of the view now
  bool whole = false;           // it is all there is, not what is new
  std::map<ObjectKey, std::string> objects;
  std::vector<ObjectKey> gone;
  std::map<AssignmentKey, std::string> assignments;
  std::vector<AssignmentKey> assignments_gone;
};

struct SharedWrite {
  ObjectKey key;
  std::optional<std::string> text;  // nothing: it is deleted
  // What the Service of this name shall hold: nothing: as it is; an empty text: nothing any more.
  std::optional<std::string> assignment;
  // The object itself stays as it is.
  bool assignment_only = false;
  // What it makes of the pool of this name; without ranges: it is gone.
  std::optional<Pool> pool;
};

struct WriteResult {
  enum class End : std::uint8_t {
    done,      // all of it is in etcd and in the view
    conflict,  // somebody else wrote, or an answer was lost; the view has caught up: decide again
    failed,
  };
  End end = End::done;
  std::size_t applied = 0;  // of the writes, the first ones are in etcd
  std::size_t unsure = 0;   // those after them may be
  std::optional<Error> error;
};

struct SharedObjectsHandlers {
  std::function<void(const SharedDifference& difference)> changed;
  std::function<void()> state;  // the state, or whether it is connected, is another
  Trouble trouble;
};

class SharedObjects {
 public:
  enum class State : std::uint8_t {
    unheard,    // etcd has not answered yet
    unfounded,  // the cluster has no objects; or they were lost
    following,
  };
  using Done = std::function<void(const WriteResult& result)>;

  SharedObjects(Context context, std::string node, SharedObjectsHandlers handlers);
  ~SharedObjects() = default;
  SharedObjects(const SharedObjects&) = delete;
  SharedObjects& operator=(const SharedObjects&) = delete;

  [[nodiscard]] State state() const { return state_; }
  // It followed, and the founding key is gone.
  [[nodiscard]] bool lost() const { return state_ == State::unfounded && followed_; }
  // News would be heard.
  [[nodiscard]] bool connected() const { return mirror_->live(); }
  // Since when nothing was heard of etcd.
  [[nodiscard]] std::chrono::milliseconds silent_for() const;
  [[nodiscard]] const std::optional<etcd::Failure>& problem() const { return mirror_->problem(); }
  [[nodiscard]] etcd::Revision revision() const { return mirror_->revision(); }
  [[nodiscard]] std::size_t objects() const;  // counted each time
  [[nodiscard]] bool contains(const ObjectKey& key) const { return revision_of(key) != 0; }
  // Of its last change; 0: it is not there.
  [[nodiscard]] etcd::Revision revision_of(const ObjectKey& key) const { return revision_of(context_.keys.build(key)); }

  // Asks etcd what it has of these objects now, and tells when the view is as new as that. False: etcd did not answer,
  // or the news did not come, within seconds; the view is what it was. `done` may run inside the call.
  void catch_up(const std::vector<ObjectKey>& keys, std::function<void(bool whole)> done);

  // All writes in their order, in parts that etcd takes, each applied whole or not at all. `gives`: addresses or ports
  // are given out, taken back, or may be by others because of it. One at a time; the others wait.
  // Only while following; `done` does not run inside the call.
  void write(std::vector<SharedWrite> writes, bool gives, Done done);
  // The cluster's first objects; what is left of a founding that was cut short is erased. Refused once it is founded.
  void found(std::vector<SharedWrite> writes, Done done);

 private:
  // The cluster's pools as they were read, or written.
  struct KnownPools {
    std::vector<Pool> pools;
    etcd::Revision revision = 0;
  };
  // A key that a request compares with a revision, or, with a `pool`, a prefix below which there is to be nothing.
  struct Conflict {
    std::string key;
    etcd::Revision compared = 0;
    std::string pool;
    [[nodiscard]] etcd::RangeRequest look() const;
  };
  // One request to etcd: the first `writes` of those that are left.
  struct Part {
    etcd::Txn txn;
    std::size_t writes = 0;
    std::vector<Conflict> compared;  // one for each comparison
    std::vector<Pool> pools;         // afterwards
  };
  struct Job {
    std::vector<SharedWrite> writes;
    bool gives = false;
    bool founds = false;
    Done done;
    std::size_t applied = 0;
    bool begun = false;                          // of a founding
    etcd::Revision expected = 0;                 // of the epoch, or of the founding key
    std::map<std::string, etcd::Revision> seen;  // of the keys, in the view it was decided from
    etcd::Revision revision = 0;                 // of the last part
    std::optional<KnownPools> pools;             // where one of the writes is a pool
    int pool_tries = 0;
  };

  // Somebody who waits until the view is at a revision.
  struct Follower {
    etcd::Revision revision = 0;  // 0: etcd has not said yet
    std::function<void(bool whole)> done;
    etcd::Timer patience;
  };

  void open();
  void mirror_changed(const etcd::Change& change);
  void mirror_state();
  void restart();
  void tell(const etcd::Change& change, bool whole);
  [[nodiscard]] etcd::Revision revision_of(const std::string& key) const;

  void submit(Job job);
  void start();
  void next_part();
  void read_pools();
  [[nodiscard]] Result<Part> make_part() const;
  Result<void> add_pool(Part& part, const Pool& pool) const;
  [[nodiscard]] etcd::Txn make_beginning() const;
  void part_answered(const etcd::Outcome<etcd::TxnResult>& outcome, const Part& part);
  void look_again(std::size_t writes, std::vector<Conflict> compared, const etcd::Failure& why);
  void conflicted(const etcd::TxnResult& result, const std::vector<Conflict>& compared);
  void check_waiting();
  void check_followers();
  void let_go(std::uint64_t follower, bool whole);
  void finish(WriteResult::End end, std::optional<Error> error = {}, std::size_t unsure = 0);

  template <class Answer>
  auto guarded(Answer answer) {
    return [alive = std::weak_ptr(alive_), answer = std::move(answer)](const auto&... given) {
      if (!alive.expired()) answer(given...);
    };
  }

  Context context_;
  std::string node_;
  SharedObjectsHandlers handlers_;
  std::string epoch_key_;
  std::string founding_key_;
  std::string pools_key_;
  etcd::Scheduler::Time opened_;
  State state_ = State::unheard;
  bool followed_ = false;
  bool restarting_ = false;  // the founding was heard of, and all is listed anew
  bool fresh_ = true;        // the mirror has told nothing yet: what it tells is the whole
  std::unique_ptr<etcd::Mirror> mirror_;

  std::deque<Job> jobs_;  // the first one is at work
  bool working_ = false;
  enum class Wait : std::uint8_t { none, written, conflict };
  Wait waiting_ = Wait::none;
  std::vector<Conflict> conflicts_;
  etcd::Timer patience_;
  std::map<std::uint64_t, Follower> followers_;
  std::uint64_t last_follower_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weft::cluster
