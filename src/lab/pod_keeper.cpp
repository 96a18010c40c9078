#include "lab/pod_keeper.h"

#include <unistd.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/thread_pool.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "lab/log.h"
#include "lab/plugin_caller.h"
#include "lab/programs.h"
#include "lab/world.h"
#include "supervise/process.h"
#include "sys/netns.h"

namespace weft::lab {
namespace {

using namespace std::chrono_literals;

// Of a node; a lab of one has all the machine for it.
constexpr std::size_t plugin_threads = 4;
constexpr std::size_t plugin_threads_of_many = 2;

using Addresses = std::vector<IpAddress>;

bool is_there(const std::string& netns) { return ::access(sys::named_netns_path(netns).c_str(), F_OK) == 0; }

Result<Addresses> attach_pod(const PluginCaller& plugin, const Attachment& attachment, const std::string& netns) {
  WEFT_TRY(const bool created, ensure_netns(netns));
  auto added = plugin.add(attachment);
  if (added || added.error().code != ErrorCode::exists) return added;
  // Attached by an earlier supervisor, and the namespace is still that one.
  if (!created) return Addresses{};
  WEFT_CHECK(plugin.del(attachment));
  return plugin.add(attachment);
}

Result<Addresses> detach_pod(const PluginCaller& plugin, const Attachment& attachment, const std::string& netns) {
  supervise::terminate(supervise::processes_in_named_netns(netns), 500ms);
  WEFT_CHECK(plugin.del(attachment));
  WEFT_CHECK(sys::delete_named_netns(netns));
  return Addresses{};
}

}  // namespace

struct PodKeeper::Timer {
  asio::steady_timer timer;
};

struct PodKeeper::Node {
  Node(NodeLayout its_layout, const std::string& plugin_binary, std::size_t count)
      : layout(std::move(its_layout)), plugin(plugin_binary, layout.socket()), threads(count) {}
  const NodeLayout layout;
  const PluginCaller plugin;
  bool away = false;
  bool collected = false;
  asio::thread_pool threads;
};

struct PodKeeper::Pod {
  explicit Pod(asio::io_context& loop) : timer(loop) {}
  PodPlan plan;
  std::string node;  // empty: it names one that is not there
  bool wanted = true;
  bool seen = true;       // since begin_sync
  bool replace = false;   // the same name with another uid, or on another node: detach first
  std::string next_node;  // where it goes then
  bool attached = false;
  bool touched = false;  // by this supervisor: what is there is not what an earlier one attached
  bool open = false;     // responders and commands
  bool busy = false;     // a thread works on it
  bool waiting = false;  // for the next attempt
  int attempts = 0;
  std::string error;
  std::string told;  // of what does not succeed, in the log
  std::vector<ListeningPort> listening;
  asio::steady_timer timer;

