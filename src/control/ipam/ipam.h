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
  std::vector<Cidr> cidrs;  // addresses are given out of the first of a family that has one
  // Where it is not the first host address of the first CIDR of a family.
  std::map<Family, IpAddress> gateways;
  std::chrono::seconds quarantine{60};
};

class Ipam {
 public:
  // The network address, the IPv4 broadcast address and the first host address (the gateway's) of each
  // CIDR are never handed out. Restored allocations outside the pool are kept until released.
  Ipam(PoolOptions options, std::vector<Allocation> restored, const std::vector<Quarantined>& quarantined);

  [[nodiscard]] std::optional<IpAddress> gateway(Family family) const;
  [[nodiscard]] std::vector<IpAddress> gateways() const;  // IPv4 before IPv6
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
  // From now on addresses are given out of these. What is held outside stays until it is released.
  void set_cidrs(std::vector<Cidr> cidrs, std::map<Family, IpAddress> gateways);
  // Whether nothing inside is held, or rests.
  [[nodiscard]] bool unused(const Cidr& cidr) const;
  // Addresses of the family that can be given out now.
  [[nodiscard]] std::uint64_t available(Family family, IpamTime now) const;
  // Addresses that can be handed out at all, saturating.
  [[nodiscard]] std::uint64_t capacity(Family family) const;
  [[nodiscard]] static std::uint64_t capacity(const Cidr& cidr);

 private:
  [[nodiscard]] std::vector<Cidr> cidrs(Family family) const;
  [[nodiscard]] const Cidr* cidr_of(const IpAddress& address) const;
  // One of each family that has any, in the order of the CIDRs.
  [[nodiscard]] std::vector<Family> families() const;
  [[nodiscard]] std::vector<IpAddress> held_by(const std::string& owner) const;
  [[nodiscard]] Result<void> check_requested(const IpAddress& address, IpamTime now) const;
  [[nodiscard]] std::optional<IpAddress> first_free(const IpAddress& from, const IpAddress& last, IpamTime now) const;
  [[nodiscard]] Result<IpAddress> next_free(Family family, IpamTime now) const;
  [[nodiscard]] Error exhausted(Family family, IpamTime now) const;
  struct Use {
    std::uint64_t capacity = 0;
    std::uint64_t held = 0;
    std::uint64_t resting = 0;
    IpamTime soonest = IpamTime::max();  // that one of those is free again
  };
  [[nodiscard]] Use use(Family family, IpamTime now) const;

  PoolOptions options_;
  std::map<IpAddress, std::string> owner_of_;
  std::multimap<std::string, IpAddress> addresses_of_;
  std::map<IpAddress, IpamTime> quarantine_;
  std::map<Family, IpAddress> cursor_;  // the last address handed out without being asked for by number
};

}  // namespace weft::control
