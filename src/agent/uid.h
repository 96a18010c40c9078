// metadata.uid of objects: what tells an object from an earlier one of its name.
#pragma once

#include <string>
#include <string_view>

namespace weft::agent {

// A random UUID (RFC 9562, version 4).
std::string random_uid();
// The same UUID for the same text, always (version 8): for what follows from something else.
std::string derived_uid(std::string_view text);

}  // namespace weft::agent
