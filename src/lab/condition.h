// What was done to a node of a lab on purpose: its link cut, slow or lossy, its agent or all of it down. Kept in
// a file of the lab, so that it holds until it is undone.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "lab/layout.h"

namespace weft::lab {

struct Condition {
  // Nodes of one group reach each other over the underlay, as far as they are on one network, and nobody
  // else; 0 is everybody who was not cut off.
  unsigned group = 0;
  std::chrono::microseconds delay{0};  // of each frame to or from the node
  std::uint32_t loss_ppm = 0;          // of a million frames in each direction
  bool cut_from_etcd = false;          // nothing else
  enum class Down { no, agent, node };
  Down down = Down::no;

  // Frames of its link go by way of a process that does this.
  [[nodiscard]] bool relayed() const { return delay.count() != 0 || loss_ppm != 0 || cut_from_etcd; }
  [[nodiscard]] bool without_etcd() const { return group != 0 || cut_from_etcd || down != Down::no; }
  [[nodiscard]] bool ordinary_link() const { return group == 0 && !relayed(); }
  bool operator==(const Condition&) const = default;
};

// Nodes that are not named are as they should be.
using Conditions = std::map<std::string, Condition, std::less<>>;

// {"node2": {"group": 1, "delay_us": 0, "loss_ppm": 0, "cut_from_etcd": false, "down": "no"}}
nlohmann::json conditions_to_json(const Conditions& conditions);
Conditions load_conditions(const std::string& path);  // what cannot be read is nothing
Result<void> save_conditions(const std::string& path, const Conditions& conditions);

// "20ms", "1.5s", "300us"; at most a minute.
Result<std::chrono::microseconds> parse_delay(std::string_view text);
// "5%", "0.1%"; parts of a million.
Result<std::uint32_t> parse_loss(std::string_view text);

// How a node's agent that does not answer comes back, and how the agent of the first node that is down where none is
// named: in words, with the command.
std::string way_back(const Layout& layout, std::string_view node = {});

// The nodes of a lab in the order in which to ask their agents: those that reach etcd first.
std::vector<const NodeLayout*> by_reach(const Layout& layout);

}  // namespace weft::lab
