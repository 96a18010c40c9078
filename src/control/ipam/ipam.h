// Host-scope address management. Pure state machine; the caller stores what it returns and passes
// the time in, so that nothing here blocks or reads a clock.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
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

// The first pool, out of which the node's own addresses come, and what is so of all.
struct PoolOptions {
  std::string name = "default";
  std::vector<Cidr> cidrs;  // addresses are given out of the first of a family that has one
  // One address of each of these, in this order; those of `cidrs` when empty. A family without CIDRs has no address.
  std::vector<Family> families;
  // Where it is not the first host address of the first CIDR of a family.
  std::map<Family, IpAddress> gateways;
  std::chrono::seconds quarantine{60};
};

// A pool beside the first one. Its pods have the first one's gateways, and networks of one address: every address of
// its CIDRs is handed out.
struct FurtherPool {
  std::string name;
  std::vector<Cidr> cidrs;
  std::vector<Family> families;  // as of PoolOptions
  auto operator<=>(const FurtherPool&) const = default;
};

struct AddressRequest {
  std::string pool;                  // empty: the first one
  std::vector<IpAddress> addresses;  // exactly these, of whichever pools; empty: any of the pool
  bool resting = false;              // also those that are quarantined: they are the owner's by name
};

class Ipam {
 public:
  // The network address, the IPv4 broadcast address and the first host address (the gateway's) of each
  // CIDR of the first pool are never handed out. Restored allocations outside the pools are kept until released.
  Ipam(PoolOptions options, std::vector<Allocation> restored, const std::vector<Quarantined>& quarantined);

  [[nodiscard]] std::optional<IpAddress> gateway(Family family) const;
  [[nodiscard]] std::vector<IpAddress> gateways() const;  // IPv4 before IPv6
  // One address for each family of the first pool, or for each requested address exactly that one.
  // All or nothing. The same owner again gets what it has. Next free address after the last one
  // handed out, so that reuse is late; a quarantined one is never given. Exhaustion names the pool, its size,
  // and how many are quarantined and until when.
  Result<std::vector<IpAddress>> allocate(const std::string& owner, const std::vector<IpAddress>& requested,
                                          IpamTime now) {
    return give(owner, {.pool = {}, .addresses = requested}, now);
  }
  // The same of any pool.
  Result<std::vector<IpAddress>> give(const std::string& owner, const AddressRequest& request, IpamTime now);
  // The addresses the owner had, which went into quarantine, unless they are a CIDR for themselves: whoever has a block
  // of one address may give it to another node at once.
  std::vector<IpAddress> release(const std::string& owner, IpamTime now);
  // Somebody whom this knows nothing of has the address: it is not given out until then. What an owner has is its own.
  void rest(const IpAddress& address, IpamTime until);
  // Ends the quarantines that are over.
  void expire(IpamTime now);

  [[nodiscard]] std::vector<Allocation> allocations() const;
  [[nodiscard]] std::vector<Quarantined> quarantined() const;
  [[nodiscard]] const PoolOptions& options() const { return options_; }
  // From now on addresses are given out of these. What is held outside stays until it is released.
  void set_cidrs(std::vector<Cidr> cidrs, std::map<Family, IpAddress> gateways);
  // The pools beside the first one, from now on. No two pools overlap.
  void set_further(std::vector<FurtherPool> pools);
  // Whether nothing inside is held, or rests.
  [[nodiscard]] bool unused(const Cidr& cidr) const;
  // Who holds it, if anybody.
  [[nodiscard]] const std::string* holder(const IpAddress& address) const;
  // Addresses of the family that can be given out now; of the first pool, or of one by name.
  [[nodiscard]] std::uint64_t available(Family family, IpamTime now) const { return available({}, family, now); }
  [[nodiscard]] std::uint64_t available(std::string_view pool, Family family, IpamTime now) const;
  // Addresses of the first pool that can be handed out at all, saturating.
  [[nodiscard]] std::uint64_t capacity(Family family) const;
  // Each CIDR of each pool, the first pool's first.
  struct CidrUse {
    std::string pool;
    Cidr cidr;
    std::uint64_t capacity = 0;
    std::uint64_t allocated = 0;
    std::uint64_t quarantined = 0;
  };
  [[nodiscard]] std::vector<CidrUse> uses() const;

 private:
  struct Pool {
    std::string name;
    std::vector<Cidr> cidrs;
    std::vector<Family> families;
    bool reserves = false;  // the network's, the gateway's and the broadcast address are not given
    [[nodiscard]] std::vector<Cidr> of(Family family) const;
    [[nodiscard]] std::vector<Family> asked() const;  // of which each owner gets one address
    [[nodiscard]] std::string to_string() const;
  };
  struct Place {
    const Pool* pool = nullptr;
    Cidr cidr;
  };
  [[nodiscard]] const Pool* find(std::string_view name) const;
  [[nodiscard]] std::optional<Place> place_of(const IpAddress& address) const;
  [[nodiscard]] std::vector<IpAddress> held_by(const std::string& owner) const;
  [[nodiscard]] Result<void> check_requested(const IpAddress& address, bool resting, IpamTime now) const;
  [[nodiscard]] Error nowhere(const IpAddress& address) const;
  [[nodiscard]] std::optional<IpAddress> first_free(const IpAddress& from, const IpAddress& last, IpamTime now) const;
  [[nodiscard]] Result<IpAddress> next_free(const Pool& pool, Family family, IpamTime now) const;
  [[nodiscard]] Error exhausted(const Pool& pool, Family family, IpamTime now) const;
  struct Use {
    std::uint64_t capacity = 0;
    std::uint64_t held = 0;
    std::uint64_t resting = 0;
    IpamTime soonest = IpamTime::max();  // that one of those is free again
  };
  [[nodiscard]] Use use(const Pool& pool, Family family, IpamTime now) const;
  void fill_first();

  PoolOptions options_;
  std::vector<Pool> pools_;  // the first one, then the others
  std::map<IpAddress, std::string> owner_of_;
  std::multimap<std::string, IpAddress> addresses_of_;
  std::map<IpAddress, IpamTime> quarantine_;
  // The last address handed out without being asked for by number, of each pool.
  std::map<std::pair<std::string, Family>, IpAddress> cursor_;
};

}  // namespace weft::control
