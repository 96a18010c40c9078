// The ports that packets from others are translated to, kept from the node's own sockets.
#pragma once

#include <string>
#include <string_view>

#include "config/agent/config.h"

namespace weft::agent {

inline constexpr const char* reserved_ports_sysctl = "net/ipv4/ip_local_reserved_ports";

// Lists of ports as that sysctl writes them ("1024,45056-65535"): all of both, what `list` has beside `taken`.
// What is no such list counts as empty.
std::string ports_with(std::string_view list, std::string_view more);
std::string ports_without(std::string_view list, std::string_view taken);

// Whether a socket of a table of /proc/net (tcp, tcp6) has a local port in this range.
bool has_local_port(std::string_view table, std::uint16_t first, std::uint16_t last);

class SourcePorts {
 public:
  explicit SourcePorts(const Config& config) : config_(config) {}
  // Asks the kernel, in the calling thread's network namespace, to give these ports to no socket that leaves the
  // choice to it; others that are kept so stay. What had one before keeps it.
  Result<void> reserve();
  // Reserves them again, should somebody have written others; looks for TCP sockets that have one of lb_port_* until
  // there is none. True when exclusive() changed.
  bool refresh();
  // The node's TCP sockets have none of lb_port_* and get none but by asking for it: WEFT_CONFIG_LB_PORTS_RESERVED.
  [[nodiscard]] bool exclusive() const { return reserved_ && unused_; }

 private:
  [[nodiscard]] bool lb_ports_unused() const;

  const Config& config_;
  bool reserved_ = false;
  bool unused_ = false;
};

}  // namespace weft::agent
