// encryption status and rotate.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/answer.h"
#include "cli/commands.h"
#include "cli/json_access.h"
#include "cli/output.h"
#include "flow/format.h"

namespace weft::cli {
namespace {

using flow::bytes_text;
using nlohmann::json;

std::string joined(const json& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + cell(word);
  return text;
}

std::string or_dash(const std::string& word) { return word.empty() ? "-" : word; }

void print_heading(const Session& session, const json& status) {
  auto& out = session.io.out;
  out << fmt::format("WireGuard by {}{}{}\n", text(status, "implementation"),
                     flag(status, "strict") ? ", strict: nothing in clear" : "",
                     flag(status, "node_to_node") ? ", between nodes too" : "");
  for (const auto& device : member(status, "devices")) {
    const auto restarts = number(device, "restarts");
    out << fmt::format("{}: key {} of generation {}, UDP port {}{}{}\n", text(device, "name"),
                       text(device, "public_key"), number(device, "generation"), number(device, "port"),
                       flag(device, "ready") ? "" : ", NOT READY",
                       restarts == 0 ? "" : fmt::format(", started again {} times", restarts));
  }
  if (flag(status, "rotating")) {
    const auto names = joined(member(status, "waits_for"));
    out << "keys are changing" << (names.empty() ? "" : "; the earlier one is kept for " + names) << '\n';
    for (const auto& node : member(status, "items"))
      if (const auto why = text(node, "waits"); !why.empty()) out << "  " << why << '\n';
  }
  out << '\n';
}

}  // namespace

int run_encryption(const Session& session, const std::string& action, const std::string& output) {
  auto answer = session.call("encryption." + action, json::object());
  if (!answer) return session.report(answer.error());
  session.tell_age(*answer);
  const auto& nodes = member(*answer, "items");
  const auto troubled = [](const json& one) { return !text(one, "problem").empty(); };
  const bool wrong = std::ranges::any_of(nodes, troubled) || std::ranges::any_of(member(*answer, "devices"), troubled);
  const bool unheard = flag(*answer, "unheard");
  const int code = wrong && action == "status" ? exit_failed : unheard ? exit_unavailable : exit_ok;
  if (output == "json" || output == "yaml") {
    output == "json" ? print_json(session, *answer) : print_yaml(session, *answer);
    return code;
  }
  print_heading(session, *answer);
  print_items(session, nodes, output,
              {{column("NODE", "node"),
                column("STATE", "state"),
                {"ENDPOINT", [](const json& item) { return or_dash(text(item, "endpoint")); }, false},
                column("GENERATION", "generation"),
                column("LAST HANDSHAKE", "last_handshake"),
                {"SENT", [](const json& item) { return bytes_text(number(item, "sent_bytes")); }, false},
                {"RECEIVED", [](const json& item) { return bytes_text(number(item, "received_bytes")); }, false}},
               [](const json& item) { return text(item, "node"); },
               unheard ? "the other nodes are not known yet" : "no other nodes"});
  for (const auto* list : {"devices", "items"})
    for (const auto& one : member(*answer, list))
      print_problem(session, "! ", text(one, "problem"), text(one, "remedy"));
  return code;
}

}  // namespace weft::cli
