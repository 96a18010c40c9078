// What of the shared state nobody needs any more. Pure: a picture of etcd at one revision and the time come in, the
// writes that clean up come out. Each is a transaction that holds only if what made it right is still so.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sources/cluster/context.h"
#include "sources/cluster/values.h"
#include "sources/etcd/types.h"

namespace weft::cluster {

// Everything below the prefixes; of `endpoints`, `enforcement`, `identities` and `marks` the values are not looked at.
struct Picture {
  std::vector<etcd::KeyValue> alive;
  std::vector<etcd::KeyValue> nodes;
  std::vector<etcd::KeyValue> blocks;
  std::vector<etcd::KeyValue> users;
  std::vector<etcd::KeyValue> endpoints;
  std::vector<etcd::KeyValue> enforcement;
  std::vector<etcd::KeyValue> identities;
  std::vector<etcd::KeyValue> marks;
};

struct Cleanup {
  // Keys of runs of nodes that are gone.
  std::vector<etcd::Txn> leftovers;
  // Numbers to be erased, and what must hold for it; the labels' key has to be found out before.
  std::map<IdentityNumber, std::vector<etcd::Compare>> identities;
  std::vector<std::string> mark;    // marks to be written
  std::vector<std::string> unmark;  // marks to be erased
  // Keys and values that make no sense. What they stand for is left alone.
  std::vector<Error> problems;
};

class Collection {
 public:
  Collection(Keyspace keys, std::chrono::seconds delay) : keys_(std::move(keys)), delay_(delay) {}

  // A key of a run of a node goes when that run has not been alive, and nobody has written the key, in all pictures of
  // the last `delay`; not while the node's record says that it is to be kept. A number goes when it has had a mark
  // since an earlier picture, and no user now.
  Cleanup look(const Picture& picture, etcd::Scheduler::Time now);
  // Someone else watched meanwhile, or nobody.
  void forget() { absent_.clear(); }

 private:
  struct Absent {
    etcd::Revision revision = 0;  // of the key
    etcd::Scheduler::Time since;
  };
  struct Alive {
    std::optional<std::string> boot_id;  // absent: it cannot be read
    etcd::Revision revision = 0;
  };

  // `boot_id` absent: any run of the node.
  void judge(const etcd::KeyValue& kv, const std::string& node, const std::optional<std::string>& boot_id,
             etcd::Scheduler::Time now, Cleanup& cleanup);
  // Of a kind whose keys name a node.
  template <class Kind>
  void judge_by_node(const std::vector<etcd::KeyValue>& kvs, etcd::Scheduler::Time now, Cleanup& cleanup);
  void look_at_identities(const Picture& picture, Cleanup& cleanup) const;

  Keyspace keys_;
  std::chrono::seconds delay_;
  std::map<std::string, Absent> absent_;  // by key
  std::map<std::string, Absent> seen_;    // those of the picture that is looked at
  std::map<std::string, Alive> alive_;
  std::set<std::string> kept_;  // nodes
};

}  // namespace weft::cluster
