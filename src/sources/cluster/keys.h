// Where what the nodes of a cluster share lies in etcd (docs/adr/0007-shared-state-in-etcd.md): one key for each fact,
// all below "/weft/v1/<cluster>/". A key has one spelling only, so that two writers of a fact write the same key.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/ip.h"
#include "base/labels.h"
#include "base/result.h"
#include "sources/etcd/failure.h"

namespace weft::cluster {

using IdentityNumber = std::uint32_t;  // WEFT_IDENTITY_FIRST to WEFT_IDENTITY_LAST of abi/endpoint.h

// Addresses of a pool that one node gives out.
struct Block {
  std::string pool;
  Cidr cidr;
  [[nodiscard]] std::string to_string() const;  // "default 10.0.1.0/24"
  auto operator<=>(const Block&) const = default;
};

struct NodeKey {
  std::string node;
  auto operator<=>(const NodeKey&) const = default;
};
struct AliveKey {
  std::string node;
  auto operator<=>(const AliveKey&) const = default;
};
struct PoolsKey {
  auto operator<=>(const PoolsKey&) const = default;
};
struct BlockKey {
  Block block;
  auto operator<=>(const BlockKey&) const = default;
};
struct IdentityKey {
  IdentityNumber number = 0;
  auto operator<=>(const IdentityKey&) const = default;
};
// The labels themselves, not a digest of them: nothing can collide.
struct LabelsKey {
  LabelMap labels;
  auto operator<=>(const LabelsKey&) const = default;
};
struct UsersKey {
  std::string node;
  auto operator<=>(const UsersKey&) const = default;
};
struct MarkKey {
  IdentityNumber number = 0;
  auto operator<=>(const MarkKey&) const = default;
};
// Pods of a node: all of them, or one of its slices (endpoint_publisher.h).
struct EndpointsKey {
  std::string node;
  unsigned slice = 0;  // 0: it is no slice
  auto operator<=>(const EndpointsKey&) const = default;
};
// Which policies a node enforces.
struct EnforcementKey {
  std::string node;
  auto operator<=>(const EnforcementKey&) const = default;
};
// An object users applied; `kind` as Kubernetes spells it. No namespace: its kind has none.
struct ObjectKey {
  std::string kind;
  std::string namespace_;
  std::string name;
  auto operator<=>(const ObjectKey&) const = default;
};
// What a Service holds.
struct AssignmentKey {
  std::string namespace_;
  std::string name;
  auto operator<=>(const AssignmentKey&) const = default;
};
// Written with every assignment.
struct AssignmentsEpochKey {
  auto operator<=>(const AssignmentsEpochKey&) const = default;
};
// While a node brings its objects to a cluster that has none.
struct FoundingKey {
  auto operator<=>(const FoundingKey&) const = default;
};
struct RoleKey {
  std::string role;
  auto operator<=>(const RoleKey&) const = default;
};
// A run of an operator.
struct OperatorKey {
  std::string name;
  std::string run;
  auto operator<=>(const OperatorKey&) const = default;
};
// Who announces an address of a Service to the neighbours.
struct AnnouncerKey {
  IpAddress address;
  auto operator<=>(const AnnouncerKey&) const = default;
};
using Key = std::variant<NodeKey, AliveKey, PoolsKey, BlockKey, IdentityKey, LabelsKey, UsersKey, MarkKey, EndpointsKey,
                         EnforcementKey, ObjectKey, AssignmentKey, AssignmentsEpochKey, FoundingKey, RoleKey,
                         OperatorKey, AnnouncerKey>;

// A name of a cluster, node, pool or role: letters, digits, "-", "_" and ".", a letter or digit first, at most 253.
// `what` begins the error.
Result<void> check_name(std::string_view what, std::string_view name);

// The role of whoever has an address that one node has at a time, and the address of such a role; `invalid` for others.
inline constexpr std::string_view claim_role_prefix = "egress-";
std::string claim_role(const IpAddress& address);
Result<IpAddress> claimed_address(std::string_view role);

// The text of a label set, the same for equal sets. `invalid` when a label is not UTF-8, or all of them are too much
// for a key (16 KiB).
Result<std::string> canonical(const LabelMap& labels);

class Keyspace {
 public:
  static Result<Keyspace> make(const std::string& cluster);

  // Everything of one kind.
  [[nodiscard]] std::string nodes() const { return root_ + "nodes/"; }
  [[nodiscard]] std::string alive() const { return root_ + "alive/"; }
  [[nodiscard]] std::string blocks() const { return root_ + "blocks/"; }
  [[nodiscard]] std::string blocks_of(std::string_view pool) const { return blocks() + std::string(pool) + "/"; }
  [[nodiscard]] std::string identities() const { return root_ + "identities/ids/"; }
  [[nodiscard]] std::string users() const { return root_ + "identities/users/"; }
  [[nodiscard]] std::string marks() const { return root_ + "identities/marks/"; }
  [[nodiscard]] std::string endpoints() const { return root_ + "endpoints/"; }
  [[nodiscard]] std::string slices_of(std::string_view node) const { return endpoints() + std::string(node) + "/"; }
  [[nodiscard]] std::string enforcement() const { return root_ + "enforcement/"; }
  // Objects and all that goes with them: one mirror follows them at one revision.
  [[nodiscard]] std::string state() const { return root_ + "state/"; }
  [[nodiscard]] std::string objects() const { return root_ + "state/objects/"; }
  [[nodiscard]] std::string assignments() const { return root_ + "state/assignments/"; }
  [[nodiscard]] std::string roles() const { return root_ + "roles/"; }
  [[nodiscard]] std::string operators() const { return root_ + "operators/"; }
  [[nodiscard]] std::string announcers() const { return root_ + "announcers/"; }

  // Each part has been checked: names by check_name, numbers by their range, labels by canonical.
  [[nodiscard]] std::string build(const Key& key) const;
  // `invalid`, quoting the key and saying what is wrong with it: it may be anybody's.
  [[nodiscard]] Result<Key> parse(std::string_view key) const;
  // The same for who expects one kind.
  template <class Kind>
  [[nodiscard]] Result<Kind> parse_as(std::string_view key) const {
    WEFT_TRY(Key parsed, parse(key));
    if (auto* kind = std::get_if<Kind>(&parsed)) return std::move(*kind);
    return fail(ErrorCode::invalid, "key " + etcd::printable(key) + ": not of the kind that is expected there");
  }

 private:
  explicit Keyspace(std::string root) : root_(std::move(root)) {}
  std::string root_;  // "/weft/v1/<cluster>/"
};

}  // namespace weft::cluster
