#include "cli/lost_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "api/answer.h"
#include "cli/json_access.h"
#include "cli/output.h"

namespace weft::cli {
namespace {

using nlohmann::json;

// Whoever keeps the agent running starts it within seconds; then it follows etcd.
constexpr auto patience = std::chrono::seconds(30);
constexpr auto pause = std::chrono::milliseconds(200);

bool says(const api::ApiError& error, std::string_view words) {
  return error.error.message.find(words) != std::string::npos;
}

// It serves, and knows what its cluster has.
bool is_back(const Session& session) {
  auto client = session.connect();
  if (!client) return false;
  const auto status = client->call("status", json::object(), std::chrono::seconds(5));
  if (!status) return false;
  const auto& store = member(*status, "cluster/store");
  return !store.is_object() || (flag(store, "connected") && text(store, "owed").empty());
}

bool waits_until_back(const Session& session) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!is_back(session)) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(pause);
  }
  return true;
}

struct Found {
  json done = json::array();  // as wished; each {kind, namespace, name}
  json left = json::array();
};

// What applying the documents would do now says what is there.
std::optional<Found> look_at_documents(const Session& session, const LostChange& change) {
  json params{{"documents", change.documents}, {"all_or_nothing", false}, {"dry_run", true}};
  const auto planned = session.call("apply", params);
  if (!planned) return std::nullopt;
  Found found;
  for (const auto& entry : member(*planned, "applied")) {
    const auto action = text(entry, "action");
    const bool done = change.removes ? action == "created" : action == "unchanged";
    auto object = entry;
    object.erase("action");
    (done ? found.done : found.left).push_back(std::move(object));
  }
  // What is refused now was not applied, and whether it was deleted is not known; it has no name here.
  if (const auto& problems = member(*planned, "problems"); problems.is_array())
    for (const auto& problem : problems) found.left.push_back(problem);
  return found;
}

std::optional<Found> look_at_named(const Session& session, const LostChange& change) {
  const auto answer = session.call("get", change.named);
  if (!answer) return std::nullopt;
  Found found;
  (member(*answer, "items").empty() ? found.done : found.left).push_back(change.named);
  return found;
}

void print_found(const Session& session, const LostChange& change, const json& done, const json& left,
                 const std::optional<Error>& error) {
  const auto* word = change.removes ? "deleted" : "applied";
  if (change.output == "json") {
    json object{{word, done}, {"left", left}, {"problems", json::array()}, {"warnings", json::array()}};
    if (error) object["error"] = {{"code", to_string(error->code)}, {"message", error->message}, {"hint", error->hint}};
    print_json(session, object);
  } else {
    for (const auto& entry : done)
      session.io.out << reference_of(entry) << (change.output == "name" ? "" : fmt::format(" {}", word)) << '\n';
  }
  session.io.out.flush();
}

}  // namespace

bool is_lost(const api::ApiError& error) {
  return !was_answered(error) && (says(error, "closed the connection") || says(error, "did not answer in time"));
}

int report_lost(const Session& session, const LostChange& change, const api::ApiError& error) {
  const auto* word = change.removes ? "deleted" : "applied";
  const std::string again = "run the same command again: it does what is left, and leaves alone what is done";
  std::optional<Found> found;
  if (says(error, "closed the connection")) {
    session.io.err << "weft: " << error.error.message << " before it answered; waiting for it, to see what is " << word
                   << '\n';
    session.io.err.flush();
    if (waits_until_back(session))
      found = change.documents.is_null() ? look_at_named(session, change) : look_at_documents(session, change);
  }
  if (!found) {
    const Error unknown{ErrorCode::unavailable,
                        fmt::format("{}; nothing, a part or all of it may be {}", error.error.message, word), again};
    print_found(session, change, nullptr, nullptr, unknown);
    return session.report(unknown);
  }
  if (found->left.empty()) {
    print_found(session, change, found->done, found->left, {});
    return exit_ok;
  }
  const auto all = found->done.size() + found->left.size();
  const Error part{ErrorCode::unavailable,
                   found->done.empty() ? fmt::format("{}; nothing was {}", error.error.message, word)
                                       : fmt::format("{}; {} of {} objects are {}, the others are not",
                                                     error.error.message, found->done.size(), all, word),
                   again};
  print_found(session, change, found->done, found->left, part);
  return session.report(part);
}

}  // namespace weft::cli
