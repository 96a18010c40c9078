// Makes the lab's pods what the node API says: a namespace each, attached by the plugin of its node, answering.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "lab/command_runner.h"
#include "lab/layout.h"
#include "lab/placement.h"
#include "lab/pod_plan.h"
#include "lab/responder.h"

namespace asio {
class io_context;
}

namespace weft::lab {

// Used from the loop's thread only; the plugin runs in a few threads for each node, so that an agent that hangs keeps
// only its own pods waiting. For one pod one thing happens after the other, so a pod deleted and made again, or placed
// on another node, is detached before it is attached.
class PodKeeper {
 public:
  struct Callbacks {
    std::function<void()> changed;
    // A pod of this node has these addresses now.
    std::function<void(const std::string& node, const std::vector<IpAddress>& addresses)> attached;
  };
  // `layout` may change until the next call of layout_changed.
  PodKeeper(asio::io_context& loop, const Layout& layout, std::string plugin_binary, Callbacks callbacks);
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

  // The lab has more nodes than before.
  void layout_changed();
  // While a node is away nothing is attached there or detached from it. `gone`: with the node went its pods'
  // namespaces, as when a machine crashes.
  void set_away(const std::string& node, bool away, bool gone);

  // An agent answers that did not: what waits for it need not wait longer.
  void agent_answers();
  // Of the pods placed there that have namespaces of their own.
  [[nodiscard]] std::vector<std::string> namespaces_on(const std::string& node) const;

  // Ends commands and responders and waits for the plugin; pods stay attached.
  void stop();

  // Nothing of earlier supervisors' pods is left.
  [[nodiscard]] bool collected() const { return collected_; }
  // [{namespace, name, node, workload, uid, netns, state, error, ports:[{port, protocol, http, error}], problems}]
  [[nodiscard]] nlohmann::json status() const;

 private:
  struct Pod;
  struct Node;
  struct Timer;
  using Job = std::function<Result<std::vector<IpAddress>>()>;
  using Done = std::function<void(const Result<std::vector<IpAddress>>&)>;

  void place(Pod& pod, PodPlan plan);
  void advance(Pod& pod);
  void advance_all();
  void attach(Pod& pod);
  void detach(Pod& pod);
  void open(Pod& pod);
  void close(Pod& pod);
  // Runs `job` in a thread of the node, then `done` in the loop.
  void run(Node& node, Job job, Done done);
  void attached(const std::string& key, const Result<std::vector<IpAddress>>& result);
  void detached(const std::string& key, const Result<void>& result);
  void retry(Pod& pod, const Error& error);
  static void tell(Pod& pod, std::string_view what, const Error& error);
  void collect_leftovers();
  void collect_node(Node& node);
  void remove_leftovers();
  void collect_later();
  [[nodiscard]] Node& node_of(const Pod& pod);
  [[nodiscard]] std::string netns_of(const Pod& pod) const;

  asio::io_context& loop_;
  const Layout& layout_;
  const std::string plugin_binary_;
  const Callbacks callbacks_;
  Placement placement_;
  Responders responders_;
  CommandRunner commands_;
  std::map<std::string, std::unique_ptr<Pod>> pods_;
  std::set<std::string> leftovers_;  // namespaces of pods nobody wants
  std::size_t collections_ = 0;      // under way
  bool collecting_ = false;
  bool collected_ = false;
  std::unique_ptr<Timer> collect_timer_;
  bool stopping_ = false;
  std::map<std::string, std::unique_ptr<Node>> nodes_;  // last: its threads use all of the above
};

}  // namespace weft::lab
