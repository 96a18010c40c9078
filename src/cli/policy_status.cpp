// policy status: which nodes enforce which version of each policy.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/answer.h"
#include "cli/commands.h"
#include "cli/json_access.h"
#include "cli/output.h"

namespace weft::cli {
namespace {

using nlohmann::json;

std::string name_of(const json& item) { return text(item, "namespace") + "/" + text(item, "name"); }

// "node-2 (3)": what is in force there.
std::string behind_of(const json& item) {
  constexpr std::size_t named = 3;
  const auto& all = member(item, "behind");
  std::string nodes;
  for (std::size_t i = 0; i < std::min(named, all.size()); ++i) {
    const auto version = text(all[i], "version");
    nodes += fmt::format("{}{}{}", i == 0 ? "" : ",", text(all[i], "node"), version.empty() ? "" : "@" + version);
  }
  if (all.size() > named) nodes += fmt::format(" and {} more", all.size() - named);
  return nodes.empty() ? "-" : nodes;
}

std::string reason_of(const json& item) {
  const auto& all = member(item, "behind");
  return all.empty() ? "-" : text(all[0], "reason");
}

bool in_force(const json& item) { return text(item, "state") == "enforced" || text(item, "state") == "no pods"; }

}  // namespace

int run_policy_status(const Session& session, const PolicyStatusOptions& options) {
  auto space = options.namespace_;
  auto name = options.name;
  if (const auto slash = name.find('/'); slash != std::string::npos) {
    space = name.substr(0, slash);
    name = name.substr(slash + 1);
  } else if (!name.empty() && space.empty()) {
    space = "default";
  }
  json params = json::object();
  if (!space.empty()) params["namespace"] = space;
  if (!name.empty()) params["name"] = name;
  auto answer = session.call("policy.status", params);
  if (!answer) return session.report(answer.error());
  session.tell_age(*answer);
  const auto& items = member(*answer, "items");
  const int code = print_items(
      session, items, options.output,
      {{{"POLICY", name_of, false},
        column("VERSION", "version"),
        {"NODES",
         [](const json& item) { return fmt::format("{}/{}", number(item, "enforcing"), number(item, "selected")); },
         false},
        column("STATE", "state"),
        {"BEHIND", behind_of, false},
        {"WHY", reason_of, true}},
       name_of,
       "no policies: every pod may talk to every other"});
  if (code != exit_ok) return code;
  return std::ranges::all_of(items, in_force) ? exit_ok : exit_failed;
}

}  // namespace weft::cli
