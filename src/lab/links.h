// Makes the underlay what the conditions of a lab's nodes say: which switch a node's port is at, and whether a relay
// stands between.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/condition.h"
#include "lab/layout.h"
#include "supervise/kept_process.h"

namespace asio {
class io_context;
}

namespace weft::lab {

// Used from the loop's thread only. Changes are in the kernel when a call returns, and in the file.
class Links {
 public:
  // `weft` is the program whose `lab relay` a relay is.
  Links(asio::io_context& loop, const Layout& layout, std::string weft, std::function<void()> changed);
  ~Links();
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;

  // All that the file says, after a start of the supervisor or of a node.
  void restore();

  // Sets what `change` does to each node's condition. All nodes must be of the lab.
  Result<void> change(const std::vector<std::string>& nodes, const std::function<void(Condition&)>& change);
  // These nodes become a group of their own.
  Result<void> partition(const std::vector<std::string>& nodes);
  // The link's: whether a node is down stays. No nodes: all.
  Result<void> heal(std::vector<std::string> nodes);

  // Remembers it; its link is changed by the next call of `change`.
  Result<void> set_down(const std::string& node, Condition::Down down);

  // Ends relays; what is in the kernel stays.
  void stop();

  [[nodiscard]] const Conditions& conditions() const { return conditions_; }
  [[nodiscard]] Condition of(const std::string& node) const;

 private:
  struct Relay;
  Result<void> apply(const NodeLayout& node);
  Result<void> begin_relay(const NodeLayout& node, const Condition& condition);
  Result<void> end_relay(const NodeLayout& node);
  Result<void> plug(const std::string& port, const std::string& bridge);

  asio::io_context& loop_;
  const Layout& layout_;
  const std::string weft_;
  const std::function<void()> changed_;
  Conditions conditions_;
  std::map<std::string, std::unique_ptr<Relay>> relays_;
};

}  // namespace weft::lab
