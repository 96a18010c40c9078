// weft-operator: the cluster's duties, done once for all nodes.
#include <fmt/format.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <csignal>

#include "config/operator/config.h"
#include "operator/operator.h"
#include "sources/cluster/check_access.h"
#include "sources/kubernetes/open_access.h"

namespace {

using namespace weft;

int refuse(const Error& error) {
  fmt::print(stderr, "weft-operator: {}\n", error.message);
  if (!error.hint.empty()) fmt::print(stderr, "  {}\n", error.hint);
  return 1;
}

void set_up_log(const op::Config& config) {
  auto log = config.log_file.empty() ? spdlog::stderr_logger_mt("weft-operator")
                                     : spdlog::basic_logger_mt("weft-operator", config.log_file);
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  log->set_level(spdlog::level::from_str(config.log_level));
  log->flush_on(spdlog::level::info);
  spdlog::set_default_logger(log);
}

// What a start would refuse, without asking anybody.
Result<void> check_access(const op::Config& config) {
  if (config.store == op::Config::Store::etcd) WEFT_CHECK(cluster::check_access(config));
  if (config.on_kubernetes()) {
    const auto access = kubernetes::open_access(config);
    if (!access) return fail(access.error());
    if (!config.crds.empty()) {
      const auto crds = op::load_crds(config.crds, WEFT_VERSION);
      if (!crds) return fail(crds.error());
    }
  }
  return {};
}

int run(const op::Config& config) {
  asio::io_context loop{1};
  auto started = op::Operator::start(loop, config);
  if (!started) return refuse(started.error());
  asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](const std::error_code&, int) {
    (*started)->stop([&loop] { loop.stop(); });
    // Asked twice it does not wait for etcd.
    signals.async_wait([&loop](const std::error_code&, int) { loop.stop(); });
  });
  spdlog::info("weft-operator {} of cluster {} (pid {})", config.name, config.cluster, ::getpid());
  loop.run();
  spdlog::info("weft-operator stops");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "The Weft operator: cleans up after nodes that are gone, collects identities nobody uses, gives waiting\n"
      "Services their addresses. Run two or more; one acts, the others stand by. Nodes work without it: only\n"
      "such cleaning and giving waits.\n\n"
      "Example: weft-operator --config /etc/weft/weft-operator.yaml\n"
      "What they do is shown on any node by: weft operator status"};
  std::string path = "/etc/weft/weft-operator.yaml";
  std::string crds;
  bool check = false;
  bool version = false;
  app.add_option("-c,--config", path, "Configuration file (YAML); every key is described in weft-operator.yaml")
      ->capture_default_str();
  app.add_option("--crds", crds, "Keep the CustomResourceDefinitions of this directory installed: `crds` of the file");
  app.add_flag("--check", check, "Check the configuration file, and the files it names, and exit");
  app.add_flag("-V,--version", version, "Print the version and exit");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& wrong) {
    fmt::print(stderr, "weft-operator: {}\n  see \"weft-operator --help\"\n", wrong.what());
    return 2;
  }
  if (version) {
    fmt::print("weft-operator {}\n", WEFT_VERSION);
    return 0;
  }
  auto config = op::load_config(path);
  if (config && !crds.empty()) {
    config->crds = crds;
    if (!config->on_kubernetes())
      config = fail(ErrorCode::invalid, "--crds is given, but objects is applied", "set objects: kubernetes");
  }
  if (!config) return refuse(config.error());
  if (const auto good = check_access(*config); !good) return refuse(good.error().in(path));
  if (check) return 0;
  try {
    set_up_log(*config);
    return run(*config);
  } catch (const std::exception& exception) {
    return refuse({ErrorCode::internal, exception.what(), {}});
  }
}
