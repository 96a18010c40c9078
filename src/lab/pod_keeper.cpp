#include "lab/pod_keeper.h"

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "lab/log.h"
#include "lab/process.h"
#include "lab/world.h"
#include "sys/netns.h"

namespace weft::lab {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t plugin_threads = 4;

Result<void> attach_pod(const PluginCaller& plugin, const Attachment& attachment, const std::string& netns) {
  WEFT_TRY(const bool created, ensure_netns(netns));
  auto added = plugin.add(attachment);
  if (added || added.error().code != ErrorCode::exists) return added;
  // Attached by an earlier supervisor, and the namespace is still that one.
  if (!created) return {};
  WEFT_CHECK(plugin.del(attachment));
  return plugin.add(attachment);
}

Result<void> detach_pod(const PluginCaller& plugin, const Attachment& attachment, const std::string& netns) {
  terminate(processes_in_named_netns(netns), 500ms);
  WEFT_CHECK(plugin.del(attachment));
  return sys::delete_named_netns(netns);
}

}  // namespace

struct PodKeeper::Timer {
  asio::steady_timer timer;
};

struct PodKeeper::Pod {
  explicit Pod(asio::io_context& loop) : timer(loop) {}
  PodPlan plan;
  bool wanted = true;
  bool seen = true;      // since begin_sync
  bool replace = false;  // the same name with another uid: detach first
  bool attached = false;
  bool open = false;     // responders and commands
  bool busy = false;     // a thread works on it
  bool waiting = false;  // for the next attempt
  int attempts = 0;
  std::string error;
  std::vector<ListeningPort> listening;
  asio::steady_timer timer;

  [[nodiscard]] const char* state() const {
    if (!wanted || replace) return "detaching";
    if (open) return "ready";
    return error.empty() ? "attaching" : "failed";
  }
};

PodKeeper::PodKeeper(asio::io_context& loop, const Layout& layout, const std::string& plugin_binary,
                     std::function<void()> changed)
    : loop_(loop),
      layout_(layout),
      plugin_(plugin_binary, layout.node().socket()),
      changed_(std::move(changed)),
      responders_(loop),
      commands_(loop, layout.pods_dir()),
      collect_timer_(std::make_unique<Timer>(asio::steady_timer(loop))),
      threads_(plugin_threads) {}

PodKeeper::~PodKeeper() { stop(); }

void PodKeeper::stop() {
  if (std::exchange(stopping_, true)) return;
  collect_timer_->timer.cancel();
  for (auto& [key, pod] : pods_) {
    pod->timer.cancel();
    close(*pod);
  }
  threads_.join();
}

std::string PodKeeper::netns_of(const PodPlan& plan) const {
  return plan.host_network ? layout_.node().netns : layout_.pod_netns(plan.namespace_, plan.name);
}

void PodKeeper::begin_sync() {
  for (auto& [key, pod] : pods_) pod->seen = false;
}

void PodKeeper::set(PodPlan plan) {
  auto& slot = pods_[plan.key()];
  if (!slot) {
    slot = std::make_unique<Pod>(loop_);
    slot->plan = std::move(plan);
  } else {
    Pod& pod = *slot;
    const bool other_uid = !pod.plan.uid.empty() && !plan.uid.empty() && pod.plan.uid != plan.uid;
    if (!pod.wanted || other_uid || pod.plan.host_network != plan.host_network) {
      // The plan in use stays until its namespace is gone.
      pod.replace = pod.attached || pod.busy;
    } else if (pod.open && !pod.plan.same_work(plan)) {
      close(pod);
    }
    const bool host_network = pod.replace ? pod.plan.host_network : plan.host_network;
    pod.plan = std::move(plan);
    pod.plan.host_network = host_network;
    pod.wanted = true;
    pod.seen = true;
  }
  advance(*slot);
  changed_();
}

void PodKeeper::remove(const std::string& key) {
  const auto found = pods_.find(key);
  if (found == pods_.end()) return;
  found->second->wanted = false;
  advance(*found->second);
  changed_();
}

void PodKeeper::end_sync() {
  std::vector<std::string> gone;
  for (const auto& [key, pod] : pods_)
    if (!pod->seen) gone.push_back(key);
  for (const auto& key : gone) remove(key);
  if (!collected_ && !std::exchange(collecting_, true)) collect_leftovers();
}

void PodKeeper::advance(Pod& pod) {
  if (pod.busy || stopping_) return;
  if (!pod.wanted || pod.replace) {
    close(pod);
    if (pod.waiting && pod.attached) return;  // a failed detach waits for its next attempt
    detach(pod);
  } else if (!pod.attached) {
    // A collection knows only the pods there were when it began: it would take this one away again.
    if (!pod.waiting && !collection_runs_) attach(pod);
  } else if (!pod.open) {
    open(pod);
  }
}

void PodKeeper::run(Job job, std::function<void(Result<void>)> done) {
  asio::post(threads_, [this, job = std::move(job), done = std::move(done)]() mutable {
    auto result = job();
    asio::post(loop_, [this, result = std::move(result), done = std::move(done)] {
      if (!stopping_) done(result);
    });
  });
}

void PodKeeper::attach(Pod& pod) {
  pod.busy = true;
  const std::string key = pod.plan.key();
  if (pod.plan.host_network) {
    asio::post(loop_, [this, key] { attached(key, {}); });
    return;
  }
  const std::string netns = netns_of(pod.plan);
  const Attachment attachment{layout_.container_id(pod.plan.namespace_, pod.plan.name), sys::named_netns_path(netns),
                              pod.plan.namespace_, pod.plan.name};
  run([this, attachment, netns] { return attach_pod(plugin_, attachment, netns); },
      [this, key](const Result<void>& result) { attached(key, result); });
}

