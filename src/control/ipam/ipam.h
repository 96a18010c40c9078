// Host-scope address management. Pure state machine; the caller stores what it returns and passes
// the time in, so that nothing here blocks or reads a clock.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace weft::control {

using IpamTime = std::chrono::sys_seconds;

struct Allocation {
  IpAddress address;
  std::string owner;  // "<container id>/<ifname>" or "reserved:gateway"
  auto operator<=>(const Allocation&) const = default;
};

struct Quarantined {
  IpAddress address;
  IpamTime until;
};

struct PoolOptions {
  std::string name = "default";
  std::vector<Cidr> cidrs;  // at most one of each family
  std::chrono::seconds quarantine{60};
};

class Ipam {
 public:
  // The network address, the IPv4 broadcast address and the gateway (first host address of each
  // CIDR) are never handed out. Restored allocations outside the pool are kept until released.
  Ipam(PoolOptions options, std::vector<Allocation> restored, const std::vector<Quarantined>& quarantined);

  [[nodiscard]] std::optional<IpAddress> gateway(Family family) const;
  // One address for each family of the pool, or for each requested address exactly that one.
  // All or nothing. The same owner again gets what it has. Next free address after the last one
  // handed out, so that reuse is late; a quarantined one is never given. Exhaustion names the pool, its size,
  // and how many are quarantined and until when.
  Result<std::vector<IpAddress>> allocate(const std::string& owner, const std::vector<IpAddress>& requested,
                                          IpamTime now);
  // The addresses that went into quarantine; empty when the owner had none.
  std::vector<IpAddress> release(const std::string& owner, IpamTime now);
  // Ends the quarantines that are over.
  void expire(IpamTime now);

  [[nodiscard]] std::vector<Allocation> allocations() const;
  [[nodiscard]] std::vector<Quarantined> quarantined() const;
  [[nodiscard]] const PoolOptions& options() const { return options_; }
  // Addresses that can be handed out at all, saturating.
  [[nodiscard]] std::uint64_t capacity(Family family) const;

 private:
  [[nodiscard]] const Cidr* cidr(Family family) const;
  [[nodiscard]] std::vector<IpAddress> held_by(const std::string& owner) const;
  [[nodiscard]] Result<void> check_requested(const IpAddress& address, IpamTime now) const;
  [[nodiscard]] std::optional<IpAddress> first_free(const IpAddress& from, const IpAddress& last, IpamTime now) const;
  [[nodiscard]] Result<IpAddress> next_free(const Cidr& cidr, IpamTime now) const;
  [[nodiscard]] Error exhausted(const Cidr& cidr, IpamTime now) const;

  PoolOptions options_;
  std::map<IpAddress, std::string> owner_of_;
  std::multimap<std::string, IpAddress> addresses_of_;
  std::map<IpAddress, IpamTime> quarantine_;
  std::map<Family, IpAddress> cursor_;  // the last address handed out without being asked for by number
};

}  // namespace weft::control
