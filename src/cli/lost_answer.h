// What became of an apply or a delete that the agent did not answer, for it ended meanwhile: asked of the agent that
// follows it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/session.h"

namespace weft::cli {

// The agent had the request and did not answer: what it did of it is not known.
bool is_lost(const api::ApiError& error);

struct LostChange {
  bool removes = false;             // else applies
  const nlohmann::json& documents;  // as they were sent; null: the object was named
  const nlohmann::json& named;      // {kind, namespace, name} as for `get`; null: documents were sent
  std::string output;
};
// Waits for the agent to be back, and says which objects are as they were wished. 0 when all are.
int report_lost(const Session& session, const LostChange& change, const api::ApiError& error);

}  // namespace weft::cli
