// From a path to a connection that may be used: the checks, the locks, the schema. Inside this room only.
#pragma once

#include <string>

#include "sources/store/sqlite.h"

namespace weft::store {

Result<Connection> open_database(const std::string& path);

}  // namespace weft::store
