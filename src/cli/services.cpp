// service get and trace.
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

std::string endpoint(const std::string& address, std::uint64_t port) {
  return address.find(':') == std::string::npos ? fmt::format("{}:{}", address, port)
                                                : fmt::format("[{}]:{}", address, port);
}

std::string backend_name(const json& backend) {
  if (!backend.is_object()) return "-";
  const auto pod = text(backend, "pod");
  const auto where = endpoint(text(backend, "address"), number(backend, "port"));
  return pod.empty() ? where : fmt::format("{}/{} ({})", text(backend, "namespace"), pod, where);
}

// What keeps new flows from it, or that nothing does.
std::string condition(const json& backend) {
  std::string words;
  const auto add = [&](bool wanted, const char* word) {
    if (wanted) words += (words.empty() ? "" : ",") + std::string(word);
  };
  add(flag(backend, "ready"), "ready");
  add(!flag(backend, "ready"), "not-ready");
  add(flag(backend, "serving") && !flag(backend, "ready"), "serving");
  add(flag(backend, "terminating"), "terminating");
  add(member(backend, "healthy") == false, "unhealthy");
  add(flag(backend, "node_gone"), "node-gone");
  return words;
}

std::string takes(const json& backend) {
  const bool internal = flag(backend, "internal");
  const bool external = flag(backend, "external");
  if (internal && external) return "all";
  return internal ? "internal" : external ? "external" : "none";
}

std::string check(const json& backend) {
  if (const auto why = text(backend, "unchecked"); !why.empty()) return "not checked from here: " + why;
  const auto& state = member(backend, "check");
  if (!state.is_object()) return "-";
  const auto error = text(state, "last_error");
  if (number(state, "probes") == 0) return "not yet";
  return error.empty() ? fmt::format("ok ({} probes)", number(state, "probes")) : error;
}

class ServicePrinter {
 public:
  ServicePrinter(const Session& session, const json& service, bool wide)
      : session_(session), out_(session.io.out), service_(service), wide_(wide) {}

  void print() {
    out_ << fmt::format("{}/{}  {}\n", text(service_, "namespace"), text(service_, "name"), text(service_, "type"));
    line("Cluster IPs", flag(service_, "headless") ? "None" : cell(service_, "cluster_ips"));
    optional("Load balancer", "load_balancer_ips");
    optional("External IPs", "external_ips");
    for (const auto& [address, node] : member(service_, "announced_by").items())
      line("Announced", fmt::format("{} by {}", address, cell(node)));
    optional("External name", "external_name");
    optional("Source ranges", "source_ranges");
    line("Policy", fmt::format("internal {}, external {}", cell(service_, "traffic_policy/internal"),
                               cell(service_, "traffic_policy/external")));
    if (number(service_, "health_check_node_port") != 0)
      line("Health port", fmt::format("{}, local endpoints {}", number(service_, "health_check_node_port"),
                                      cell(service_, "local_endpoints")));
    for (const auto& warning : member(service_, "warnings")) line("", "! " + cell(warning));
    for (const auto& port : member(service_, "ports")) print_port(port);
  }

 private:
  void line(std::string_view name, const std::string& value) { out_ << fmt::format("  {:<14}{}\n", name, value); }
  void optional(std::string_view name, std::string_view path) {
    if (const auto value = cell(service_, path); value != "-") line(name, value);
  }

  void print_port(const json& port) {
    const auto name = text(port, "port_name");
    out_ << fmt::format("\n{}{}/{} IPv{}  id {}, {}, {}", name.empty() ? "" : name + " ", number(port, "port"),
                        text(port, "protocol"), number(port, "family"), number(port, "id"), text(port, "algorithm"),
                        text(port, "forwarding"));
    if (const auto seconds = number(port, "affinity_seconds"); seconds != 0)
      out_ << ", affinity " << duration_text(seconds);
    out_ << fmt::format("; refused {}, source denied {}\n", number(port, "refused"), number(port, "source_denied"));
    for (const auto& frontend : member(port, "frontends"))
      out_ << fmt::format("  {:<14}{}\n", text(frontend, "kind"),
                          endpoint(text(frontend, "address"), number(frontend, "port")));
    out_ << '\n';
    print_items(session_, member(port, "backends"), wide_ ? "wide" : "table",
                {{column("ID", "id"),
                  {"BACKEND", backend_name, false},
                  column("NODE", "node"),
                  column("ZONE", "zone", true),
                  column("WEIGHT", "weight"),
                  {"CONDITION", condition, false},
                  {"NEW FLOWS", takes, false},
                  column("STATE", "state"),
                  column("OPEN", "active"),
                  column("CONNECTIONS", "connections"),
                  column("PACKETS", "packets", true),
                  {"BYTES", [](const json& item) { return bytes_text(number(item, "bytes")); }, false},
                  {"CHECK", check, false}},
                 {},
                 "  no endpoints"});
  }

