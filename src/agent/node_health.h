// Whether the other nodes answer, and how fast: the node at its own address, and its pods' network by the way that
// pods' packets take, with small packets and with the largest that are to fit. What is wrong between two nodes is told
// apart by which of these fail. On the agent's thread.
#pragma once

#include <array>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "abi/endpoint.h"
#include "agent/faults.h"
#include "base/ip.h"
#include "sys/ping_socket.h"

namespace weft::agent {

struct HealthTarget {
  std::vector<IpAddress> addresses;  // the node's own
  std::vector<IpAddress> gateways;   // its pods', reached as pods are
  std::uint32_t mtu = 0;             // largest packet to pods
  weft_way way = WEFT_WAY_NONE;
  bool alive = true;  // as it says itself
  bool edge = false;  // it may be away
  // By which packets between it and this node are lost, as losing() of agent/node_settings.h says it.
  std::string differences;
  std::string settings;              // all that it is configured with otherwise than this node, as in_words() says it
  std::uint16_t tunnel_port = 0;     // of this node's configuration
  std::uint16_t wireguard_port = 0;  // likewise; and the next one
  bool operator==(const HealthTarget&) const = default;
};
using HealthTargets = std::map<std::string, HealthTarget>;  // by node

// One of the things asked of a node.
struct HealthProbe {
  enum class What { node, pods, large };
  What what = What::node;
  IpAddress address;
  std::uint32_t size = 0;
};
std::string_view to_string(HealthProbe::What what);

struct HealthResult {
  HealthProbe probe;
  std::uint32_t sent = 0;
  std::uint32_t answered = 0;
  std::uint32_t lost_in_row = 0;
  // Answered since its agent was told to be away, or at all where it is not, and no question has waited for long since.
  bool confirmed = false;
  std::optional<std::chrono::system_clock::time_point> heard;  // when the last answer came
  std::optional<std::chrono::microseconds> latency;            // of the last answer
  std::optional<std::chrono::microseconds> average;            // an eighth of each new one
  std::string error;                                           // why the last one could not be sent
};

// This node's own, from etcd.
struct Absence {
  std::chrono::system_clock::time_point since;
  std::chrono::seconds reclaim;  // after which the others forget it
  bool operator==(const Absence&) const = default;
};

// What the results of a node mean, for the operator.
struct HealthVerdict {
  std::string problem;  // empty: nothing is wrong
  std::string remedy;   // of the problem
  std::string note;     // what is worth to be known and no fault
  // The problem is nothing but how it is configured; several nodes may have the same one.
  bool of_settings = false;
  bool operator==(const HealthVerdict&) const = default;
};
// Pure. `forgotten`: the others have forgotten this node; absent: it is not so.
HealthVerdict diagnose(const std::string& node, const HealthTarget& target, const std::vector<HealthResult>& results,
                       const std::optional<Absence>& forgotten = {});
std::vector<HealthProbe> probes_of(const HealthTarget& target);
// "node b", "nodes b, c", "nodes b, c, d and 9 more" and what is wrong with how they are configured. Pure.
Fault settings_fault(const std::vector<std::string>& nodes, const std::string& settings);
// Nodes of which all questions of a kind went unanswered three times.
struct SilentNodes {
  std::set<std::string> any;   // of the node itself, or of its pods' network
  std::set<std::string> pods;  // of its pods' network
  bool operator==(const SilentNodes&) const = default;
};

class NodeHealth {
 public:
  using Clock = std::chrono::steady_clock;
  // Each node is asked once in `interval`; what is not answered until its next turn is lost. One that is away when it
  // is heard of first is asked at once and again soon: `settled` says that silent() knows of it.
  explicit NodeHealth(
      asio::io_context& loop, std::function<void()> settled = [] {},
      std::chrono::milliseconds interval = std::chrono::seconds(5));
  ~NodeHealth();

  // `unavailable` without the right to open the sockets.
  Result<void> start();
  void set_targets(HealthTargets targets);
  void set_forgotten(std::optional<Absence> forgotten) { forgotten_ = forgotten; }
  [[nodiscard]] nlohmann::json to_json() const;
  [[nodiscard]] SilentNodes silent() const;
  // By node; those with nothing to say are left out.
  [[nodiscard]] std::map<std::string, Fault> problems() const;

 private:
  struct Asked {
    std::uint16_t sequence = 0;
    Clock::time_point at;
    bool waits = false;
  };
  struct Known {
    HealthTarget target;
    std::vector<HealthResult> results;
    std::vector<Asked> asked;
    bool hurries = false;          // it is asked apart from the turns
    unsigned hurried = 0;          // so often yet
    bool lost_in_a_hurry = false;  // what was lost says nothing of a node that is not away
  };
  struct Socket {
    sys::PingSocket ping;
    asio::posix::stream_descriptor ready;
  };

  // Of a node now: what the last question cannot tell any more is not confirmed.
  [[nodiscard]] static std::vector<HealthResult> results_of(const Known& known);
  void turn();
  void hurry();
  void hurry_in(std::chrono::milliseconds time);
  static void stop_hurry(Known& known);
  void ask(const std::string& node, Known& known);
  void count_lost(Known& known);
  void listen(Family family);
  void receive();
  void heard(const sys::EchoReply& reply);

  asio::io_context& loop_;
  std::function<void()> settled_;
  std::chrono::milliseconds interval_;
  asio::steady_timer timer_;
  asio::steady_timer hurry_timer_;
  bool hurries_ = false;
  std::array<std::unique_ptr<Socket>, 2> sockets_;  // IPv4, IPv6
  std::uint16_t identifier_ = 0;
  std::uint16_t next_sequence_ = 0;
  std::optional<Absence> forgotten_;
  std::map<std::string, Known> nodes_;
  std::string last_turn_;                                                 // the node that was asked last
  std::map<std::uint16_t, std::pair<std::string, std::size_t>> waiting_;  // by sequence
};

}  // namespace weft::agent