void PodKeeper::attached(const std::string& key, const Result<void>& result) {
  const auto found = pods_.find(key);
  if (found == pods_.end()) return;
  Pod& pod = *found->second;
  pod.busy = false;
  if (result) {
    pod.attached = true;
    pod.attempts = 0;
    pod.error.clear();
  } else {
    log_line("{}: attach: {}", key, result.error().message);
    retry(pod, result.error());
  }
  advance(pod);
  changed_();
}

void PodKeeper::detach(Pod& pod) {
  pod.busy = true;
  pod.waiting = false;
  pod.timer.cancel();
  const std::string key = pod.plan.key();
  if (pod.plan.host_network) {
    asio::post(loop_, [this, key] { detached(key, {}); });
    return;
  }
  const std::string netns = netns_of(pod.plan);
  const Attachment attachment{layout_.container_id(pod.plan.namespace_, pod.plan.name), sys::named_netns_path(netns),
                              pod.plan.namespace_, pod.plan.name};
  run([this, attachment, netns] { return detach_pod(plugin_, attachment, netns); },
      [this, key](const Result<void>& result) { detached(key, result); });
}

void PodKeeper::detached(const std::string& key, const Result<void>& result) {
  const auto found = pods_.find(key);
  if (found == pods_.end()) return;
  Pod& pod = *found->second;
  pod.busy = false;
  if (!result) {
    log_line("{}: detach: {}", key, result.error().message);
    pod.attached = true;  // as far as anyone knows
    retry(pod, result.error());
  } else {
    pod.attached = false;
    pod.replace = false;
    pod.attempts = 0;
    pod.error.clear();
    if (!pod.wanted) {
      log_line("{}: detached", key);
      pods_.erase(found);
      return changed_();
    }
    advance(pod);
  }
  changed_();
}

void PodKeeper::retry(Pod& pod, const Error& error) {
  pod.error = error.hint.empty() ? error.message : error.message + " (" + error.hint + ")";
  // An agent that is away comes back within the second; other errors want somebody to act.
  const auto first = error.code == ErrorCode::unavailable ? 50ms : 500ms;
  const auto longest = error.code == ErrorCode::unavailable ? 500ms : 5000ms;
  const auto pause = std::min<std::chrono::milliseconds>(first * (1 << std::min(pod.attempts, 8)), longest);
  ++pod.attempts;
  pod.waiting = true;
  pod.timer.expires_after(pause);
  pod.timer.async_wait([this, key = pod.plan.key()](const asio::error_code& cancelled) {
    const auto found = pods_.find(key);
    if (cancelled || found == pods_.end()) return;
    found->second->waiting = false;
    advance(*found->second);
    changed_();
  });
}

void PodKeeper::open(Pod& pod) {
  const std::string path = sys::named_netns_path(netns_of(pod.plan));
  const auto netns = sys::open_netns(path);
  if (!netns) {
    pod.error = netns.error().message;
    return;
  }
  pod.listening = responders_.open(pod.plan.key(), netns->get(), pod.plan.name, pod.plan.responders);
  commands_.start(pod.plan, path);
  pod.open = true;
  log_line("{}: ready", pod.plan.key());
}

void PodKeeper::close(Pod& pod) {
  responders_.close(pod.plan.key());
  commands_.stop(pod.plan.key());
  pod.listening.clear();
  pod.open = false;
}

// Pods that were deleted while nobody was supervising: their namespaces, and their attachments by GC.
void PodKeeper::collect_leftovers() {
  std::vector<std::string> valid;
  std::set<std::string> expected = {layout_.node().netns, layout_.world_netns(), layout_.neighbour_netns()};
  for (const auto& [key, pod] : pods_) {
    valid.push_back(layout_.container_id(pod->plan.namespace_, pod->plan.name));
    expected.insert(netns_of(pod->plan));
  }
  std::vector<std::string> leftover;
  for (auto& name : namespaces_of(layout_.name()))
    if (!expected.contains(name)) leftover.push_back(std::move(name));
  collection_runs_ = true;
  run(
      [this, valid, leftover]() -> Result<void> {
        for (const auto& name : leftover) terminate(processes_in_named_netns(name), 500ms);
        WEFT_CHECK(plugin_.collect_garbage(valid));
        for (const auto& name : leftover) WEFT_CHECK(sys::delete_named_netns(name));
        return {};
      },
      [this](const Result<void>& result) {
        collection_runs_ = false;
        for (const auto& [key, pod] : pods_) advance(*pod);
        if (!result) {
          log_line("collecting what is left of earlier pods: {}", result.error().message);
          return collect_later();
        }
        collected_ = true;
        changed_();
      });
}

void PodKeeper::collect_later() {
  collect_timer_->timer.expires_after(500ms);
  collect_timer_->timer.async_wait([this](const asio::error_code& cancelled) {
    if (!cancelled) collect_leftovers();
  });
}

nlohmann::json PodKeeper::status() const {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [key, pod] : pods_) {
    nlohmann::json ports = nlohmann::json::array();
    for (const auto& [port, error] : pod->listening)
      ports.push_back(
          {{"port", port.port}, {"protocol", to_string(port.protocol)}, {"http", port.http}, {"error", error}});
    list.push_back({{"namespace", pod->plan.namespace_},
                    {"name", pod->plan.name},
                    {"workload", pod->plan.workload},
                    {"uid", pod->plan.uid},
                    {"netns", netns_of(pod->plan)},
                    {"state", pod->state()},
                    {"error", pod->error},
                    {"ports", std::move(ports)},
                    {"problems", commands_.problems(key)}});
  }
  return list;
}

}  // namespace weft::lab
