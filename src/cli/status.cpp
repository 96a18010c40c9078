// version and status.
#include <fmt/format.h>

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

// Its own record is among them: none is what an agent knows that etcd has told nothing since its start.
std::string nodes_text(const json& cluster) {
  if (number(cluster, "nodes") == 0) return "the nodes are not known yet";
  return fmt::format("{} of {} nodes alive", number(cluster, "alive"), number(cluster, "nodes"));
}

class StatusPrinter {
 public:
  StatusPrinter(const Session& session, const json& status, bool wide)
      : session_(session), out_(session.io.out), status_(status), wide_(wide) {}

  void print() {
    out_ << fmt::format("Weft {} on node {}", text(status_, "version"), text(status_, "node"));
    if (const auto instance = text(status_, "instance"); !instance.empty()) out_ << ", instance " << instance;
    out_ << '\n';
    health();
    line("Agent",
         fmt::format("pid {}, up {}, {} resident", number(status_, "pid"),
                     duration_text(number(status_, "uptime_seconds")), bytes_text(number(status_, "rss_bytes"))));
    kernel();
    uplinks();
    line("Datapath",
         fmt::format("epoch {}, events {}", cell(status_, "datapath/epoch"), cell(status_, "datapath/events")));
    const auto unattached = member(status_, "unattached").size();
    line("Pods",
         fmt::format("{} attached, {} declared{}", number(status_, "pods/attached"), number(status_, "pods/total"),
                     unattached == 0 ? "" : fmt::format(", {} COULD NOT BE ATTACHED", unattached)));
    line("Objects", fmt::format("{} identities, {} policies, {} service frontends", number(status_, "identities"),
                                number(status_, "policies"), number(status_, "services")));
    line("Flows", fmt::format("{} seen, {} kept, {} lost", number(status_, "flows/seen"), number(status_, "flows/kept"),
                              number(status_, "flows/lost")));
    for (const auto& pool : member(status_, "ipam"))
      line("Addresses",
           fmt::format("{} {}: {} of {} allocated, {} in quarantine", cell(pool, "name"), text(pool, "cidr"),
                       number(pool, "allocated"), capacity_text(pool), number(pool, "quarantined")));
    cluster();
    kubernetes();
    announced();
    bgp();
    reconcile();
    drops();
    if (wide_) details();
  }

 private:
  void line(std::string_view name, const std::string& value) { out_ << fmt::format("{:<11} {}\n", name, value); }

  void health() {
    auto word = text(status_, "health");
    if (session_.io.colour) word = fmt::format("\x1b[{}m{}\x1b[0m", word == "ok" ? 32 : 31, word);
    line("Health", word);
    const auto& remedies = member(status_, "remedies");
    for (const auto& problem : member(status_, "problems")) {
      line("", "! " + cell(problem));
      if (const auto known = remedies.find(cell(problem)); known != remedies.end()) line("", "  " + cell(*known));
    }
    for (const auto& pod : member(status_, "unattached"))
      line("", fmt::format("! pod {}/{} has no network, tried {} times since {}: {}", text(pod, "namespace"),
                           text(pod, "pod"), number(pod, "tries"), text(pod, "since"), text(pod, "reason")));
  }

  void kernel() {
    const auto& kernel = member(status_, "kernel");
    std::string rest;
    if (kernel.is_object())
      for (const auto& [name, value] : kernel.items())
        if (name != "release" && cell(value) != "-")
          rest += fmt::format("{}{} {}", rest.empty() ? "" : ", ", name, cell(value));
    line("Kernel", text(kernel, "release") + (rest.empty() ? "" : ": " + rest));
  }

  void uplinks() {
    std::string words;
    for (const auto& uplink : member(status_, "uplinks")) {
      const bool attached = uplink.value("attached", false);
      const auto mode = cell(uplink, "xdp/mode");
      words += fmt::format("{}{} ({}{})", words.empty() ? "" : ", ", text(uplink, "name"),
                           attached ? "attached" : "NOT ATTACHED", mode == "-" ? "" : ", XDP " + mode);
    }
    if (status_.contains("uplinks")) line("Uplinks", words.empty() ? "none" : words);
  }

  void cluster() {
    const auto& all = member(status_, "cluster");
    if (!all.is_object()) return;
    const auto* how = flag(all, "joined") ? "joined" : text(all, "refused").empty() ? "AWAY" : "KEPT OUT";
    const auto unreachable = text(all, "unreachable_since");
    line("Cluster",
         fmt::format("{}: {} since {}{}, {}, tunnel {}", text(all, "name"), how, text(all, "since"),
                     unreachable.empty() || !flag(all, "joined") ? "" : ", ETCD UNREACHABLE since " + unreachable,
                     nodes_text(all), text(all, "tunnel")));
    if (const auto acting = text(all, "operator"); !acting.empty()) line("Operator", acting);
    if (const auto& encryption = member(all, "encryption"); encryption.is_object())
      line("Encryption", fmt::format("WireGuard by {}: {} of {} other nodes encrypted{}{}",
                                     text(encryption, "implementation"), number(encryption, "encrypted"),
                                     number(encryption, "nodes"), flag(encryption, "strict") ? ", strict" : "",
                                     flag(encryption, "rotating") ? ", keys are changing" : ""));
    const auto& store = member(all, "store");
    if (!store.is_object()) return;
    const auto state = text(store, "state");
    if (state == "unheard")
      return line("Store", "etcd has not answered since the start; this node goes on with the objects it had");
    const auto* said = state == "following" ? ""
                       : state == "lost"    ? "; ETCD HAS THEM NO LONGER, this node goes on with its own"
                                            : "; the cluster has none yet: weft apply or weft store push";
    line("Store",
         fmt::format("{} objects at revision {}, {} since {}{}", number(store, "objects"), number(store, "revision"),
                     flag(store, "connected") ? "connected" : "NOT CONNECTED", text(store, "since"), said));
  }

