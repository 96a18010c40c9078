// Addresses that one node of the cluster has at a time: `roles/egress-<address>`, under the node's lease, written only
// if nobody has it. So an address is one node's until that gives it back or its lease ends, whatever comes and goes
// meanwhile. The first to ask has it; who should ask is for others to say.
//
// Owner thread only; a handler must not destroy it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/ip.h"
#include "sources/cluster/context.h"
#include "sources/cluster/node_registry.h"
#include "sources/cluster/turns.h"

namespace weft::cluster {

struct AddressClaimHandlers {
  std::function<void()> changed;  // holders() are others
  Trouble trouble;
};

class AddressClaims {
 public:
  AddressClaims(Context context, NodeRegistry& registry, AddressClaimHandlers handlers);
  ~AddressClaims() = default;
  AddressClaims(const AddressClaims&) = delete;
  AddressClaims& operator=(const AddressClaims&) = delete;

  // Exactly these are to be this node's: those that are free are taken, others it has are given back. Those that
  // another node has are left to it, and taken when they fall free. Before the first call nothing is changed: what an
  // earlier run of this node has goes on.
  void want(std::set<IpAddress> addresses);
  // Nodes by what they have, as last heard: without etcd it stays like that.
  [[nodiscard]] const std::map<IpAddress, std::string>& holders() const { return holders_; }
  // holders() have been whole once.
  [[nodiscard]] bool synced() const { return mirror_.synced(); }
  // The registry's node joined or left.
  void membership_changed() {
    changed_at_ = 0;  // an etcd that was wiped meanwhile counts anew
    turns_.wake();
  }

 private:
  bool step();
  bool change(etcd::Txn txn);
  bool write(const std::string& key, etcd::Compare unless);
  void mirror_changed();

  Context context_;
  NodeRegistry* registry_;
  AddressClaimHandlers handlers_;
  std::string prefix_;
  std::optional<std::set<IpAddress>> wanted_;  // absent: nothing was said yet
  std::map<IpAddress, std::string> holders_;
  etcd::Revision changed_at_ = 0;  // of the last request: the view before it says nothing
  Turns turns_;
  etcd::Mirror mirror_;
};

}  // namespace weft::cluster
