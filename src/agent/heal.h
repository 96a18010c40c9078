// Comes back to the kernel every second and puts right what somebody else undid there: programs
// taken off, routes, addresses and sysctls changed. What cannot be put right is a fault: it degrades
// the node's health until it is gone.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "agent/attachment.h"
#include "agent/faults.h"
#include "agent/node.h"
#include "agent/node_routes.h"
#include "agent/overlay.h"
#include "agent/uplinks.h"
#include "config/agent/config.h"
#include "control/ipam/ipam.h"
#include "datapath/datapath.h"
#include "sys/netlink.h"

namespace weft::agent {

class Encryption;

class Healer {
 public:
  struct Parts {
    sys::Netlink& netlink;
    datapath::Datapath& datapath;
    Attachment& attachment;
    Uplinks& uplinks;
    const control::Ipam& ipam;
    const Config& config;
    Faults& faults;
    Overlay* overlay = nullptr;  // of a node of a cluster
    Encryption* encryption = nullptr;
    NodeRoutes* node_routes = nullptr;
  };
  explicit Healer(const Parts& parts);

  // Devices, addresses or routes have changed: the next check looks at all of them.
  void changed() { changed_ = true; }
  void check(const Node& node);
  // The last repairs, each with its time.
  [[nodiscard]] const std::deque<std::string>& repairs() const { return repairs_; }

  // For who mends beside it.
  void repaired(const std::string& what);

 private:
  void check_node();
  void check_pods();
  void check_sockets();
  void check_orphans();
  void check_store_file();

  Parts parts_;
  std::deque<std::string> repairs_;
  std::uint64_t round_ = 0;
  bool changed_ = true;
  ino_t store_inode_ = 0;
};

// What is wrong with the host device, its addresses or forwarding; empty when nothing is.
std::string node_fault(sys::Netlink& netlink, const std::vector<IpAddress>& gateways);
// Devices that look like pods' and belong to no record, with the addresses routed to them.
Result<std::vector<std::string>> orphan_devices(sys::Netlink& netlink, const Attachment& attachment);

}  // namespace weft::agent
