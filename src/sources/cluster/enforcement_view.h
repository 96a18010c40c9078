// What all nodes tell of the policies they enforce, and what follows for one policy: is it in force wherever it must
// be? Used by the operator, which follows the nodes, and by an agent that is asked, which reads them once. Pure.
//
// A node counts as enforcing what it tells while it is alive as the run that told it. One that is away goes on with
// what it had, which nobody confirms. A node that does not tell of a policy has no pods of it only if it has taken in
// the changes up to that policy's revision: until then it may have some.
//
// Of a policy and a node some 40 bytes are kept, so that a thousand nodes with hundreds of policies are tens of
// megabytes.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sources/cluster/enforcement.h"
#include "sources/etcd/scheduler.h"

namespace weft::cluster {

using PolicyName = std::pair<std::string, std::string>;  // namespace, name

class EnforcementView {
 public:
  using Time = etcd::Scheduler::Time;
  // A node that has just joined says within a second or two what it enforces: only after `grace` its silence counts for
  // more than that it is to be waited for.
  explicit EnforcementView(std::chrono::milliseconds grace = std::chrono::seconds(10)) : grace_(grace) {}

  // The run of the node that is alive; nothing: it is away.
  void set_alive(const std::string& node, const std::optional<std::string>& boot_id, Time now);
  // What it tells; nothing: no more. Returns the policies of which it tells something else than before.
  std::vector<PolicyName> set(const std::string& node, const std::optional<Enforcement>& told, Time now);
  // Of which the node tells.
  [[nodiscard]] std::vector<PolicyName> policies_of(const std::string& node) const;
  [[nodiscard]] std::size_t nodes() const { return nodes_.size(); }

  struct Policy {
    PolicyName name;
    std::string uid;  // empty: it has none that all nodes know
    PolicyVersion version;
    std::uint64_t revision = 0;  // of the change that made it this version
  };
  enum class Verdict : std::uint8_t {
    enforced,  // by every node that has pods of it
    no_pods,   // no node has any
    waiting,   // nodes have not said yet that they know this version
    failed,    // a node cannot
    away,      // a node that is away has pods of it
  };
  struct Behind {
    std::string node;
    PolicyVersion version;  // in force there, as far as is known
    std::string reason;
  };
  struct Judgement {
    Verdict verdict = Verdict::enforced;
    std::size_t selected = 0;    // nodes that have pods of it
    std::size_t enforcing = 0;   // of these
    std::vector<Behind> behind;  // all others that matter, the worst first
    // Nodes that have just joined and not told yet. They may have pods of it, of before; nothing that was so is undone
    // by them, and nothing new is to be concluded before.
    std::vector<std::string> joining;
  };
  [[nodiscard]] Judgement judge(const Policy& policy, Time now) const;

 private:
  using NodeIndex = std::uint32_t;
  struct Told {
    NodeIndex node = 0;
    bool failed = false;
    bool digest = false;        // what `version` is of
    std::uint64_t version = 0;  // the generation, or the digest
    std::uint64_t uid = 0;      // a number by its text
    bool operator==(const Told&) const = default;
  };
  struct Failed {
    std::string reason;
    PolicyVersion kept;
    bool operator==(const Failed&) const = default;
  };
  using Tolds = std::map<PolicyName, std::vector<Told>>;  // each by node
  struct Node {
    NodeIndex index = 0;
    std::optional<std::string> alive;
    Time silent_since{};
    bool tells = false;
    std::string boot_id;
    std::uint64_t seen = 0;
    std::uint64_t omitted = 0;
    std::vector<Tolds::value_type*> policies;  // by name
    std::map<PolicyName, Failed> failed;
    [[nodiscard]] bool is_told_by_this_run() const { return tells && alive && *alive == boot_id; }
  };

  Node& node(const std::string& name);
  void drop_if_unknown(const std::string& name);
  static Told told_of(NodeIndex node, const EnforcedPolicy& policy);
  [[nodiscard]] static PolicyVersion version_of(const Told& told);
  struct Weighed;
  [[nodiscard]] std::optional<Weighed> weigh(const Policy& policy, const std::string& name, const Node& node,
                                             const Told* told, Time now) const;

  std::chrono::milliseconds grace_;
  std::map<std::string, Node> nodes_;
  NodeIndex next_index_ = 0;
  Tolds policies_;
};

}  // namespace weft::cluster
