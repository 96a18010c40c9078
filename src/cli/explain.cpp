// policy explain: the verdict first, then why, then what would have to change.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "api/answer.h"
#include "cli/commands.h"
#include "cli/json_access.h"
#include "cli/output.h"

namespace weft::cli {
namespace {

using nlohmann::json;

std::string side_text(const json& side) {
  const auto pod = text(side, "pod");
  const auto address = text(side, "address");
  if (pod.empty()) return address.empty() ? "?" : address;
  return text(side, "namespace") + "/" + pod + (address.empty() ? "" : " (" + address + ")");
}

std::string verdict_text(const std::string& verdict, bool colour) {
  const std::string word = verdict == "allow" ? "ALLOWED" : "DENIED";
  return colour ? fmt::format("\x1b[{}m{}\x1b[0m", verdict == "allow" ? 32 : 31, word) : word;
}

void print_explanation(const Session& session, const json& item) {
  auto& out = session.io.out;
  std::string service;
  if (member(item, "service").is_object())
    service = fmt::format(" through svc/{}/{}", text(item, "service/namespace"), text(item, "service/name"));
  out << fmt::format("{}  {} -> {}{} port {}/{}\n", verdict_text(text(item, "verdict"), session.io.colour),
                     side_text(member(item, "from")), side_text(member(item, "to")), service, cell(item, "port"),
                     text(item, "protocol"));
  for (const auto& line : member(item, "text")) out << "  " << cell(line) << '\n';
  const auto& location = member(item, "rule/location");
  if (location.is_object()) {
    const auto line = number(location, "line");
    out << fmt::format("  written in {}{}\n", text(location, "file"), line == 0 ? "" : fmt::format(":{}", line));
  }
  if (const auto& change = member(item, "change"); !change.empty()) {
    out << "to change that:\n";
    for (const auto& line : change) out << "  " << (line.is_string() ? line.get<std::string>() : cell(line)) << '\n';
  }
}

}  // namespace

int run_explain(const Session& session, const ExplainOptions& options) {
  json params{{"from", options.from}, {"to", options.to}};
  if (!options.port.empty()) params["port"] = options.port;
  auto answer = session.call("policy.explain", params);
  if (!answer) return session.report_words(answer.error());
  session.tell_age(*answer);
  const auto& items = member(*answer, "items");
  if (options.output == "json" || options.output == "yaml") {
    options.output == "json" ? print_json(session, items) : print_yaml(session, items);
    return exit_ok;
  }
  bool first = true;
  for (const auto& item : items) {
    if (!first) session.io.out << '\n';
    first = false;
    print_explanation(session, item);
  }
  return exit_ok;
}

}  // namespace weft::cli
