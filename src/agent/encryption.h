// This node's part in encryption between nodes: its keys, the devices that speak with them, who is reached by which of
// them. It knows nothing of etcd: the agent tells it what others say, and others what it says. On the agent's thread.
#pragma once

#include <asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "agent/background.h"
#include "agent/cluster_link.h"
#include "agent/faults.h"
#include "agent/key_change.h"
#include "agent/node.h"
#include "agent/node_to_node.h"
#include "agent/wireguard_device.h"
#include "agent/wireguard_keys.h"
#include "config/agent/config.h"
#include "datapath/datapath.h"
#include "sys/netlink.h"

namespace weft::agent {

// How a node is encrypted to, for the operator.
struct PeerReport {
  std::string state;  // "encrypted", "waiting", "clear", "refused"
  control::Generation generation = 0;
  std::string endpoint;
  std::int64_t last_handshake = 0;  // nanoseconds since 1970; 0: never
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  std::string problem;  // empty: nothing is wrong
  std::string remedy;   // of the problem; empty: it says it
  std::string waits;    // why an earlier key is kept for it; empty: none is
};

class Encryption {
 public:
  struct Parts {
    asio::io_context& loop;
    const Config& config;
    sys::Netlink& netlink;
    datapath::Datapath& datapath;
    Faults& faults;
  };

  // `changed`: offer() or ways() may be others.
  static Result<std::unique_ptr<Encryption>> open(const Parts& parts, std::function<void()> changed);
  ~Encryption();
  Encryption(const Encryption&) = delete;
  Encryption& operator=(const Encryption&) = delete;

  // Ends what is left of it on a node that does not encrypt (any more).
  static void remove(sys::Netlink& netlink, const Config& config);

  // All other nodes, as they are known now.
  void take(const Node& node, std::map<std::string, EncryptionPeer> peers);
  [[nodiscard]] EncryptionOffer offer() const;
  // Devices by node that encrypts; 0: none speaks with it yet.
  [[nodiscard]] std::map<std::string, std::uint32_t> ways() const;
  [[nodiscard]] std::vector<std::uint32_t> ifindexes() const;

  // The programs at the devices; after the first publish.
  void attach();
  std::vector<std::string> heal();
  // Once a second: faults, and keys that are old enough to be changed.
  void check();
  // Begins to change the keys of all nodes. `unavailable`: they are changing already.
  Result<void> rotate();
  [[nodiscard]] nlohmann::json status_json() const;
  [[nodiscard]] std::map<std::string, PeerReport> reports() const;

 private:
  Encryption(const Parts& parts, std::function<void()> changed);
  [[nodiscard]] std::string key_file() const { return parts_.config.state_dir + "/wireguard.json"; }
  [[nodiscard]] std::uint16_t port_of(control::Generation generation) const;
  [[nodiscard]] control::Sessions sessions() const;
  void device_changed();
  void leave_out_others_keys();
  void plan(bool rotate);
  void linger(control::KeyPlan& plan);
  Result<void> hold(const control::KeyPlan& plan);
  Result<void> open_device(control::Generation generation);
  void tell_devices();
  void route_nodes();
  [[nodiscard]] wireguard::DeviceConfig config_of(control::Generation generation) const;
  [[nodiscard]] std::optional<wireguard::Endpoint> endpoint_of(const EncryptionPeer& peer, std::uint16_t port) const;
  [[nodiscard]] PeerReport report(const std::string& name, const EncryptionPeer& peer) const;
  [[nodiscard]] PeerReport session_report(const std::string& name, const EncryptionPeer& peer) const;
  void add_wait(PeerReport& report, const std::string& name, const EncryptionPeer& peer) const;

  Parts parts_;
  const std::function<void()> changed_;
  WireGuardBy by_ = WireGuardBy::program;
  WireGuardKeys keys_;
  Background background_;
  std::map<control::Generation, std::unique_ptr<WireGuardDevice>> devices_;
  Node node_;
  bool known_ = false;  // who else there is
  std::map<std::string, EncryptionPeer> peers_;
  std::map<std::string, std::string> key_owners_;  // public key to the node that told it first, and still does
  control::KeyPlan plan_;
  std::map<std::string, std::chrono::steady_clock::time_point> since_;  // without a session
  Keyless keyless_;
  std::map<control::Generation, std::chrono::steady_clock::time_point> unused_since_;
  std::map<std::string, std::chrono::steady_clock::time_point> waits_since_;  // an earlier key is kept for it
  NodeToNode node_to_node_;
  bool attached_ = false;
  bool posted_ = false;
  std::pair<EncryptionOffer, std::map<std::string, std::uint32_t>> told_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weft::agent