  const Session& session_;
  std::ostream& out_;
  const json& service_;
  bool wide_;
};

void print_choice(std::ostream& out, const json& answer) {
  const auto& choice = member(answer, "choice");
  const auto why = text(choice, "why");
  if (const auto& backend = member(choice, "backend"); backend.is_object()) {
    out << fmt::format("-> {}\n   {}\n", backend_name(backend), why);
  } else if (const auto& shares = member(choice, "shares"); !shares.empty()) {
    out << fmt::format("-> {}\n", why);
    for (const auto& entry : shares) {
      const auto& share = member(entry, "share");
      out << fmt::format("   {:5.1f}%  {}\n", share.is_number() ? share.get<double>() * 100 : 0.0,
                         backend_name(member(entry, "backend")));
    }
  } else {
    out << fmt::format("-> nobody: {}\n", why);
  }
  if (const auto seconds = number(choice, "affinity/seconds"); seconds != 0) {
    const auto& remembered = member(choice, "affinity/backend");
    out << fmt::format("   affinity of {}: {}\n", duration_text(seconds),
                       remembered.is_object() ? fmt::format("{}, used {} ago", backend_name(remembered),
                                                            duration_text(number(choice, "affinity/age_seconds")))
                                              : "nothing is remembered of this client");
  }
  if (flag(choice, "source_ranges/restricted"))
    out << "   source ranges: "
        << (flag(choice, "source_ranges/allowed") ? "the client is in them\n" : "not in them\n");
}

// Where the packets go from here.
std::string way_out(const json& flow) {
  auto way = text(flow, "exit");
  if (const auto device = text(flow, "device"); !device.empty()) way += " " + device;
  if (const auto source = cell(flow, "translated_source"); source != "-") way += " as " + source;
  if (const auto around = text(flow, "encapsulation"); !around.empty()) way += " in " + around;
  return way;
}

}  // namespace

int run_service_get(const Session& session, const ServiceOptions& options) {
  auto answer = session.call("service.get", {{"name", options.name}, {"namespace", options.namespace_}});
  if (!answer) return session.report(answer.error());
  session.tell_age(*answer);
  if (options.output == "json")
    print_json(session, *answer);
  else if (options.output == "yaml")
    print_yaml(session, *answer);
  else
    ServicePrinter(session, *answer, options.output == "wide").print();
  return exit_ok;
}

int run_service_trace(const Session& session, const TraceOptions& options) {
  json params{{"to", options.to}};
  if (!options.from.empty()) params["from"] = options.from;
  if (!options.port.empty()) params["port"] = options.port;
  if (options.source_port != 0) params["source_port"] = options.source_port;
  if (options.limit != 0) params["limit"] = options.limit;
  if (options.all_flows) params["all_flows"] = true;
  auto answer = session.call("service.trace", params);
  if (!answer) return session.report_words(answer.error());
  if (options.output == "json" || options.output == "yaml") {
    options.output == "json" ? print_json(session, *answer) : print_yaml(session, *answer);
    return exit_ok;
  }
  auto& out = session.io.out;
  const auto& service = member(*answer, "service");
  const auto client = text(*answer, "client/text");
  const auto& frontend = member(*answer, "frontend");
  const auto port_name = text(service, "port_name");
  out << fmt::format("{}{}/{}{} port {}/{}", client.empty() ? "" : client + " to ", text(service, "namespace"),
                     text(service, "name"), port_name.empty() ? "" : " " + port_name, number(service, "port"),
                     text(service, "protocol"));
  if (frontend.is_object())
    out << fmt::format(" at {} {}", text(frontend, "kind"),
                       endpoint(text(frontend, "address"), number(frontend, "port")));
  out << fmt::format(", {}\n", text(*answer, "algorithm"));
  if (!client.empty()) print_choice(out, *answer);
  out << '\n';
  print_items(
      session, member(*answer, "flows/items"), "table",
      {{column("CLIENT", "client"),
        column("TO", "destination"),
        column("PROTOCOL", "protocol"),
        column("STATE", "state"),
        {"BACKEND", [](const json& flow) { return backend_name(member(flow, "backend")); }, false},
        {"LEAVES BY", way_out, false},
        {"AGE", [](const json& flow) { return duration_text(number(flow, "age_seconds")); }, false},
        {"PACKETS",
         [](const json& flow) { return fmt::format("{}/{}", number(flow, "packets"), number(flow, "reply_packets")); },
         false},
        {"BYTES",
         [](const json& flow) {
           return fmt::format("{}/{}", bytes_text(number(flow, "bytes")), bytes_text(number(flow, "reply_bytes")));
         },
         false}},
       {},
       "no flow of it is in the flow table"});
  if (flag(*answer, "flows/more")) session.io.err << "there are more flows: --limit N shows more\n";
  return exit_ok;
}

}  // namespace weft::cli
