// The pod, host and xdp objects, loaded with shared maps and nothing pinned, and a way to run their
// programs on a packet. Failures of the machinery are exceptions: a test cannot go on.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "abi/config.h"
#include "abi/egress.h"
#include "abi/endpoint.h"
#include "abi/event.h"
#include "abi/flow.h"
#include "abi/policy.h"
#include "abi/service.h"
#include "base/ip.h"
#include "packet.h"

struct bpf_object;
struct ring_buffer;

namespace weft::test {

enum class Hook { from_pod, to_pod, from_device, to_device, from_overlay, from_host, xdp };

inline constexpr int kActOk = 0;
inline constexpr int kActShot = 2;
inline constexpr int kActRedirect = 7;
// XDP's verdicts are told in the same terms: pass is kActOk, drop kActShot. It has one more: back out of the device.
inline constexpr int kXdpTx = 100;

// Devices of the private namespace, by index.
enum Device : std::uint32_t { kPodA = 101, kPodB = 102, kPodC = 103, kUplink = 110, kOther = 111 };

// Moves the process into a network namespace of its own with the devices above, an uplink route and
// an unreachable one. Once per process, before any thread is started.
void enter_private_network();

inline weft_addr to_abi(const IpAddress& address) {
  weft_addr result{};
  std::memcpy(&result, address.bytes().data(), sizeof result);
  return result;
}

struct RunResult {
  int verdict = 0;
  Octets packet;
};

// What the kernel's VXLAN device tells of a packet it has taken out.
struct Tunnel {
  weft_addr sender{};
  std::uint32_t vni = 0;
  bool v4 = true;
};

struct RunOptions {
  std::uint32_t ifindex = 0;
  std::uint32_t ingress_ifindex = 0;  // where the packet entered the node; to_device only
  std::optional<Tunnel> tunnel{};
  std::uint32_t mark = 0;
};

class Datapath {
 public:
  struct Sizes {
    std::uint32_t flows = 4096;
    std::uint32_t others = 0;  // endpoints, policy rows, services; 0: as the objects say
    std::uint32_t ring_bytes = 1 << 16;
    bool plain_flow_hash = false;  // a table that refuses instead of evicting
  };
  explicit Datapath(const Sizes& sizes);
  ~Datapath();
  Datapath(const Datapath&) = delete;
  Datapath& operator=(const Datapath&) = delete;
  // The one most tests share.
  static Datapath& shared();

  // Empties every table, zeroes the counters, writes a configuration with epoch 1 and events on.
  void clear();
  [[nodiscard]] weft_config& config() { return config_; }
  void write_config();
  void bump_epoch();

  RunResult run(Hook hook, const Packet& packet, const RunOptions& options);
  std::vector<weft_event> events();
  [[nodiscard]] std::array<std::uint64_t, WEFT_DROP_REASON_COUNT> drops() const;
  [[nodiscard]] std::array<std::uint64_t, WEFT_STAT_COUNT> stats() const;
  [[nodiscard]] int map(const std::string& name) const;
  [[nodiscard]] int program(const std::string& name) const;

  template <class K, class V>
  void put(const std::string& name, const K& key, const V& value) {
    put_bytes(name, &key, sizeof key, &value, sizeof value);
  }
  template <class K>
  void erase(const std::string& name, const K& key) {
    erase_bytes(name, &key);
  }
  template <class V, class K>
  [[nodiscard]] std::optional<V> get(const std::string& name, const K& key) const {
    V value{};
    if (!get_bytes(name, &key, &value)) return std::nullopt;
    return value;
  }

 private:
  struct ObjectCloser {
    void operator()(bpf_object* object) const;
  };
  struct RingCloser {
    void operator()(ring_buffer* ring) const;
  };
  using ObjectPointer = std::unique_ptr<bpf_object, ObjectCloser>;

  void put_bytes(const std::string& name, const void* key, std::size_t key_size, const void* value,
                 std::size_t value_size);
  void erase_bytes(const std::string& name, const void* key);
  bool get_bytes(const std::string& name, const void* key, void* value) const;
  ObjectPointer load(const std::string& hook, const Sizes& sizes);
  RunResult run_xdp(const Packet& packet, const RunOptions& options);
  // The program that gives a packet its tunnel's key and goes on with `program`.
  int with_tunnel(const Tunnel& tunnel, int program);
  [[nodiscard]] std::array<bpf_object*, 3> objects() const { return {pod_.get(), host_.get(), xdp_.get()}; }

  ObjectPointer pod_;
  ObjectPointer host_;
  ObjectPointer xdp_;
  ObjectPointer tunnel_key_;
  std::unique_ptr<ring_buffer, RingCloser> ring_;
  std::vector<weft_event> events_;
  weft_config config_{};
};

// What every case starts from.
weft_config default_config();

}  // namespace weft::test
