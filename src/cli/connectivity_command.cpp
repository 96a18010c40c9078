// `weft connectivity test`, and what its pods run.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/kubernetes_command.h"
#include "cli/kubernetes_command_parts.h"
#include "cli/output.h"
#include "install/connectivity.h"
#include "install/probe.h"

namespace weft::cli {
namespace {

using install::CheckResult;
using nlohmann::json;

struct Options {
  ClusterChoice choice;
  install::TestOptions test;
  int timeout = 120;
  std::string output = "table";
};

std::string_view word_of(CheckResult::State state) {
  switch (state) {
    case CheckResult::State::good:
      return "ok";
    case CheckResult::State::failed:
      return "FAILED";
    case CheckResult::State::skipped:
      break;
  }
  return "skipped";
}

void print(const Session& session, const CheckResult& result) {
  auto& out = session.io.out;
  out << fmt::format("{:8} {}", word_of(result.state), result.name);
  if (result.state == CheckResult::State::skipped) out << ": " << result.saw;
  if (result.state == CheckResult::State::good)
    out << fmt::format("  ({} to {}: {})", result.from, result.to, result.saw);
  out << '\n';
  if (result.state == CheckResult::State::failed)
    out << fmt::format(
        "           from      {}\n           to        {}\n           expected  {}\n           saw       {}\n          "
        " {}\n",
        result.from, result.to, result.expected, result.saw, result.hint);
  out << std::flush;
}

json json_of(const std::vector<CheckResult>& results) {
  json list = json::array();
  for (const auto& one : results)
    list.push_back({{"state", one.state == CheckResult::State::failed ? "failed" : word_of(one.state)},
                    {"name", one.name},
                    {"from", one.from},
                    {"to", one.to},
                    {"expected", one.expected},
                    {"saw", one.saw},
                    {"hint", one.hint}});
  return list;
}

int run_test(const Session& session, Options& options) {
  const auto cluster = connect_cluster(session, options.choice);
  if (!cluster) return report_cluster(session, cluster.error());
  options.test.timeout = std::chrono::seconds(options.timeout);
  const bool table = options.output == "table";
  const auto progress = [&](const std::string& line) {
    (table ? session.io.out : session.io.err) << line << std::endl;
  };
  const auto tell = [&](const CheckResult& result) {
    if (table) print(session, result);
  };
  const auto results = install::test_connectivity(**cluster, options.test, progress, tell);
  if (!results) return report_cluster(session, results.error());
  const auto count = [&](CheckResult::State state) { return std::ranges::count(*results, state, &CheckResult::state); };
  const auto failed = count(CheckResult::State::failed);
  if (table)
    session.io.out << fmt::format("\n{} passed, {} failed, {} skipped\n", count(CheckResult::State::good), failed,
                                  count(CheckResult::State::skipped));
  else
    print_json(session, json_of(*results));
  return failed == 0 ? exit_ok : exit_failed;
}

// Inside a pod: what was seen is what the container says when it ends.
int run_ask(const Session& session, const std::string& text, int seconds) {
  const auto probes = install::probes_from(text);
  if (!probes) return session.usage_error(probes.error());
  const auto results = install::to_json(install::run_probes(*probes, std::chrono::seconds(seconds)))
                           .dump(-1, ' ', false, json::error_handler_t::replace);
  session.io.out << results << std::endl;
  std::ofstream message("/dev/termination-log");
  if (message) message << results;
  return exit_ok;
}

void add_test(CLI::App& parent, Session& session, Completions& completions) {
  const auto options = std::make_shared<Options>();
  auto* command =
      parent.add_subcommand("test", "Try pods, Services, names, policies and the way outside, with pods of its own");
  command->footer("Examples:\n  weft connectivity test\n  weft connectivity test --outside 192.0.2.80:80 -o json");
  add_cluster_choice(command, options->choice);
  command
      ->add_option("--outside", options->test.outside,
                   "What pods are to reach outside of the cluster (default: nothing; port 443)")
      ->type_name("ADDRESS[:PORT]");
  command->add_option("--image", options->test.image, "The image of the test's pods (default: the agents')")
      ->type_name("IMAGE");
  command->add_flag("--keep", options->test.keep,
                    fmt::format("Leave the namespace {} as it is", install::test_namespace));
  command->add_option("--timeout", options->timeout, "How long pods may take to run, in seconds (default 120)")
      ->type_name("SECONDS")
      ->check(CLI::Range(1, 86400));
  completions[command->add_option("-o,--output", options->output, "Output format (default table)")
                  ->check(CLI::IsMember({"table", "json"}))
                  ->type_name("FORMAT")] = {"table", "json"};
  command->callback([&session, options] { session.exit_code = run_test(session, *options); });
}

// For the test's pods, not for people.
void add_inside(CLI::App& parent, Session& session) {
  struct Inside {
    std::string name;
    std::vector<std::uint16_t> ports;
    std::string probes;
    int seconds = 20;
  };
  const auto inside = std::make_shared<Inside>();
  auto* serve = parent.add_subcommand("serve", "Say a name to everybody who asks")->group("");
  serve->add_option("--name", inside->name)->required();
  serve->add_option("--port", inside->ports)->required()->allow_extra_args(false);
  serve->callback(
      [&session, inside] { session.exit_code = report_cluster(session, install::serve(inside->name, inside->ports)); });
  auto* ask = parent.add_subcommand("ask", "Ask, and tell what was seen")->group("");
  ask->add_option("PROBES", inside->probes)->required();
  ask->add_option("--seconds", inside->seconds);
  ask->callback([&session, inside] { session.exit_code = run_ask(session, inside->probes, inside->seconds); });
}

}  // namespace

void add_connectivity(CLI::App& app, Session& session, Completions& completions) {
  auto* group = app.add_subcommand("connectivity",
                                   "Whether pods of a Kubernetes cluster reach what they are to reach, and only that");
  group->footer("Example:\n  weft connectivity test");
  group->require_subcommand(1);
  add_test(*group, session, completions);
  add_inside(*group, session);
}

}  // namespace weft::cli
