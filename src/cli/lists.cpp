// endpoint, identity, service, policy and ipam lists, and the kernel maps.
#include <fmt/format.h>

#include <algorithm>
#include <map>
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

std::string pod_of(const json& item) {
  const auto namespace_ = text(item, "namespace");
  const auto pod = text(item, "pod");
  return pod.empty() ? "-" : namespace_ + "/" + pod;
}

std::string name_of(const json& item) { return text(item, "namespace") + "/" + text(item, "name"); }

std::string policy_state(const json& item) {
  const bool ingress = flag(item, "policy/ingress");
  const bool egress = flag(item, "policy/egress");
  if (ingress && egress) return "ingress,egress";
  return ingress ? "ingress" : egress ? "egress" : "none";
}

std::string socket_coverage(const json& item) {
  const auto& covered = member(item, "socket_lb/covered");
  const auto detail = text(item, "socket_lb/detail");
  const std::string word = covered.is_boolean() ? (covered.get<bool>() ? "yes" : "no") : "unknown";
  return detail.empty() ? word : word + " (" + detail + ")";
}

std::string backends(const json& item) {
  const auto& all = member(item, "backends");
  const auto ready = std::ranges::count_if(
      all, [](const json& backend) { return !member(backend, "ready").is_boolean() || flag(backend, "ready"); });
  return fmt::format("{}/{}", ready, all.size());
}

std::string service_address(const json& item) {
  if (!text(item, "pending").empty()) return "<waiting>";
  return text(item, "address").empty() && !text(item, "problem").empty() ? "<left out>" : cell(item, "address");
}

std::string backend_names(const json& item) {
  std::string joined;
  for (const auto& backend : member(item, "backends")) {
    const auto pod = text(backend, "pod");
    joined += (joined.empty() ? "" : ",") +
              (pod.empty() ? fmt::format("{}:{}", text(backend, "address"), number(backend, "port"))
                           : fmt::format("{}:{}", pod, number(backend, "port")));
  }
  return joined.empty() ? "-" : joined;
}

// The largest packet of pods to a node.
std::string mtu_of(const json& item) {
  const auto inside = number(item, "path_mtu/inside");
  const auto mtu = number(item, "mtu");
  return inside != 0 ? fmt::format("{} (not {})", inside, mtu) : mtu != 0 ? fmt::format("{}", mtu) : "-";
}

std::string location(const json& item) {
  const auto file = text(item, "location/file");
  const auto line = number(item, "location/line");
  return file.empty() ? "-" : line == 0 ? file : fmt::format("{}:{}", file, line);
}

// The gateways of a state: "w2 (192.0.2.9), w3".
std::string egress_nodes(const json& item, std::string_view state) {
  std::string joined;
  for (const auto& gateway : member(item, "gateways")) {
    if (text(gateway, "state") != state) continue;
    const auto addresses = cell(gateway, "addresses");
    joined += (joined.empty() ? "" : ", ") + text(gateway, "node") +
              (addresses == "-" || state != "active" ? "" : fmt::format(" ({})", addresses));
  }
  return joined.empty() ? "-" : joined;
}

// What is wrong with the whole, then with gateways that are not used.
std::string egress_problem(const json& item) {
  auto joined = text(item, "problem");
  for (const auto& gateway : member(item, "gateways"))
    if (const auto why = text(gateway, "why"); !why.empty())
      joined += (joined.empty() ? "" : "; ") + fmt::format("{}: {}", text(gateway, "node"), why);
  return joined.empty() ? "-" : joined;
}

std::string fill(const json& item) {
  const auto maximum = number(item, "max_entries");
  const auto& entries = member(item, "entries");
  if (!entries.is_number()) return "-";
  return maximum == 0 ? cell(entries) : fmt::format("{} ({}%)", cell(entries), number(item, "entries") * 100 / maximum);
}

Column bytes_column(std::string header, std::string path) {
  return {std::move(header), [path = std::move(path)](const json& item) { return bytes_text(number(item, path)); },
          false};
}

