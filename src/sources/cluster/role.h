// A duty that one node of the cluster has at a time: `roles/<role>`, under the node's lease, written only if nobody has
// it. Whoever acts because of it puts `holds` into its transaction, so that a holder that was replaced without knowing
// changes nothing. A role that falls free is taken after a random wait, for all nodes see that at once.
//
// Owner thread only; a handler must not destroy the role.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "sources/cluster/context.h"
#include "sources/cluster/node_registry.h"
#include "sources/cluster/turns.h"

namespace weft::cluster {

struct RoleHandlers {
  std::function<void()> changed;  // this node has it, or has it no longer
  Trouble trouble;
};

class Role {
 public:
  // Waits up to `patience` before it takes a role that is free.
  Role(Context context, NodeRegistry& registry, std::string role, std::chrono::milliseconds patience,
       RoleHandlers handlers);
  ~Role() = default;
  Role(const Role&) = delete;
  Role& operator=(const Role&) = delete;

  // Absent when another node has it, or this one is away.
  [[nodiscard]] std::optional<etcd::Compare> holds() const;
  // The registry's node joined or left.
  void membership_changed();

 private:
  bool step();
  void take();
  void give_up();
  void mirror_changed(const etcd::Change& change);

  Context context_;
  NodeRegistry* registry_;
  std::chrono::milliseconds patience_;
  RoleHandlers handlers_;
  std::string key_;
  etcd::Revision taken_at_ = 0;  // 0: this node does not have it
  bool waited_ = false;
  etcd::Timer wait_;
  Turns turns_;
  etcd::Mirror mirror_;
};

}  // namespace weft::cluster
