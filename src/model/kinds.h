// Which apiVersion and kind Weft acts on, passes over, or refuses.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "model/decode.h"

namespace weft::model {

struct KindEntry {
  std::string_view written;  // the kind as written
  std::string_view api_version;
  Kind kind;
  Workload workload = Workload::deployment;
};

struct KindVerdict {
  enum class Action { decode, list, skip, refuse };
  Action action = Action::refuse;
  const KindEntry* entry = nullptr;  // with decode
  std::string message;               // with skip and refuse; also a warning with decode when not empty
  bool about_version = false;        // the message concerns apiVersion, not kind
};

// How Kubernetes writes it itself.
const KindEntry& entry_of(Kind kind);

KindVerdict judge_kind(std::string_view api_version, std::string_view kind);

}  // namespace weft::model
