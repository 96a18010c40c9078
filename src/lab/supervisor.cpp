#include "lab/supervisor.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <csignal>
#include <list>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "api/answer.h"
#include "api/server.h"
#include "lab/agent_process.h"
#include "lab/log.h"
#include "lab/machine.h"
#include "lab/pod_keeper.h"
#include "lab/pod_watcher.h"
#include "lab/process.h"
#include "sys/netns.h"

namespace weft::lab {
namespace {

using nlohmann::json;
constexpr std::chrono::milliseconds watch_interval{500};

class Supervisor {
 public:
  Supervisor(const Layout& layout, const std::string& binaries)
      : layout_(layout),
        signals_(loop_, SIGTERM, SIGINT),
        tick_(loop_),
        world_(loop_),
        agent_(loop_, layout, find_program(binaries, "weftd"), [this] { changed(); }),
        keeper_(loop_, layout, find_program(binaries, "weft-cni"), [this] { changed(); }) {}

  Result<void> start() {
    WEFT_TRY(server_, api::Server::listen(loop_, {.path = layout_.supervisor_socket()}));
    server_->handle("lab.status", [this](const json&) -> api::Answer { return status(); });
    server_->handle_stream("lab.watch", [this](const json&, const api::Stream& stream) {
      stream.send(status());
      streams_.push_back(stream);
    });
    WEFT_TRY(const auto self, identify(::getpid()));
    WEFT_CHECK(write_pid_file(layout_.supervisor_pid_file(), self));
    WEFT_CHECK(open_world());
    agent_.start();
    watch_pods();
    signals_.async_wait([this](const asio::error_code& error, int) {
      if (!error) stop();
    });
    tick();
    return {};
  }

  void run() { loop_.run(); }

 private:
  Result<void> open_world() {
    WEFT_TRY(const auto netns, sys::open_netns(sys::named_netns_path(layout_.world_netns())));
    const auto opened = world_.open("world", netns.get(), "world",
                                    {{80, Protocol::tcp, true},
                                     {443, Protocol::tcp, false},
                                     {53, Protocol::tcp, false},
                                     {53, Protocol::udp, false}});
    for (const auto& [port, error] : opened)
      if (!error.empty()) log_line("world: port {}: {}", port.port, error);
    return {};
  }

  // The watcher has its own thread; everything it says is taken up in the loop.
  void watch_pods() {
    PodWatcher::Callbacks callbacks;
    callbacks.connected = [this] {
      asio::post(loop_, [this] {
        serving_ = true;
        agent_.served();
        keeper_.begin_sync();
        changed();
      });
    };
    callbacks.event = [this](const json& event) { asio::post(loop_, [this, event] { pod_event(event); }); };
    callbacks.disconnected = [this](const std::string& why) {
      asio::post(loop_, [this, why] {
        log_line("the pods cannot be watched: {}", why);
        serving_ = false;
        changed();
      });
    };
    watcher_.emplace(layout_.node().socket(), std::move(callbacks));
  }

  void pod_event(const json& event) {
    const auto type = event.find("type");
    if (type == event.end()) return;
    if (*type == "synced") {
      keeper_.end_sync();
      synced_ = true;
      return changed();
    }
    const auto object = event.find("object");
    auto plan = pod_plan_from_json(object == event.end() ? json() : *object);
    if (!plan)
      log_line("a pod event is not understood: {}", plan.error().message);
    else if (*type == "deleted")
      keeper_.remove(plan->key());
    else
      keeper_.set(std::move(*plan));
  }

  [[nodiscard]] json status() const {
    return {{"lab", layout_.name()},
            {"pid", ::getpid()},
            {"agent",
             {{"pid", agent_.pid()},
              {"restarts", agent_.restarts()},
              {"failures", agent_.failures()},
              {"serving", serving_},
              {"problem", agent_.problem()}}},
            {"synced", synced_ && keeper_.collected()},
            {"pods", keeper_.status()}};
  }

  // Many changes of one turn of the loop become one event.
  void changed() {
    if (streams_.empty() || std::exchange(announcing_, true)) return;
    asio::post(loop_, [this] {
      announcing_ = false;
      announce();
    });
  }

  void announce() {
    const json now = status();
    streams_.remove_if([&now](const api::Stream& stream) { return !stream.send(now); });
  }

  void tick() {
    tick_.expires_after(watch_interval);
    tick_.async_wait([this](const asio::error_code& error) {
      if (error) return;
      if (!streams_.empty()) announce();
      tick();
    });
  }

  void stop() {
    log_line("stopping");
    server_->stop();
    streams_.clear();
    tick_.cancel();
    // The agent first: plugin calls in progress end as soon as it is gone.
    agent_.stop();
    watcher_.reset();
    keeper_.stop();
    world_.close("world");
    ::unlink(layout_.supervisor_pid_file().c_str());
    loop_.stop();
  }

  const Layout& layout_;
  asio::io_context loop_;
  asio::signal_set signals_;
  asio::steady_timer tick_;
  Responders world_;
  AgentProcess agent_;
  PodKeeper keeper_;
  std::unique_ptr<api::Server> server_;
  std::list<api::Stream> streams_;
  bool serving_ = false;
  bool synced_ = false;
  bool announcing_ = false;
  std::optional<PodWatcher> watcher_;  // last: its thread posts to all of the above
};

// A lab of many pods has thousands of sockets.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void report(int fd, const std::string& line) {
  if (::write(fd, line.data(), line.size()) < 0) log_line("nobody waits for: {}", line);
  const Fd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  ::dup2(null.get(), fd);  // keeps the number taken: it may be standard output
}

}  // namespace

int supervise(const Layout& layout, const std::string& binary_directory, int ready_fd) {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  raise_descriptor_limit();
  if (::chdir("/") != 0) log_line("cannot change to /");
  log_line("supervising lab {}, process {}", layout.name(), ::getpid());
  Supervisor supervisor(layout, binary_directory);
  if (const auto started = supervisor.start(); !started) {
    log_line("cannot start: {}", started.error().message);
    report(ready_fd, started.error().message + "\n");
    return 1;
  }
  report(ready_fd, "ready\n");
  supervisor.run();
  log_line("stopped");
  return 0;
}

}  // namespace weft::lab
