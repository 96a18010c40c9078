// What the operator has to tell about an object where people look: an Event beside it.
#pragma once

#include <functional>
#include <string>

#include "model/metadata.h"

namespace weft::op {

struct ObjectEvent {
  std::string api_version;  // of the object it is about
  std::string kind;
  model::ObjectKey key;
  std::string uid;
  bool warning = false;
  std::string reason;  // "AddressGiven"
  std::string note;
};
using TellEvent = std::function<void(const ObjectEvent& event)>;

}  // namespace weft::op
