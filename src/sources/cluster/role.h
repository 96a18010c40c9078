// A duty that one node or operator of the cluster has at a time: `roles/<role>`, under its lease, written only if
// nobody has it. Whoever acts because of it puts `holds` into its transaction, so that a holder that was replaced
// without knowing changes nothing. A role that falls free is taken after a random wait, for all see that at once.
//
// Owner thread only; a handler must not destroy the role.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "sources/cluster/context.h"
#include "sources/cluster/membership.h"
#include "sources/cluster/turns.h"
#include "sources/cluster/values.h"

namespace weft::cluster {

struct RoleHandlers {
  std::function<void()> changed;  // the candidate has it, or has it no longer
  Trouble trouble;
};

class Role {
 public:
  // Waits up to `patience` before it takes a role that is free.
  Role(Context context, Candidate candidate, const std::string& role, std::chrono::milliseconds patience,
       RoleHandlers handlers);
  ~Role() = default;
  Role(const Role&) = delete;
  Role& operator=(const Role&) = delete;

  // Absent when somebody else has it, or the candidate is away.
  [[nodiscard]] std::optional<etcd::Compare> holds() const;
  // Who has it, as far as is known: a node and its boot id, or an operator and its run.
  [[nodiscard]] std::optional<Incarnation> holder() const;
  // Whether it is taken when it is free; one that is not wanted is given back. True at the beginning.
  void want(bool wanted);
  // The candidate came or left.
  void membership_changed();

 private:
  bool step();
  void take(const Membership& membership);
  bool let_go(const Membership& membership);
  void give_up();
  void mirror_changed(const etcd::Change& change);

  Context context_;
  Candidate candidate_;
  std::chrono::milliseconds patience_;
  RoleHandlers handlers_;
  std::string key_;
  bool wanted_ = true;
  etcd::Revision taken_at_ = 0;  // 0: the candidate does not have it
  bool waited_ = false;
  etcd::Timer wait_;
  Turns turns_;
  etcd::Mirror mirror_;
};

}  // namespace weft::cluster
