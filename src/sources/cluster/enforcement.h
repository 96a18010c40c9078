// enforcement/<node>: which NetworkPolicies a node enforces for its pods, and in which version of them. A node tells of
// those only that select a pod of its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weft::cluster {

// Which of a policy: the generation that an API server counts; where there is none, a digest of what it asks for.
struct PolicyVersion {
  std::uint64_t generation = 0;
  std::string digest;
  [[nodiscard]] bool empty() const { return generation == 0 && digest.empty(); }
  // "3", "5a09c1f2d3e4b567", or "none".
  [[nodiscard]] std::string to_string() const;
  auto operator<=>(const PolicyVersion&) const = default;
};

struct EnforcedPolicy {
  std::string namespace_;
  std::string name;
  std::string uid;
  PolicyVersion version;  // that the node knows
  std::string reason;     // why that one is not enforced; empty: it is
  PolicyVersion kept;     // what is in force instead; empty: nothing of it is known to be
  [[nodiscard]] bool enforced() const { return reason.empty(); }
  auto operator<=>(const EnforcedPolicy&) const = default;
};

struct Enforcement {
  std::string boot_id;
  // Of the changes of policies this node has taken in all up to this revision of where they come from.
  std::uint64_t seen = 0;
  std::vector<EnforcedPolicy> policies;  // by namespace and name
  std::uint64_t omitted = 0;             // policies behind the last one that there is no room for
  // The same but for `seen`.
  [[nodiscard]] bool tells_as(const Enforcement& other) const;
  // Null: it does not tell of that one.
  [[nodiscard]] const EnforcedPolicy* find(std::string_view namespace_, std::string_view name) const;
  // It may enforce that one, though it does not tell.
  [[nodiscard]] bool omits(std::string_view namespace_, std::string_view name) const;
  bool operator==(const Enforcement&) const = default;
};

// As values.h: equal values have equal texts, what is read is distrusted, and `key` is for the errors.
std::string encode(const Enforcement& enforcement);
Result<Enforcement> decode_enforcement(std::string_view key, std::string_view value);
// The same with as many policies as fit into so many bytes.
std::string encode_within(Enforcement enforcement, std::size_t most);

}  // namespace weft::cluster
