// Cleans up after nodes that are gone and numbers that nobody needs, in rounds, while whoever runs it, an operator or a
// node, has the role "collector". What is to go is decided in collection.h; every write also holds only if the role is
// still the same one's.
//
// A round reads everything it judges at one revision, in one answer: a cluster of 1,000 nodes and 5,000 label sets is
// about 1.5 MB of the 4 that gRPC takes.
//
// Owner thread only; a handler must not destroy the collector.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "sources/cluster/collection.h"
#include "sources/cluster/context.h"
#include "sources/cluster/operator_record.h"
#include "sources/cluster/role.h"
#include "sources/cluster/turns.h"

namespace weft::cluster {

inline constexpr std::string_view collector_role = "collector";
// Between rounds, for a delay (Context).
std::chrono::milliseconds collector_interval(std::chrono::seconds delay);

class Collector {
 public:
  // A round begins each `interval` after the one before, the first an interval after the role was taken.
  // `removed`: this one has removed the node of that name, which was silent for the delay at least.
  Collector(Context context, const Role& role, std::chrono::milliseconds interval, Trouble trouble,
            std::function<void(const std::string& node)> removed = {});
  ~Collector() = default;
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

  // The role was taken or lost.
  void role_changed();
  [[nodiscard]] std::uint64_t rounds() const { return collected_.rounds; }  // completed
  [[nodiscard]] const Collected& collected() const { return collected_; }

 private:
  bool step();
  void arm();
  void look();
  void looked(const etcd::TxnResult& result);
  void plan_marks(const std::vector<std::string>& keys, bool write);
  void erase_identity(IdentityNumber number, std::vector<etcd::Compare> compare);
  void write(etcd::Txn txn);
  void count(const etcd::Txn& txn);
  void failed(const etcd::Failure& why);

  Context context_;
  const Role* role_;
  std::chrono::milliseconds interval_;
  Trouble trouble_;
  std::function<void(const std::string& node)> removed_;
  Collection collection_;
  bool due_ = false;
  Collected collected_;
  std::deque<etcd::Txn> writes_;
  std::map<IdentityNumber, std::vector<etcd::Compare>> identities_;
  etcd::Timer timer_;
  Turns turns_;
};

}  // namespace weft::cluster
