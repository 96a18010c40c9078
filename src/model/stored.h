// The stored JSON form: Kubernetes JSON plus one private key that remembers where the object was written, and whether
// an API server has checked it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "model/kinds.h"

namespace weft::model {

inline constexpr const char* location_key = "x-weft-location";

// Decodes the object at `root`; problems go to its Report.
Object decode_object(const KindEntry& entry, const Value& root);

// The stored text of an object that decoded without problems.
std::string stored_json(const KindEntry& entry, const Value& root, const Object& object);

}  // namespace weft::model
