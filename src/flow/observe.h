// The `observe` method: history and followers, pulled from the store as fast as the reader reads.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "api/server.h"
#include "flow/store.h"

namespace weft::flow {

// Serves one request: to be registered as a stream handler. A reader slower than the flows loses
// the oldest in the store's ring and is told how many; nothing else is queued for it. `store` must
// outlive the server's loop.
void serve_observe(FlowStore& store, const std::string& node, const nlohmann::json& params, api::Stream stream);

}  // namespace weft::flow
