// This node's own Node object: what it says of the node, and what the agent says in it (docs/kubernetes.md).
//
// A node that joins has the taint node.weft.io/agent-not-ready, which keeps pods away until it can attach them: the
// agent takes it away then, once. The condition NetworkUnavailable is False while pods can be attached, and True when
// they could not be for a while: the scheduler sends no more then, and those that run stay. A stop of the agent says
// nothing: the next one attaches.
//
// Every write is based on the object as it was read, and is made again on what it is then if it has changed. On the
// agent's thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "agent/faults.h"
#include "base/ip.h"
#include "base/labels.h"
#include "sources/kubernetes/reflector.h"
#include "sources/kubernetes/writer.h"

namespace weft::agent {

inline constexpr auto not_ready_taint = "node.weft.io/agent-not-ready";

// What the object says of the node.
struct NodeFacts {
  std::string uid;
  LabelMap labels;
  std::vector<IpAddress> addresses;  // InternalIP, in its order
  std::vector<Cidr> pod_cidrs;       // spec.podCIDRs, if somebody has given it any
  bool operator==(const NodeFacts&) const = default;
};
nlohmann::json to_json(const NodeFacts& facts);
std::optional<NodeFacts> facts_from_json(const nlohmann::json& json);

class KubernetesNode {
 public:
  struct Parts {
    kubernetes::Http& http;
    etcd::Scheduler& scheduler;
    etcd::Random random;
    std::string node;
    etcd::BackoffOptions backoff{std::chrono::milliseconds(1000), std::chrono::milliseconds(30000)};
    std::chrono::milliseconds patience{60000};  // unable for so long before it is said
    std::function<std::chrono::system_clock::time_point()> wall_clock = std::chrono::system_clock::now;
  };
  struct Handlers {
    std::function<void(const NodeFacts& facts)> changed;
    // Something that is worth an Event of the node.
    std::function<void(const std::string& reason, const std::string& note, bool warning)> event;
  };
  KubernetesNode(Parts parts, Handlers handlers);

  // Once a second. `why_not`: why no pod can be attached; empty: they can.
  void check(const std::string& why_not);
  // Empty until it is heard of.
  [[nodiscard]] const NodeFacts& facts() const { return facts_; }
  // Why the object does not say what it should; nothing: it does, or will soon.
  [[nodiscard]] std::optional<Fault> fault() const;
  [[nodiscard]] nlohmann::json status_json() const;

 private:
  enum class Wanted { nothing, available, unavailable };
  struct Seen;
  void take(const kubernetes::Change& change);
  void act();
  [[nodiscard]] std::string patch_of_taints() const;
  [[nodiscard]] std::string patch_of_condition() const;
  void write(const std::string& path, std::string patch, std::function<void()> written);
  [[nodiscard]] const Seen* seen() const;

  Parts parts_;
  Handlers handlers_;
  kubernetes::Writer writer_;
  etcd::Backoff backoff_;
  kubernetes::Reflector reflector_;
  NodeFacts facts_;
  Wanted wanted_ = Wanted::nothing;
  std::string why_not_;
  etcd::Scheduler::Time able_at_;  // last, or begun
  bool busy_ = false;
  std::string based_on_;  // the version of the last write that was made: what it made comes by the watch
  etcd::Scheduler::Time not_before_{};
  Wanted told_ = Wanted::nothing;  // by the condition, and when it is told again
  etcd::Scheduler::Time argue_at_{};
  std::string problem_;  // of the last write
  int failures_ = 0;     // one after the other
};

}  // namespace weft::agent