const std::map<std::string, ListView>& views() {
  static const std::map<std::string, ListView> all{
      {"endpoint.list",
       {{column("ID", "id"),
         {"POD", pod_of, false},
         column("STATE", "state"),
         column("ADDRESSES", "addresses"),
         column("IDENTITY", "identity"),
         {"POLICY", policy_state, false},
         {"SOCKET LB", socket_coverage, false},
         column("DEVICE", "device", true),
         column("WORKLOAD", "workload", true),
         column("CONTAINER", "container_id", true),
         column("LABELS", "labels", true)},
        pod_of,
        "no endpoints: nothing is attached to this node"}},
      {"identity.list",
       {{column("ID", "id"), column("ENDPOINTS", "endpoints"), column("CIDR", "cidr"), column("LABELS", "labels")},
        [](const json& item) { return cell(item, "id"); },
        "no identities"}},
      {"service.list",
       {{column("ID", "id"),
         {"SERVICE", name_of, false},
         column("TYPE", "type"),
         column("PORT NAME", "port_name"),
         {"ADDRESS", service_address, false},
         column("PORT", "port"),
         column("PROTOCOL", "protocol"),
         {"READY", backends, false},
         column("OPEN", "active"),
         column("PROBLEM", "problem"),
         column("KIND", "kind", true),
         column("ANNOUNCED BY", "announced_by", true),
         column("ALGORITHM", "algorithm", true),
         column("FORWARDING", "forwarding", true),
         {"POLICY",
          [](const json& item) {
            return fmt::format("{}/{}", cell(item, "traffic_policy/internal"), cell(item, "traffic_policy/external"));
          },
          true},
         column("CONNECTIONS", "connections", true),
         {"AFFINITY",
          [](const json& item) {
            const auto seconds = number(item, "affinity_seconds");
            return seconds == 0 ? std::string("-") : duration_text(seconds);
          },
          true},
         {"BACKENDS", backend_names, true}},
        name_of,
        "no services"}},
      {"node.list",
       {{column("NODE", "name"),
         {"STATE", [](const json& item) { return text(item, "state") + (flag(item, "self") ? " (this one)" : ""); },
          false},
         column("ADDRESSES", "addresses"),
         column("BLOCKS", "blocks"),
         column("PODS", "pods"),
         column("WAY", "way"),
         {"MTU", [](const json& item) { return mtu_of(item); }, true},
         {"PROBLEM", [](const json& item) { return text(item, "problem").empty() ? "-" : text(item, "problem"); },
          false},
         column("ZONE", "zone", true),
         column("GATEWAYS", "gateways", true)},
        [](const json& item) { return text(item, "name"); },
        "no nodes are known yet"}},
      {"egress.list",
       {{column("NAME", "name"),
         {"PODS", [](const json& item) { return fmt::format("{}", member(item, "pods").size()); }, false},
         column("DESTINATIONS", "destinations"),
         {"ACTIVE", [](const json& item) { return egress_nodes(item, "active"); }, false},
         {"STANDBY", [](const json& item) { return egress_nodes(item, "standby"); }, false},
         {"WHY NOT", egress_problem, false},
         column("EXCLUDED", "excluded", true),
         column("FAILOVER", "failover", true),
         {"PODS BY NAME",
          [](const json& item) {
            std::string joined;
            for (const auto& pod : member(item, "pods"))
              joined += (joined.empty() ? "" : ",") + pod_of(pod) + "@" + text(pod, "node");
            return joined.empty() ? "-" : joined;
          },
          true}},
        [](const json& item) { return text(item, "name"); },
        "no egress gateways: pods leave the cluster by the node they run on"}},
      {"policy.list",
       {{{"POLICY", name_of, false},
         column("TYPES", "types"),
         column("INGRESS", "ingress_rules"),
         column("EGRESS", "egress_rules"),
         {"PODS", [](const json& item) { return fmt::format("{}", member(item, "selects").size()); }, false},
         {"LOCATION", location, false},
         column("SELECTS", "selects", true)},
        name_of,
        "no policies: every pod may talk to every other"}},
      {"bpf.maps",
       {{column("NAME", "name"),
         column("TYPE", "type"),
         {"ENTRIES", fill, false},
         column("MAXIMUM", "max_entries"),
         bytes_column("MEMORY", "memory_bytes"),
         column("KEY BYTES", "key_bytes", true),
         column("VALUE BYTES", "value_bytes", true)},
        [](const json& item) { return text(item, "name"); },
        "no maps"}},
  };
  return all;
}

