// Which node of the cluster announces an address of a Service to the neighbours: `announcers/<address>`, under the
// node's lease, written only if no other node has it. docs/adr/0015-one-announcer.md
//
// A node that has an address keeps it, whoever would come first by now: an address that moves costs connections. It
// goes to another node when the lease of the one that has it ends, or when that one gives it up. Without etcd everybody
// goes on as they are; a node that was away finds out when it is back whether another one took over.
//
// Owner thread only; a handler must not destroy this.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sources/cluster/context.h"
#include "sources/cluster/node_registry.h"
#include "sources/cluster/turns.h"

namespace weft::cluster {

class Announcers {
 public:
  struct Handlers {
    std::function<void()> changed;  // may_announce() or holders() may be another
    Trouble trouble;
  };
  // After how long this node tries to take an address that has just come free.
  using Delay = std::function<std::chrono::milliseconds(const IpAddress& address)>;

  Announcers(Context context, NodeRegistry& registry, Handlers handlers);
  ~Announcers() = default;
  Announcers(const Announcers&) = delete;
  Announcers& operator=(const Announcers&) = delete;

  // Those this node announced when it last ran, before the first want().
  void adopt(const std::set<IpAddress>& addresses) { had_ = addresses; }
  // The addresses this node could announce. It gives up the others. `delay` is asked until the next call.
  void want(std::set<IpAddress> addresses, Delay delay);

  // It is this node's: etcd said so last, and has not said otherwise.
  [[nodiscard]] bool may_announce(const IpAddress& address) const { return had_.contains(address); }
  // Nobody else can have it now.
  [[nodiscard]] bool surely_has(const IpAddress& address) const;
  // The nodes that have addresses, as far as is known.
  [[nodiscard]] const std::map<IpAddress, std::string>& holders() const { return holders_; }

  void membership_changed();

 private:
  struct Move {
    IpAddress address;
    etcd::Compare compare;
    bool take = false;  // or it is given up
  };

  bool step();
  [[nodiscard]] std::vector<Move> due();
  [[nodiscard]] std::optional<Move> due(const IpAddress& address);
  [[nodiscard]] bool is_settling(const IpAddress& address) const;
  void moved(const std::vector<Move>& moves, const etcd::Outcome<etcd::TxnResult>& outcome, std::uint64_t epoch);
  void mirror_changed(const etcd::Change& change);
  void wake_at(etcd::Scheduler::Time time);

  Context context_;
  NodeRegistry* registry_;
  Handlers handlers_;
  std::set<IpAddress> wanted_;
  Delay delay_;
  std::set<IpAddress> had_;
  std::map<IpAddress, std::string> holders_;
  std::map<IpAddress, etcd::Scheduler::Time> due_;  // of wanted ones that are free: when they are to be taken
  std::map<IpAddress, etcd::Revision> settling_;    // written by this node, not in the mirror yet
  std::size_t at_once_;
  etcd::Scheduler::Time next_{};  // when the timer runs out
  etcd::Timer timer_;
  Turns turns_;
  etcd::Mirror mirror_;
};

}  // namespace weft::cluster
