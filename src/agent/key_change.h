// Why a change of keys is not over yet, by node, for the operator. Pure.
#pragma once

#include <optional>
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

}  // namespace weft::agent