// Entries of a map have members of their own: a column for each, simple ones as they are.
ListView view_of(const json& items) {
  ListView view;
  view.nothing = "no entries";
  view.name = [](const json& item) { return item.dump(); };
  std::vector<std::string> keys;
  for (const auto& item : items)
    if (item.is_object())
      for (const auto& [key, value] : item.items())
        if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
  // What an entry is about comes first.
  auto rank = [](const std::string& key) {
    static const std::vector<std::string> first{"map",  "name",    "reason", "id",          "frontend",
                                                "slot", "backend", "source", "destination", "address"};
    return std::ranges::find(first, key) - first.begin();
  };
  std::ranges::stable_sort(keys, {}, rank);
  for (const auto& key : keys) {
    std::string header = key;
    for (auto& c : header) c = c == '_' ? ' ' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    view.columns.push_back(
        {header, [key](const json& item) { return item.is_object() && item.contains(key) ? cell(item[key]) : "-"; },
         false});
  }
  return view;
}

}  // namespace

int run_list(const Session& session, const std::string& list, const std::string& output,
             const std::string& namespace_) {
  auto params = json::object();
  if (!namespace_.empty()) params["namespace"] = namespace_;
  const auto& view = views().at(list);
  if (list != "service.list") {
    auto answer = session.call(list, params);
    if (!answer) return session.report(answer.error());
    session.tell_age(*answer);
    if (list != "node.list" || !flag(*answer, "unheard"))
      return print_items(session, member(*answer, "items"), output, view);
    auto nothing = view;
    nothing.nothing = "the cluster's nodes are not known yet";
    print_items(session, member(*answer, "items"), output, nothing);
    return exit_unavailable;
  }
  ItemPrinter printer(session, output, view);
  auto answer = session.call_pages(list, params, [&](const json& items) { printer.add(items); });
  if (!answer) return session.report(answer.error());
  session.tell_age(*answer);
  printer.finish();
  return exit_ok;
}

namespace {

std::string latency_text(const json& probe) {
  if (!member(probe, "average_us").is_number()) return number(probe, "sent") == 0 ? "not asked yet" : "NO ANSWER";
  if (number(probe, "lost_in_row") > 2) return "NO ANSWER";
  return fmt::format("{:.2f} ms", static_cast<double>(number(probe, "average_us")) / 1000.0);
}

}  // namespace

int run_node_delete(const Session& session, const std::string& name, const std::string& output) {
  auto answer = session.call("node.delete", {{"name", name}});
  if (!answer) return session.report(answer.error());
  if (output == "json")
    print_json(session, {{"deleted", name}});
  else
    session.io.out << fmt::format("node {} deleted; what it had is free for others after reclaim_seconds\n", name);
  return exit_ok;
}

// A line for each probe. 1 when some node has a problem, 3 when the agent has not heard which nodes there are.
int run_health(const Session& session, const std::string& output) {
  auto answer = session.call("node.health", json::object());
  if (!answer) return session.report(answer.error());
  session.tell_age(*answer);
  const auto& nodes = member(*answer, "items");
  const bool wrong = std::ranges::any_of(nodes, [](const json& node) { return !text(node, "problem").empty(); });
  const int code = wrong ? exit_failed : flag(*answer, "unheard") ? exit_unavailable : exit_ok;
  if (output == "json" || output == "yaml") {
    output == "json" ? print_json(session, *answer) : print_yaml(session, *answer);
    return code;
  }
  auto rows = json::array();
  for (const auto& node : nodes)
    for (auto probe : member(node, "probes")) {
      probe["node"] = node["node"];
      probe["way"] = text(probe, "what") == "node" ? json("-") : node["way"];
      rows.push_back(std::move(probe));
    }
  print_items(session, rows, output,
              {{column("NODE", "node"),
                column("OF", "what"),
                column("ADDRESS", "address"),
                column("WAY", "way"),
                {"LATENCY", latency_text, false},
                {"LOST",
                 [](const json& probe) {
                   return fmt::format("{}/{}", number(probe, "sent") - number(probe, "answered"),
                                      number(probe, "sent"));
                 },
                 false},
                column("BYTES", "bytes", true)},
               [](const json& probe) { return text(probe, "node"); },
               flag(*answer, "unheard") ? "the other nodes are not known yet" : "no other nodes"});
  for (const auto& node : nodes) {
    if (const auto note = text(node, "note"); !note.empty()) session.io.out << "- " << note << '\n';
    print_problem(session, "! ", text(node, "problem"), text(node, "remedy"));
  }
  return code;
}