  [[nodiscard]] const char* state() const {
    if (!wanted || replace) return "detaching";
    if (open) return "ready";
    return error.empty() ? "attaching" : "failed";
  }
};

PodKeeper::PodKeeper(asio::io_context& loop, const Layout& layout, std::string plugin_binary, Callbacks callbacks)
    : loop_(loop),
      layout_(layout),
      plugin_binary_(std::move(plugin_binary)),
      callbacks_(std::move(callbacks)),
      placement_(layout.placement_file()),
      responders_(loop),
      commands_(loop, layout.pods_dir()),
      collect_timer_(std::make_unique<Timer>(asio::steady_timer(loop))) {
  layout_changed();
}

PodKeeper::~PodKeeper() { stop(); }

void PodKeeper::layout_changed() {
  const auto threads = layout_.nodes().size() == 1 ? plugin_threads : plugin_threads_of_many;
  for (const auto& node : layout_.nodes())
    if (!nodes_.contains(node.name)) {
      nodes_[node.name] = std::make_unique<Node>(node, plugin_binary_, threads);
      collected_ = false;
    }
  agent_answers();
}

void PodKeeper::stop() {
  if (std::exchange(stopping_, true)) return;
  collect_timer_->timer.cancel();
  for (auto& [key, pod] : pods_) {
    pod->timer.cancel();
    close(*pod);
  }
  for (auto& [name, node] : nodes_) node->threads.join();
}

PodKeeper::Node& PodKeeper::node_of(const Pod& pod) { return *nodes_.at(pod.node); }

std::string PodKeeper::netns_of(const Pod& pod) const {
  if (!pod.plan.host_network) return layout_.pod_netns(pod.plan.namespace_, pod.plan.name);
  return pod.node.empty() ? std::string() : nodes_.at(pod.node)->layout.netns;
}

void PodKeeper::begin_sync() {
  for (auto& [key, pod] : pods_) pod->seen = false;
}

// Finds its node for a pod that is new, or that is replaced.
void PodKeeper::place(Pod& pod, PodPlan plan) {
  const auto node = placement_.place(plan, layout_.nodes());
  if (!node)
    pod.error = node.error().message;
  else if (pod.node.empty())
    pod.error.clear();
  if (!pod.attached && !pod.busy) {
    pod.node = node.value_or("");
  } else if (pod.node != node.value_or("")) {
    pod.replace = true;
  }
  pod.next_node = node.value_or("");
  const bool host_network = pod.replace ? pod.plan.host_network : plan.host_network;
  pod.plan = std::move(plan);
  pod.plan.host_network = host_network;
}

void PodKeeper::set(PodPlan plan) {
  auto& slot = pods_[plan.key()];
  if (!slot) {
    slot = std::make_unique<Pod>(loop_);
    place(*slot, std::move(plan));
  } else {
    Pod& pod = *slot;
    const bool other_uid = !pod.plan.uid.empty() && !plan.uid.empty() && pod.plan.uid != plan.uid;
    if (!pod.wanted || other_uid || pod.plan.host_network != plan.host_network) {
      // The plan in use stays until its namespace is gone.
      pod.replace = pod.attached || pod.busy;
    } else if (pod.open && !pod.plan.same_work(plan)) {
      close(pod);
    }
    place(pod, std::move(plan));
    pod.wanted = true;
    pod.seen = true;
  }
  advance(*slot);
  callbacks_.changed();
}

void PodKeeper::remove(const std::string& key) {
  const auto found = pods_.find(key);
  if (found == pods_.end()) return;
  found->second->wanted = false;
  advance(*found->second);
  callbacks_.changed();
}

void PodKeeper::set_away(const std::string& name, bool away, bool gone) {
  const auto found = nodes_.find(name);
  if (found == nodes_.end() || (found->second->away == away && !gone)) return;
  found->second->away = away;
  for (auto& [key, pod] : pods_) {
    if (pod->node != name) continue;
    if (gone) {
      close(*pod);
      pod->touched = true;
      pod->attached = false;
      pod->replace = false;
    }
    pod->error = away ? "its node is down" : "";
  }
  if (!away) found->second->collected = false;
  if (!away && collecting_ && collections_ == 0) collect_leftovers();
  advance_all();
  callbacks_.changed();
}

void PodKeeper::agent_answers() {
  if (!collected_ && collecting_ && collections_ == 0) collect_leftovers();
}

std::vector<std::string> PodKeeper::namespaces_on(const std::string& node) const {
  std::vector<std::string> names;
  for (const auto& [key, pod] : pods_)
    if (pod->node == node && !pod->plan.host_network) names.push_back(netns_of(*pod));
  return names;
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
  if (pod.node.empty() && pod.wanted) return;
  if (!pod.node.empty() && node_of(pod).away) {
    // What an earlier supervisor attached answers on; it is looked at again when the agent is back.
    if (pod.wanted && !pod.replace && !pod.open && (pod.attached || !pod.touched) && is_there(netns_of(pod))) open(pod);
    // A pod of which nothing is attached can go whatever its node does.
    if (pod.wanted || pod.attached) return;
  }
  if (!pod.wanted || pod.replace) {
    close(pod);
    if (pod.waiting && pod.attached) return;  // a failed detach waits for its next attempt
    detach(pod);
  } else if (!pod.attached) {
    // A collection knows only the pods there were when it began: it would take this one away again.
    if (!pod.waiting && collections_ == 0) attach(pod);
  } else if (!pod.open) {
    open(pod);
  }
}

// In two steps, because a pod that is not wanted any more is taken from the map.
void PodKeeper::advance_all() {
  std::vector<Pod*> all;
  for (const auto& [key, pod] : pods_) all.push_back(pod.get());
  for (Pod* pod : all) advance(*pod);
}

void PodKeeper::run(Node& node, Job job, Done done) {
  asio::post(node.threads, [this, job = std::move(job), done = std::move(done)]() mutable {
    auto result = job();
    asio::post(loop_, [this, result = std::move(result), done = std::move(done)] {
      if (!stopping_) done(result);
    });
  });
}

void PodKeeper::attach(Pod& pod) {
  pod.busy = true;
  pod.touched = true;
  const std::string key = pod.plan.key();
  if (pod.plan.host_network) {
    asio::post(loop_, [this, key] { attached(key, Addresses{}); });
    return;
  }
  const std::string netns = netns_of(pod);
  const Attachment attachment{layout_.container_id(pod.plan.namespace_, pod.plan.name), sys::named_netns_path(netns),
                              pod.plan.namespace_, pod.plan.name};
  Node& node = node_of(pod);
  run(
      node, [&node, attachment, netns] { return attach_pod(node.plugin, attachment, netns); },
      [this, key](const Result<Addresses>& result) { attached(key, result); });
}

void PodKeeper::attached(const std::string& key, const Result<Addresses>& result) {
  const auto found = pods_.find(key);
  if (found == pods_.end()) return;
  Pod& pod = *found->second;
  pod.busy = false;
  if (result) {
    pod.attached = true;
    pod.attempts = 0;
    pod.told.clear();
    pod.error.clear();
    callbacks_.attached(pod.node, result->empty() ? pod.plan.addresses : *result);
  } else {
    tell(pod, "attach", result.error());
    retry(pod, result.error());
  }
  advance(pod);
  callbacks_.changed();
}

void PodKeeper::detach(Pod& pod) {
  pod.busy = true;
  pod.touched = true;
  pod.waiting = false;
  pod.timer.cancel();
  const std::string key = pod.plan.key();
  // Nothing is attached of a pod without a node, or that is in the node's own namespace.
  if (pod.plan.host_network || pod.node.empty()) {
    asio::post(loop_, [this, key] { detached(key, {}); });
    return;
  }
  const std::string netns = netns_of(pod);
  const Attachment attachment{layout_.container_id(pod.plan.namespace_, pod.plan.name), sys::named_netns_path(netns),
                              pod.plan.namespace_, pod.plan.name};
  Node& node = node_of(pod);
  run(
      node, [&node, attachment, netns] { return detach_pod(node.plugin, attachment, netns); },
      [this, key](const Result<Addresses>& result) {
        detached(key, result ? Result<void>() : fail(Error(result.error())));
      });
}

void PodKeeper::detached(const std::string& key, const Result<void>& result) {
  const auto found = pods_.find(key);
  if (found == pods_.end()) return;
  Pod& pod = *found->second;
  pod.busy = false;
  if (!result) {
    tell(pod, "detach", result.error());
    pod.attached = true;  // as far as anyone knows
    retry(pod, result.error());
  } else {
    pod.attached = false;
    pod.replace = false;
    pod.attempts = 0;
    pod.told.clear();
    pod.error.clear();
    if (!pod.wanted) {
      log_line("{}: detached", key);
      placement_.forget(key);
      pods_.erase(found);
      return callbacks_.changed();
    }
    pod.node = pod.next_node;
    advance(pod);
  }
  callbacks_.changed();
}

// Once for as long as it is the same: an agent that starts is asked twice a second.
void PodKeeper::tell(Pod& pod, std::string_view what, const Error& error) {
  auto text = fmt::format("{}: {}{}", what, error.message, error.hint.empty() ? "" : " (" + error.hint + ")");
  if (text == pod.told) return;
  log_line("{}: {}; it is tried again", pod.plan.key(), text);
  pod.told = std::move(text);
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
    callbacks_.changed();
  });
}

