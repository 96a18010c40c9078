// `weft status --kubernetes`
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/json_access.h"
#include "cli/kubernetes_command.h"
#include "cli/kubernetes_command_parts.h"
#include "cli/output.h"
#include "install/install.h"
#include "install/status.h"

namespace weft::cli {
namespace {

using nlohmann::json;

std::string count_of(const json& part) {
  return fmt::format("{} of {} ready", number(part, "ready"), number(part, "wanted"));
}

std::vector<std::vector<std::string>> rows_of(const json& list, const char* name, const char* good) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& one : list)
    rows.push_back({text(one, name), flag(one, "well") ? good : "no", cell(one, "version"), cell(one, "why")});
  return rows;
}

void print_cluster(const Session& session, const json& status) {
  auto& out = session.io.out;
  out << fmt::format("Cluster      Kubernetes {}\n", text(status, "server"));
  if (!flag(status, "installed")) {
    out << "Weft         is not installed: weft install\n";
    return;
  }
  const auto leader = text(status, "operators/leader");
  out << fmt::format("Weft         {}\nAgents       {}\nOperators    {}, {}\n", text(status, "version"),
                     count_of(member(status, "agents")), count_of(member(status, "operators")),
                     leader.empty() ? "none acts" : leader + " acts");
  for (const auto& reason : member(status, "reasons")) out << "  " << reason.get<std::string>() << '\n';
  out << '\n';
  print_table(out, {"NODE", "READY", "VERSION", "PROBLEM"}, rows_of(member(status, "nodes"), "node", "yes"));
  out << '\n';
  print_table(out, {"RESOURCE", "SERVED", "VERSION", "PROBLEM"}, rows_of(member(status, "definitions"), "name", "yes"));
}

}  // namespace

int run_cluster_status(const Session& session, const ClusterChoice& choice, const std::string& output) {
  const auto cluster = connect_cluster(session, choice);
  if (!cluster) return report_cluster(session, cluster.error());
  const auto status = install::cluster_status(**cluster);
  if (!status) return report_cluster(session, install::explain(status.error(), "the cluster could not be looked at"));
  if (output == "json")
    print_json(session, *status);
  else if (output == "yaml")
    print_yaml(session, *status);
  else
    print_cluster(session, *status);
  return flag(*status, "well") ? exit_ok : exit_failed;
}

}  // namespace weft::cli
