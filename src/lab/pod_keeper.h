// Makes the lab's pods what the node API says: a namespace each, attached by the plugin, answering.
#pragma once

#include <asio/thread_pool.hpp>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/command_runner.h"
#include "lab/layout.h"
#include "lab/plugin_caller.h"
#include "lab/pod_plan.h"
#include "lab/responder.h"

namespace weft::lab {

// Used from the loop's thread only; the plugin runs in a few threads of its own. For one pod one
// thing happens after the other, so a pod deleted and made again is detached before it is attached.
class PodKeeper {
 public:
  PodKeeper(asio::io_context& loop, const Layout& layout, const std::string& plugin_binary,
            std::function<void()> changed);
  ~PodKeeper();
  PodKeeper(const PodKeeper&) = delete;
  PodKeeper& operator=(const PodKeeper&) = delete;

  // The API's list begins again (a new connection to it) ...
  void begin_sync();
  void set(PodPlan plan);
  void remove(const std::string& key);
  // ... and is complete: pods not set since begin_sync are detached. The first time also what an
  // earlier supervisor left behind.
  void end_sync();

  // Ends commands and responders and waits for the plugin; pods stay attached.
  void stop();

  // Nothing of earlier supervisors' pods is left.
  [[nodiscard]] bool collected() const { return collected_; }
  // [{namespace, name, workload, uid, netns, state, error, ports:[{port, protocol, http, error}], problems}]
  [[nodiscard]] nlohmann::json status() const;

 private:
  struct Pod;
  struct Timer;
  using Job = std::function<Result<void>()>;

  void advance(Pod& pod);
  void attach(Pod& pod);
  void detach(Pod& pod);
  void open(Pod& pod);
  void close(Pod& pod);
  // Runs `job` in a thread, then `done` in the loop.
  void run(Job job, std::function<void(Result<void>)> done);
  void attached(const std::string& key, const Result<void>& result);
  void detached(const std::string& key, const Result<void>& result);
  void retry(Pod& pod, const Error& error);
  void collect_leftovers();
  void collect_later();
  [[nodiscard]] std::string netns_of(const PodPlan& plan) const;

  asio::io_context& loop_;
  const Layout& layout_;
  const PluginCaller plugin_;
  const std::function<void()> changed_;
  Responders responders_;
  CommandRunner commands_;
  std::map<std::string, std::unique_ptr<Pod>> pods_;
  bool collecting_ = false;
  bool collected_ = false;
  bool collection_runs_ = false;
  std::unique_ptr<Timer> collect_timer_;
  bool stopping_ = false;
  asio::thread_pool threads_;
};

}  // namespace weft::lab