void PodKeeper::open(Pod& pod) {
  const std::string path = sys::named_netns_path(netns_of(pod));
  const auto netns = sys::open_netns(path);
  if (!netns) {
    pod.error = netns.error().message;
    return;
  }
  pod.listening = responders_.open(pod.plan.key(), netns->get(), pod.plan.name, pod.plan.responders);
  commands_.start(pod.plan, path, cgroup_directory(node_of(pod).layout));
  pod.open = true;
  log_line("{}: ready", pod.plan.key());
}

void PodKeeper::close(Pod& pod) {
  responders_.close(pod.plan.key());
  commands_.stop(pod.plan.key());
  pod.listening.clear();
  pod.open = false;
}

// Pods that were deleted while nobody was supervising: their attachments by GC of each node, then their namespaces.
void PodKeeper::collect_leftovers() {
  std::set<std::string> expected = {layout_.world_netns(), layout_.neighbour_netns()};
  for (const auto& node : layout_.nodes()) expected.insert(node.netns);
  for (const auto& [key, pod] : pods_) expected.insert(netns_of(*pod));
  for (auto& name : namespaces_of(layout_.name()))
    if (!expected.contains(name)) leftovers_.insert(std::move(name));
  for (auto& [name, node] : nodes_)
    if (!node->collected && !node->away) collect_node(*node);
  if (collections_ == 0) remove_leftovers();
}