  void kubernetes() {
    const auto& all = member(status_, "kubernetes");
    if (!all.is_object()) return;
    const auto since = text(all, "since");
    const auto how = !since.empty()       ? fmt::format(", NOT HEARD OF since {}: {}", since, text(all, "problem"))
                     : flag(all, "taken") ? std::string()
                                          : std::string(", not all of them are here yet");
    line("Kubernetes", fmt::format("{}: {} objects{}", text(all, "server"), number(all, "objects"), how));
  }

  void announced() {
    constexpr std::size_t shown = 8;
    const auto& all = member(status_, "announced");
    std::size_t printed = 0;
    for (const auto& one : all) {
      if (!wide_ && printed == shown) break;
      line("Announced", fmt::format("{} on {} at {}", text(one, "address"), text(one, "device"), text(one, "mac")));
      ++printed;
    }
    if (printed < all.size()) line("", fmt::format("and {} more; -o wide shows them", all.size() - printed));
    std::size_t elsewhere = 0;
    for (const auto& one : member(status_, "announcers")) {
      if (text(one, "node") == text(status_, "node")) continue;
      if (wide_ || elsewhere < shown)
        line("Announced", fmt::format("{} by {}", text(one, "address"), text(one, "node")));
      ++elsewhere;
    }
    if (!wide_ && elsewhere > shown)
      line("", fmt::format("and {} more of other nodes; -o wide shows them", elsewhere - shown));
  }

  void bgp() {
    const auto& all = member(status_, "bgp");
    if (!all.is_object() || number(all, "peers") == 0) return;
    line("BGP", fmt::format("AS {} by {}: {} of {} sessions established, {} prefixes advertised",
                            number(all, "local_as"), text(all, "speaker").empty() ? "nobody" : text(all, "speaker"),
                            number(all, "established"), number(all, "peers"), number(all, "advertised")));
  }

  void reconcile() {
    const auto pending = number(status_, "reconcile/pending");
    const auto failed = number(status_, "reconcile/failed");
    if (pending == 0 && failed == 0) {
      line("Reconcile", "in sync");
      return;
    }
    line("Reconcile", fmt::format("{} pending, {} failed: {}", pending, failed, cell(status_, "reconcile/last_error")));
  }

  void drops() {
    json seen = json::array();
    for (const auto& drop : member(status_, "datapath/drops"))
      if (number(drop, "packets") > 0) seen.push_back(drop);
    if (seen.empty()) {
      line("Drops", "none");
      return;
    }
    out_ << '\n';
    print_items(session_, seen, "table",
                {{column("DROPPED", "reason"),
                  column("PACKETS", "packets"),
                  {"BYTES", [](const json& item) { return bytes_text(number(item, "bytes")); }, false},
                  column("LAST", "last"),
                  column("MEANING", "meaning")},
                 {},
                 {}});
  }

  void details() {
    out_ << '\n';
    print_items(session_, member(status_, "datapath/maps"), "table",
                {{column("MAP", "name"),
                  column("TYPE", "type"),
                  column("ENTRIES", "entries"),
                  column("MAXIMUM", "max_entries"),
                  {"MEMORY", [](const json& item) { return bytes_text(number(item, "memory_bytes")); }, false}},
                 {},
                 {}});
    out_ << '\n';
    print_items(session_, member(status_, "datapath/stats"), "table",
                {{column("COUNTER", "name"), column("VALUE", "value"), column("MEANING", "meaning")}, {}, {}});
  }

  const Session& session_;
  std::ostream& out_;
  const json& status_;
  bool wide_;
};

}  // namespace

int run_version(const Session& session, const std::string& output) {
  std::string agent;
  if (auto client = session.connect())
    if (auto answer = client->call("status", json::object(), std::chrono::seconds(2))) agent = text(*answer, "version");
  if (output == "json") {
    print_json(session, {{"version", WEFT_VERSION}, {"agent", agent.empty() ? json(nullptr) : json(agent)}});
    return exit_ok;
  }
  session.io.out << "weft " << WEFT_VERSION << '\n';
  if (!agent.empty()) session.io.out << "weftd " << agent << '\n';
  return exit_ok;
}

int run_status(const Session& session, const std::string& output) {
  auto answer = session.call("status", json::object());
  if (!answer) return session.report(answer.error());
  if (output == "json")
    print_json(session, *answer);
  else if (output == "yaml")
    print_yaml(session, *answer);
  else
    StatusPrinter(session, *answer, output == "wide").print();
  return exit_ok;
}

}  // namespace weft::cli