int run_operator_status(const Session& session, const std::string& output) {
  auto answer = session.call("operator.status", json::object());
  if (!answer) return session.report(answer.error());
  session.tell_age(*answer);
  const bool unheard = flag(*answer, "unheard");
  const int code = unheard ? exit_unavailable : exit_ok;
  if (output == "json" || output == "yaml") {
    output == "json" ? print_json(session, *answer) : print_yaml(session, *answer);
    return code;
  }
  const auto& operators = member(*answer, "items");
  if (const auto acting = text(*answer, "acting/name"); output != "name")
    session.io.out << (unheard ? "who does the cluster's duties is not known yet"
                       : acting.empty()
                           ? "nobody does the cluster's duties: what is to be given or collected waits"
                           : fmt::format("{} {} does the cluster's duties", text(*answer, "acting/kind"), acting))
                   << (operators.empty() || acting.empty() ? "\n" : "\n\n");
  print_items(session, operators, output,
              {{column("OPERATOR", "name"),
                {"STATE", [](const json& item) { return flag(item, "acts") ? "acts" : "stands by"; }, false},
                column("HOST", "host"),
                column("ROUNDS", "rounds"),
                column("LAST ROUND", "last_round"),
                column("NODES GONE", "collected/nodes"),
                column("BLOCKS FREED", "collected/blocks"),
                column("IDENTITIES FREED", "collected/identities"),
                column("SERVICES SERVED", "services_served"),
                column("WAITING", "services_waiting"),
                column("PROBLEM", "problem"),
                column("STARTED", "started", true),
                column("RUN", "run", true),
                column("VERSION", "version", true)},
               [](const json& item) { return text(item, "name"); },
               unheard ? "" : "no weft-operator is there"});
  return code;
}

int run_ipam(const Session& session, const std::string& output) {
  auto answer = session.call("ipam.list", json::object());
  if (!answer) return session.report(answer.error());
  session.tell_age(*answer);
  if (output == "json" || output == "yaml") {
    output == "json" ? print_json(session, *answer) : print_yaml(session, *answer);
    return exit_ok;
  }
  // What nodes take blocks of; a node by itself has all of it.
  const auto& cidrs = member(*answer, "cidrs");
  if (std::ranges::any_of(cidrs, [](const json& item) { return item.contains("block_length"); })) {
    print_items(
        session, cidrs, "table",
        {{column("POOL", "pool"),
          column("CIDR", "cidr"),
          {"BLOCKS OF", [](const json& item) { return fmt::format("/{}", number(item, "block_length")); }, false},
          column("BLOCKS", "blocks"),
          column("TAKEN", "taken"),
          column("HERE", "here")},
         [](const json& item) { return text(item, "pool"); },
         "no pools"});
    session.io.out << '\n';
  }
  const ListView pools{{column("POOL", "name"),
                        column("CIDR", "cidr"),
                        {"CAPACITY", capacity_text, false},
                        column("ALLOCATED", "allocated"),
                        column("QUARANTINED", "quarantined")},
                       [](const json& item) { return text(item, "name"); },
                       flag(*answer, "unheard") ? "which blocks this node has is not known yet" : "no pools"};
  print_items(session, member(*answer, "pools"), "table", pools);
  if (const auto& allocations = member(*answer, "allocations"); !allocations.empty()) {
    session.io.out << '\n';
    print_items(session, allocations, output,
                {{column("ADDRESS", "address"), {"POD", pod_of, false}, column("OWNER", "owner")}, {}, {}});
  }
  if (const auto& quarantine = member(*answer, "quarantine"); !quarantine.empty()) {
    session.io.out << '\n';
    print_items(session, quarantine, output,
                {{column("QUARANTINED", "address"), column("FREE AGAIN", "until")}, {}, {}});
  }
  return exit_ok;
}

int run_bpf(const Session& session, const std::string& map, const std::string& action, std::uint64_t limit,
            const std::string& output) {
  json params = json::object();
  if (!map.empty()) params["map"] = map;
  if (limit != 0) params["limit"] = limit;
  auto answer = session.call("bpf." + action, params);
  if (!answer) return session.report_words(answer.error());
  const auto& items = member(*answer, "items");
  if (limit != 0 && items.size() >= limit && map.starts_with("lb-"))
    session.io.err << fmt::format("there may be more than these {} entries: --limit N, or 0 for all\n", limit);
  return print_items(session, items, output, view_of(items));
}

}  // namespace weft::cli