void PodKeeper::collect_node(Node& node) {
  std::vector<std::string> valid;
  for (const auto& [key, pod] : pods_)
    if (pod->node == node.layout.name) valid.push_back(layout_.container_id(pod->plan.namespace_, pod->plan.name));
  ++collections_;
  run(
      node,
      [&node, valid]() -> Result<Addresses> {
        WEFT_CHECK(node.plugin.collect_garbage(valid));
        return Addresses{};
      },
      [this, &node](const Result<Addresses>& result) {
        node.collected = result.has_value();
        if (!result)
          log_line("collecting what is left of earlier pods of {}: {}", node.layout.name, result.error().message);
        if (--collections_ == 0) remove_leftovers();
      });
}

// What is left of nodes that did not answer stays until they do.
void PodKeeper::remove_leftovers() {
  const bool complete =
      std::ranges::all_of(nodes_, [](const auto& entry) { return entry.second->collected || entry.second->away; });
  if (!complete) {
    advance_all();
    return collect_later();
  }
  ++collections_;
  run(
      *nodes_.begin()->second,
      [names = std::exchange(leftovers_, {})]() -> Result<Addresses> {
        for (const auto& name : names) {
          supervise::terminate(supervise::processes_in_named_netns(name), 500ms);
          WEFT_CHECK(sys::delete_named_netns(name));
        }
        return Addresses{};
      },
      [this](const Result<Addresses>& result) {
        --collections_;
        advance_all();
        if (!result) {
          log_line("removing what is left of earlier pods: {}", result.error().message);
          return collect_later();
        }
        collected_ = true;
        callbacks_.changed();
      });
}

void PodKeeper::collect_later() {
  collect_timer_->timer.expires_after(500ms);
  collect_timer_->timer.async_wait([this](const asio::error_code& cancelled) {
    if (!cancelled && collections_ == 0) collect_leftovers();
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
                    {"node", pod->node},
                    {"workload", pod->plan.workload},
                    {"uid", pod->plan.uid},
                    {"netns", netns_of(*pod)},
                    {"state", pod->state()},
                    {"error", pod->error},
                    {"ports", std::move(ports)},
                    {"problems", commands_.problems(key)}});
  }
  return list;
}

}  // namespace weft::lab
