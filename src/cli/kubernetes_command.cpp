#include "cli/kubernetes_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "chart/chart.h"
#include "cli/kubernetes_command_parts.h"
#include "install/access.h"
#include "install/cluster.h"
#include "install/install.h"
#include "install/settings.h"
#include "install/uninstall.h"
#include "model/parse.h"

namespace weft::cli {
namespace {

using nlohmann::json;

struct Options {
  ClusterChoice choice;
  install::InstallOptions install;
  install::UninstallOptions uninstall;
  int install_timeout = 300;
  int uninstall_timeout = 120;
  bool print = false;
  bool print_values = false;
  bool yes = false;
  std::string node;
};

install::Progress progress_of(const Session& session) {
  return [&session](const std::string& line) { session.io.out << line << std::endl; };
}

// Of a cluster only where one is named: without, the files of deploy/kubernetes are made.
Result<json> values_to_print(const Session& session, const Options& options) {
  if (!options.choice.kubeconfig.empty() || !options.choice.context.empty()) {
    WEFT_TRY(const auto cluster, connect_cluster(session, options.choice));
    WEFT_TRY(auto plan, install::make_plan(*cluster, options.install));
    return std::move(plan.values);
  }
  auto values = chart::default_values();
  for (const auto& assignment : options.install.set) WEFT_CHECK(chart::set_value(values, assignment));
  return values;
}

int print(const Session& session, const Options& options) {
  const auto values = values_to_print(session, options);
  if (!values) return report_cluster(session, values.error());
  if (options.print_values) {
    session.io.out << model::yaml_from_json(values->dump());
    return exit_ok;
  }
  const auto manifests = chart::render(*values);
  if (!manifests) return report_cluster(session, manifests.error());
  if (const auto good = install::check_settings(manifests->objects); !good)
    return report_cluster(session, good.error());
  session.io.out << manifests->text;
  return exit_ok;
}

int run_install(const Session& session, Options& options) {
  if (options.print || options.print_values) return print(session, options);
  const auto cluster = connect_cluster(session, options.choice);
  if (!cluster) return report_cluster(session, cluster.error());
  session.io.out << fmt::format("Weft {} on {}", chart::version(), (*cluster)->name()) << std::endl;
  options.install.timeout = std::chrono::seconds(options.install_timeout);
  if (const auto done = install::install(**cluster, options.install, progress_of(session)); !done)
    return report_cluster(session, done.error());
  session.io.out << (options.install.wait ? "Weft is installed. Try it: weft connectivity test\n"
                                          : "applied; weft status --kubernetes shows how it goes on\n");
  return exit_ok;
}

bool confirmed(const Session& session, const std::string& cluster, const std::vector<std::string>& lost,
               const Options& options) {
  session.io.out << fmt::format(
      "Weft goes from {}. Its pods lose their network, and Services are not served, until another one is there.\n",
      cluster);
  for (const auto& line : lost) session.io.out << "  lost for good: " << line << '\n';
  if (options.yes) return true;
  session.io.out << "Go on? [y/N] " << std::flush;
  std::string answer;
  std::getline(session.io.in, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

int run_uninstall_node(const Session& session, install::Cluster& cluster, const Options& options) {
  const auto done = install::uninstall_node(cluster, options.node, options.uninstall, progress_of(session));
  if (!done) return report_cluster(session, done.error());
  session.io.out << fmt::format("Weft is gone from node {}; kubectl label node {} weft.io/agent- brings it back\n",
                                options.node, options.node);
  return exit_ok;
}

int run_uninstall(const Session& session, Options& options) {
  const auto cluster = connect_cluster(session, options.choice);
  if (!cluster) return report_cluster(session, cluster.error());
  options.uninstall.timeout = std::chrono::seconds(options.uninstall_timeout);
  if (!options.node.empty()) return run_uninstall_node(session, **cluster, options);
  std::vector<std::string> lost;
  if (options.uninstall.purge) {
    const auto objects = install::what_gets_lost(**cluster);
    if (!objects)
      return report_cluster(session, install::explain(objects.error(), "what would be lost could not be looked at"));
    lost = *objects;
  }
  if (!confirmed(session, (*cluster)->name(), lost, options)) {
    session.io.err << "weft: nothing has been changed\n  say --yes where nobody can be asked\n";
    return exit_failed;
  }
  if (const auto done = install::uninstall(**cluster, options.uninstall, progress_of(session)); !done)
    return report_cluster(session, done.error());
  session.io.out << (options.uninstall.purge
                         ? "Weft is gone, with all its objects\n"
                         : "Weft is gone; its CustomResourceDefinitions and their objects stay, and /var/lib/weft on "
                           "each node, for another install (--purge)\n");
  return exit_ok;
}

template <class Run>
void runs(CLI::App* command, Session& session, const std::shared_ptr<Options>& options, Run run) {
  command->callback([&session, options, run] { session.exit_code = run(session, *options); });
}

void add_install(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("install", "Install Weft on a Kubernetes cluster, or bring it to this version");
  command->footer(
      "Examples:\n  weft install\n  weft install --context staging --set tunnel=none --set agentConfig.mtu=9000\n"
      "  weft install --print > weft.yaml       # nothing is changed\n"
      "  weft install --print-values            # what can be set, and what it is");
  add_cluster_choice(command, options->choice);
  command
      ->add_option("--set", options->install.set,
                   "A value of deploy/kubernetes/chart/weft/values.yaml; kept for the next install")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_flag("--reset-values", options->install.reset_values, "Forget what earlier installs were given");
  command->add_flag(
      "--print", options->print,
      "Print the manifests and change nothing; of a cluster's own values where --kubeconfig or --context names it");
  command->add_flag("--print-values", options->print_values, "The same of the values");
  command->add_flag("--force", options->install.force,
                    "Go on whatever stands in the way: another CNI, old nodes, missing rights");
  command->add_flag("--force-conflicts", options->install.force_conflicts,
                    "Set also what others have changed in Weft's objects");
  command->add_flag("--wait,!--no-wait", options->install.wait, "Wait until agents and operators are ready (default)");
  command->add_option("--timeout", options->install_timeout, "How long, in seconds (default 300)")
      ->type_name("SECONDS")
      ->check(CLI::Range(1, 86400));
  runs(command, session, options, run_install);
}

void add_uninstall(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("uninstall", "Take Weft away from a Kubernetes cluster and its nodes");
  command->footer(
      "Examples:\n  weft uninstall\n  weft uninstall --yes --purge    # with LoadBalancerPools and all other objects "
      "of Weft's");
  add_cluster_choice(command, options->choice);
  command->add_flag("-y,--yes", options->yes, "Do not ask");
  command->add_flag("--purge", options->uninstall.purge,
                    "Also the CustomResourceDefinitions, and with them every object of theirs; and what nodes keep in "
                    "/var/lib/weft");
  command
      ->add_option("--node", options->node,
                   "Only this node: it is labelled weft.io/agent=none, which ends its agent, and cleaned")
      ->type_name("NAME");
  command->add_flag("--clean,!--no-clean", options->uninstall.clean,
                    "Clean the nodes (default): programs, maps, pods' devices, the CNI plugin and its configuration");
  command
      ->add_option("--timeout", options->uninstall_timeout,
                   "How long each thing is waited for, in seconds (default 120)")
      ->type_name("SECONDS")
      ->check(CLI::Range(1, 86400));
  runs(command, session, options, run_uninstall);
}

}  // namespace

Result<std::unique_ptr<install::Cluster>> connect_cluster(const Session& session, const ClusterChoice& choice) {
  WEFT_TRY(auto access, install::find_access({.kubeconfig = choice.kubeconfig, .context = choice.context}));
  WEFT_TRY(auto cluster, install::Cluster::connect(std::move(access)));
  cluster->when_silent([&err = session.io.err](const std::string& what) { err << "weft: " << what << std::endl; });
  return cluster;
}

int report_cluster(const Session& session, const Error& error) {
  session.io.err << fmt::format("weft: {}\n", error.message);
  if (!error.hint.empty()) session.io.err << fmt::format("  {}\n", error.hint);
  return error.code == ErrorCode::unavailable ? exit_unavailable : exit_failed;
}

void add_cluster_choice(CLI::App* command, ClusterChoice& choice) {
  command
      ->add_option("--kubeconfig", choice.kubeconfig,
                   "Who and where the cluster is (default: KUBECONFIG, else ~/.kube/config)")
      ->type_name("FILE");
  command->add_option("--context", choice.context, "A context of the kubeconfig (default: its current one)")
      ->type_name("NAME");
}

void add_kubernetes_commands(CLI::App& app, Session& session, Completions& completions) {
  add_install(app, session);
  add_uninstall(app, session);
  add_connectivity(app, session, completions);
}

}  // namespace weft::cli
