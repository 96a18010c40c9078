// weftd: the node agent.
#include <fmt/format.h>
#include <malloc.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <csignal>
#include <cstdlib>
#include <functional>

#include "agent/agent.h"
#include "agent/cleanup.h"
#include "agent/start_check.h"
#include "config/agent/config.h"
#include "sys/system.h"

namespace {

using namespace weft;

int refuse(const Error& error) {
  fmt::print(stderr, "weftd: {}\n", error.message);
  if (!error.hint.empty()) fmt::print(stderr, "  {}\n", error.hint);
  return 1;
}

void set_up_log(const agent::Config& config) {
  auto log =
      config.log_file.empty() ? spdlog::stderr_logger_mt("weftd") : spdlog::basic_logger_mt("weftd", config.log_file);
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  log->set_level(spdlog::level::from_str(config.log_level));
  log->flush_on(spdlog::level::info);
  spdlog::set_default_logger(log);
}

// The crash tests end the process after a named step of an attachment, as kill -9 would.
agent::Attachment::Checkpoint test_checkpoint() {
  const char* where = std::getenv("WEFT_TEST_CRASH_AT");
  if (where == nullptr) return {};
  return [step = std::string(where)](const char* done) {
    if (step == done) ::kill(::getpid(), SIGKILL);
  };
}

int run(const agent::Config& config) {
  asio::io_context loop{1};
  auto agent = agent::Agent::start(loop, config, test_checkpoint());
  if (!agent) return refuse(agent.error());
  asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](const std::error_code&, int) { loop.stop(); });
  asio::signal_set hangups(loop, SIGHUP);
  const std::function<void()> ignore_hangups = [&] {
    hangups.async_wait([&](const std::error_code& error, int) {
      if (error) return;
      spdlog::warn("SIGHUP is ignored: restart weftd to read its configuration again; pods do not notice");
      ignore_hangups();
    });
  };
  ignore_hangups();
  spdlog::info("weftd serves on {} (instance {}, node {}, pid {})", config.socket_path(), config.instance, config.node,
               ::getpid());
  loop.run();
  spdlog::info("weftd stops; the datapath goes on");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "The Weft node agent: gives containers addresses, connectivity, service load balancing and policy.\n"
      "The datapath it installs goes on working while the agent is away.\n\n"
      "Example: weftd --config /etc/weft/weftd.yaml"};
  std::string path;
  bool check = false;
  bool cleanup = false;
  bool purge = false;
  bool version = false;
  app.add_option("-c,--config", path, "Configuration file (YAML); every key is described in weftd.yaml");
  app.add_flag("--check", check, "Check the configuration file, and the files it names, and exit");
  auto* cleans =
      app.add_flag("--cleanup", cleanup,
                   "Take away what a stopped agent left: programs, pinned maps, pods' devices; the objects stay");
  app.add_flag("--purge", purge, "With --cleanup: the objects, too, with the node's keys; nothing of Weft stays")
      ->needs(cleans);
  app.add_flag("-V,--version", version, "Print the version and exit");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& wrong) {
    fmt::print(stderr, "weftd: {}\n  see \"weftd --help\"\n", wrong.what());
    return 2;
  }
  if (version) {
    fmt::print("weftd {}\n", WEFT_VERSION);
    return 0;
  }
  const auto config = cleanup ? agent::load_config_for_cleanup(path) : agent::load_config(path);
  if (!config) return refuse(config.error());
  if (const auto good = agent::check_start(*config); !good && !cleanup)
    return refuse(path.empty() ? good.error() : good.error().in(path));
  if (check) return 0;
  if (::geteuid() != 0) return refuse({ErrorCode::denied, "must run as root", "it manages devices and BPF programs"});
  sys::make_sysctls_writable();
  if (cleanup) {
    const auto done = agent::clean_up(*config, purge ? agent::Kept::nothing : agent::Kept::store,
                                      [](const std::string& line) { fmt::print("{}\n", line); });
    return done ? 0 : refuse(done.error());
  }
  // What one thread makes another frees: a heap of each thread's own would keep the most of both.
  ::mallopt(M_ARENA_MAX, 1);
  try {
    set_up_log(*config);
    return run(*config);
  } catch (const std::exception& exception) {
    return refuse({ErrorCode::internal, exception.what(), {}});
  }
}
