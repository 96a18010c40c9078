// Why there is no key, or an earlier one still, by node, for the operator. Pure.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "control/encryption/encryption.h"

namespace weft::agent {

// A node that this one keeps an earlier key for.
struct KeyWait {
  std::string node;
  bool alive = true;
  control::OfferedKeys offered;
  control::Generation newest = 0;               // of this node's keys
  std::optional<control::Generation> sends_by;  // this node to that one
  std::string address;                          // of its device of the newest generation; empty: none is known
};

struct KeyWaitReason {
  std::string text;
  std::string remedy;
  bool operator==(const KeyWaitReason&) const = default;
};
KeyWaitReason why_waiting(const KeyWait& wait);

// Nodes that there is no key for. One that comes tells of itself before it has one: what lasts is a problem.
class Keyless {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds patience{5};
  void take(const std::set<std::string>& nodes, Time now);
  [[nodiscard]] bool lasts(const std::string& node, Time now) const;

 private:
  std::map<std::string, Time> since_;
};

}  // namespace weft::agent
