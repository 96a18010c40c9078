// weft bgp: the speaker, its peers, the routes.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "api/answer.h"
#include "cli/commands.h"
#include "cli/json_access.h"
#include "cli/output.h"

namespace weft::cli {
namespace {

using nlohmann::json;

std::string dash(const std::string& text) { return text.empty() ? "-" : text; }

// "IPv4 3, IPv6 1": of the families that are exchanged.
std::string counts(const json& peer, std::string_view which) {
  std::string joined;
  const auto& families = member(peer, "families");
  if (!families.is_object()) return "-";
  for (const auto& [family, numbers] : families.items())
    joined += fmt::format("{}{} {}", joined.empty() ? "" : ", ", family, number(numbers, which));
  return dash(joined);
}

Column counts_column(std::string header, std::string which) {
  return {std::move(header), [which = std::move(which)](const json& peer) { return counts(peer, which); }, false};
}

Column dash_column(std::string header, std::string path, bool wide = false) {
  return {std::move(header), [path = std::move(path)](const json& item) { return dash(text(item, path)); }, wide};
}

int print_list(const Session& session, const api::Answer& answer, const std::string& output, const ListView& view) {
  if (!answer) return session.report_words(answer.error());
  return print_items(session, member(*answer, "items"), output, view);
}

}  // namespace

int run_bgp_status(const Session& session, const std::string& output) {
  const auto answer = session.call("bgp.status", json::object());
  if (!answer) return session.report(answer.error());
  const auto& status = *answer;
  const auto& problems = member(status, "problems");
  const int code = problems.empty() ? exit_ok : exit_failed;
  if (output == "json" || output == "yaml") {
    output == "json" ? print_json(session, status) : print_yaml(session, status);
    return code;
  }
  auto& out = session.io.out;
  const auto line = [&](std::string_view name, const std::string& value) {
    out << fmt::format("{:<11} {}\n", name, value);
  };
  if (number(status, "peers") == 0 && problems.empty()) {
    line("BGP", "no BGPPeering is for this node");
    return code;
  }
  line("Speaker",
       fmt::format("{}: {}{}", dash(text(status, "speaker")), flag(status, "running") ? "runs" : "DOES NOT RUN",
                   flag(status, "configured") ? "" : ", NOT AS CONFIGURED"));
  for (const auto& process : member(status, "processes"))
    line("", fmt::format("{}: pid {}, started again {} times", text(process, "name"), number(process, "pid"),
                         number(process, "restarts")));
  line("AS", fmt::format("{}, router ID {}", number(status, "local_as"), dash(text(status, "router_id"))));
  line("Sessions", fmt::format("{} of {} established", number(status, "established"), number(status, "peers")));
  line("Advertised", fmt::format("{} prefixes", number(status, "advertised")));
  line("Imports", flag(status, "imports") ? "yes" : "none");
  for (const auto& problem : problems) line("", "! " + cell(problem));
  return code;
}

int run_bgp_peers(const Session& session, const std::string& output) {
  return print_list(session, session.call("bgp.peers", json::object()), output,
                    {{column("ROUTER", "address"), column("AS", "as"), column("BGPPEERING", "peering"),
                      column("STATE", "state"), dash_column("SINCE", "since"), counts_column("RECEIVED", "received"),
                      counts_column("ADVERTISED", "advertised"), dash_column("LAST ERROR", "last_error")},
                     [](const json& peer) { return text(peer, "address"); },
                     "no BGPPeering is for this node"});
}

int run_bgp_routes(const Session& session, const std::string& peer, const std::string& output) {
  auto params = json::object();
  if (!peer.empty()) params["peer"] = peer;
  return print_list(session, session.call("bgp.routes", params), output,
                    {{column("PREFIX", "prefix"), column("DIRECTION", "direction"), column("ROUTER", "peer"),
                      column("NEXT HOPS", "next_hops"), dash_column("AS PATH", "as_path"),
                      column("COMMUNITIES", "communities"), column("LARGE", "large_communities", true)},
                     [](const json& route) { return text(route, "prefix"); },
                     "no routes are exchanged"});
}

}  // namespace weft::cli
