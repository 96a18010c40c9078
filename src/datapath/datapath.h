// The node's kernel state: programs, maps, attachments. The only writer of it. Everything is pinned
// below one bpffs directory, so the kernel goes on with what it has when the agent is away; open()
// takes it over again.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "bpfrt/link.h"
#include "bpfrt/map.h"
#include "datapath/rows.h"
#include "datapath/tables.h"

namespace weft::datapath {

struct Options {
  std::string pin_directory;              // created; bpffs is mounted above it if missing
  std::string cgroup;                     // cgroup v2 directory for the socket hook; empty: no socket hook
  std::uint32_t flow_entries = 65536;     // of each family
  std::uint32_t service_entries = 65536;  // frontends, and ports of Services
  std::uint32_t backend_entries = 131072;
  std::uint32_t slot_entries = 1048576;
  std::uint32_t remote_entries = 65536;  // addresses of other nodes' pods
  std::uint32_t ring_bytes = 1U << 20;   // a power of two
};

// What was found on this kernel and chosen.
struct Features {
  bpfrt::AttachMode attach = bpfrt::AttachMode::clsact;  // of uplinks; pods always use clsact
  bool socket_hook = false;
  std::string socket_hook_error;  // why not
  std::string cgroup;
  struct Xdp {
    bpfrt::XdpMode mode = bpfrt::XdpMode::off;
    std::string why_off;  // of mode off
  };
  std::map<std::uint32_t, Xdp> xdp;  // by ifindex, of the uplinks attach_xdp or leave_xdp was called for
  std::string xdp_error;             // why there is no XDP program; empty: there is, or none was asked for
  // Tables of Services that are larger than the options say, because what they hold would not fit: why, and what to do.
  std::vector<std::string> kept_sizes;
};

class Datapath {
 public:
  // Refused while another agent holds the pin directory: its maps would be taken for stale ones.
  static Result<std::unique_ptr<Datapath>> open(const Options& options);
  ~Datapath();

  [[nodiscard]] Tables& tables() const;

  // Programs on the host side of a pod's veth (they go with the device), on an uplink, on the cgroup.
  Result<void> attach_pod(std::uint32_t ifindex);
  Result<void> attach_uplink(std::uint32_t ifindex);
  // Clients' flows before the stack; without it the uplink's programs do all of it. What came of it stands in
  // features().xdp. leave_xdp takes the program off, if there is one, and says why it is not wanted.
  Result<void> attach_xdp(std::uint32_t ifindex, bpfrt::XdpMode mode);
  void leave_xdp(std::uint32_t ifindex, const std::string& why);
  // The VXLAN device, and WireGuard devices, out of which other nodes' packets come; the device whose routes lead the
  // node's own packets to what is reached by a tunnel.
  Result<void> attach_overlay(std::uint32_t ifindex);
  Result<void> attach_wireguard(std::uint32_t ifindex);
  Result<void> attach_host(std::uint32_t ifindex);
  // Whether the device still runs what attach_xdp attached; true where that is nothing.
  Result<bool> xdp_attached(std::uint32_t ifindex);
  Result<bool> pod_attached(std::uint32_t ifindex);
  Result<bool> uplink_attached(std::uint32_t ifindex);
  Result<bool> overlay_attached(std::uint32_t ifindex);
  Result<bool> wireguard_attached(std::uint32_t ifindex);
  Result<bool> host_attached(std::uint32_t ifindex);
  Result<bool> sockets_attached();
  // Programs of other instances on the uplink, each as a sentence that says where it is pinned and
  // what to do: two instances on one device undo each other's translation.
  [[nodiscard]] std::vector<std::string> strangers(std::uint32_t ifindex) const;
  Result<void> attach_sockets();
  // Removes the pins of devices not named; 0: there is no such device.
  void prune(const std::vector<std::uint32_t>& uplinks, std::uint32_t overlay = 0, std::uint32_t host = 0,
             const std::vector<std::uint32_t>& wireguard = {});

  // Until then, by the kernel's monotonic clock, it is the agent's to say what happens when another host claims an
  // address that is announced here; after that the datapath gives the address up by itself (docs/services.md).
  Result<void> watch_until(std::chrono::nanoseconds time);

  [[nodiscard]] const Features& features() const;
  // Highest policy class among the pinned rows, 0 when none.
  [[nodiscard]] std::uint32_t highest_policy_class() const;

  // Maps by name ("weft_flow4_v2"); null when unknown.
  [[nodiscard]] bpfrt::RawMap* map(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> map_names() const;

 private:
  class Impl;
  explicit Datapath(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::datapath
