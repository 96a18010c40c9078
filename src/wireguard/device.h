// A WireGuard device: what it is to be, what it is, and what has to be changed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "base/result.h"
#include "wireguard/key.h"

namespace weft::wireguard {

struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;
  static Result<Endpoint> parse(std::string_view text);  // "192.0.2.1:51871", "[2001:db8::1]:51871"
  [[nodiscard]] std::string to_string() const;
  auto operator<=>(const Endpoint&) const = default;
};

struct Peer {
  std::optional<Endpoint> endpoint;
  std::set<Cidr> allowed;       // sources that are believed, destinations that are sent there; no two peers have one
  std::uint16_t keepalive = 0;  // seconds; 0: none
  bool operator==(const Peer&) const = default;
};

struct DeviceConfig {
  Key private_key;
  std::uint16_t port = 0;
  std::uint32_t mark = 0;  // of the device's own packets; 0: none
  std::map<Key, Peer> peers;
  bool operator==(const DeviceConfig&) const = default;
};

struct PeerState : Peer {
  std::int64_t last_handshake = 0;  // nanoseconds since 1970; 0: never
  std::uint64_t sent = 0;           // bytes
  std::uint64_t received = 0;
};

struct DeviceState {
  Key private_key;
  std::uint16_t port = 0;
  std::uint32_t mark = 0;
  std::map<Key, PeerState> peers;
};

// What is absent stays as it is.
struct PeerChange {
  bool remove = false;
  bool add = false;  // it is new; otherwise one that has gone meanwhile stays away
  std::optional<Endpoint> endpoint;
  std::set<Cidr> allow;
  bool replace_allowed = false;  // by `allow`; else those are added
  std::optional<std::uint16_t> keepalive;
  bool greet = false;  // begin a session at once, without traffic; `keepalive` is given
  bool operator==(const PeerChange&) const = default;
};

struct DeviceChange {
  std::optional<Key> private_key;
  std::optional<std::uint16_t> port;
  std::optional<std::uint32_t> mark;
  std::map<Key, PeerChange> peers;
  [[nodiscard]] bool empty() const { return !private_key && !port && !mark && peers.empty(); }
};

// `told`: endpoints as they were given to the device before. One is given again only where it is another one than then:
// what the device has learnt since, from where a peer's packets came, is newer. `greet`: peers to begin a session with.
DeviceChange difference(const DeviceConfig& wanted, const DeviceState& actual, const std::map<Key, Endpoint>& told,
                        const std::set<Key>& greet);

// One thread at a time.
class Device {
 public:
  virtual ~Device() = default;
  // `unavailable`: it does not answer (yet).
  virtual Result<DeviceState> read() = 0;
  virtual Result<void> write(const DeviceChange& change) = 0;
};

// Of wireguard-go, at its socket.
std::unique_ptr<Device> open_uapi(const std::string& socket_path);
// Of the kernel, in the calling thread's network namespace. `unsupported`: this kernel has no WireGuard.
Result<std::unique_ptr<Device>> open_kernel(std::uint32_t ifindex);

}  // namespace weft::wireguard
