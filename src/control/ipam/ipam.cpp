#include "control/ipam/ipam.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace weft::control {
namespace {

IpAddress last_address(const Cidr& cidr) {
  auto bytes = cidr.address().bytes();
  for (unsigned bit = cidr.mapped_length(); bit < 128; ++bit)
    bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] | 0x80U >> (bit % 8));
  return IpAddress(bytes);
}

// The addresses of a CIDR that are handed out: after the network address and the gateway, and for
// IPv4 before the broadcast address. Empty for the smallest CIDRs.
struct HostRange {
  IpAddress first;
  IpAddress last;
  std::uint64_t count = 0;
};

HostRange hosts_of(const Cidr& cidr) {
  const std::uint64_t reserved = cidr.is_v4() ? 3 : 2;
  if (cidr.size() <= reserved) return {};
  HostRange range;
  range.first = cidr.address().plus(2);
  range.last = last_address(cidr);

  if (cidr.is_v4()) range.last = IpAddress::v4(range.last.to_v4() - 1);
  const bool saturated = cidr.size() == std::uint64_t{1} << 63;
  range.count = saturated ? cidr.size() : cidr.size() - reserved;
  return range;
}

bool contains(const HostRange& range, const IpAddress& address) {
  return range.count != 0 && range.first <= address && address <= range.last;
}

std::string text(IpamTime time) { return fmt::format("{:%FT%TZ}", time); }

std::string describe(const PoolOptions& options) {
  std::string cidrs;
  for (const auto& cidr : options.cidrs) cidrs += (cidrs.empty() ? "" : ", ") + cidr.to_string();
  return fmt::format("pool \"{}\" ({})", options.name, cidrs);
}

std::string join(const std::vector<IpAddress>& addresses) {
  std::string result;
  for (const auto& address : addresses) result += (result.empty() ? "" : ", ") + address.to_string();
  return result;
}

}  // namespace

Ipam::Ipam(PoolOptions options, std::vector<Allocation> restored, const std::vector<Quarantined>& quarantined)
    : options_(std::move(options)) {
  for (auto& [address, owner] : restored)
    if (owner_of_.try_emplace(address, owner).second) addresses_of_.emplace(std::move(owner), address);
  for (const auto& [address, until] : quarantined)
    if (!owner_of_.contains(address)) quarantine_[address] = until;
  // Where the cursor stood is not kept. The highest address in use is the best guess, and the
  // quarantine guards what was released last.
  for (const auto& pool : options_.cidrs) {
    const auto range = hosts_of(pool);
    const auto note = [&](const IpAddress& address) {
      if (contains(range, address)) cursor_[pool.family()] = std::max(cursor_[pool.family()], address);
    };
    for (const auto& [address, owner] : owner_of_) note(address);
    for (const auto& [address, until] : quarantine_) note(address);
  }
}

const Cidr* Ipam::cidr(Family family) const {
  const auto found = std::ranges::find(options_.cidrs, family, &Cidr::family);
  return found == options_.cidrs.end() ? nullptr : &*found;
}

std::optional<IpAddress> Ipam::gateway(Family family) const {
  const auto* pool = cidr(family);
  if (pool == nullptr || pool->size() < 2) return std::nullopt;
  return pool->address().plus(1);
}

std::uint64_t Ipam::capacity(Family family) const {
  const auto* pool = cidr(family);
  return pool == nullptr ? 0 : hosts_of(*pool).count;
}

// In the order of the pool's families; addresses of a family the pool lacks come last.
std::vector<IpAddress> Ipam::held_by(const std::string& owner) const {
  std::vector<IpAddress> held;
  const auto [begin, end] = addresses_of_.equal_range(owner);
  for (auto it = begin; it != end; ++it) held.push_back(it->second);
  std::ranges::stable_sort(held, {}, [&](const IpAddress& address) {
    return std::ranges::find(options_.cidrs, address.family(), &Cidr::family) - options_.cidrs.begin();
  });
  return held;
}

Result<void> Ipam::check_requested(const IpAddress& address, IpamTime now) const {
  const auto* pool = cidr(address.family());
  if (pool == nullptr || !pool->contains(address))
    return fail(ErrorCode::invalid, fmt::format("{} is outside {}", address.to_string(), describe(options_)),
                "ask for an address of the pool, or none");
  if (address == gateway(address.family()))
    return fail(ErrorCode::invalid, fmt::format("{} is the gateway of {}", address.to_string(), describe(options_)));
  if (!contains(hosts_of(*pool), address))
    return fail(ErrorCode::invalid,
                fmt::format("{} is the {} address of {}", address.to_string(),
                            address == pool->address() ? "network" : "broadcast", describe(options_)));
  if (const auto taken = owner_of_.find(address); taken != owner_of_.end())
    return fail(ErrorCode::exists, fmt::format("{} is taken by {}", address.to_string(), taken->second));
  if (const auto rests = quarantine_.find(address); rests != quarantine_.end() && rests->second > now)
    return fail(ErrorCode::unavailable,
                fmt::format("{} was released and is quarantined until {}", address.to_string(), text(rests->second)),
                "try again then");
  return {};
}

std::optional<IpAddress> Ipam::first_free(const IpAddress& from, const IpAddress& last, IpamTime now) const {
  // Walks beside the two sorted maps, so that a full pool costs a step for each address, not a search.
  auto taken = owner_of_.lower_bound(from);
  auto rests = quarantine_.lower_bound(from);
  for (auto candidate = from; candidate <= last; candidate = candidate.plus(1)) {
    const bool is_taken = taken != owner_of_.end() && taken->first == candidate;
    const bool in_quarantine = rests != quarantine_.end() && rests->first == candidate;
    if (!is_taken && !(in_quarantine && rests->second > now)) return candidate;
    if (is_taken) ++taken;
    if (in_quarantine) ++rests;
    if (candidate == last) break;  // the last address of all has no successor
  }
  return std::nullopt;
}

Result<IpAddress> Ipam::next_free(const Cidr& pool, IpamTime now) const {
  const auto range = hosts_of(pool);
  if (range.count == 0) return fail(exhausted(pool, now));
  const auto cursor = cursor_.find(pool.family());
  if (cursor != cursor_.end() && cursor->second < range.last)
    if (auto found = first_free(cursor->second.plus(1), range.last, now)) return *found;
  if (auto found = first_free(range.first, range.last, now)) return *found;
  return fail(exhausted(pool, now));
}

Error Ipam::exhausted(const Cidr& pool, IpamTime now) const {
  const auto range = hosts_of(pool);
  const auto allocated =
      std::ranges::count_if(owner_of_, [&](const auto& entry) { return contains(range, entry.first); });
  std::size_t resting = 0;
  IpamTime soonest = IpamTime::max();
  for (const auto& [address, until] : quarantine_) {
    if (!contains(range, address) || until <= now) continue;
    ++resting;
    soonest = std::min(soonest, until);
  }
  auto message = fmt::format("pool \"{}\" has no free address in {}: of {} addresses {} are allocated", options_.name,
                             pool.to_string(), range.count, allocated);
  if (resting != 0) message += fmt::format(" and {} quarantined, the first until {}", resting, text(soonest));
  return Error{
      ErrorCode::exhausted, std::move(message),
      resting != 0 ? "try again then, or give the pool a larger CIDR" : "delete pods, or give the pool a larger CIDR"};
}

Result<std::vector<IpAddress>> Ipam::allocate(const std::string& owner, const std::vector<IpAddress>& requested,
                                              IpamTime now) {
  if (auto held = held_by(owner); !held.empty()) {
    if (requested.empty() || std::set(requested.begin(), requested.end()) == std::set(held.begin(), held.end()))
      return requested.empty() ? held : requested;
    return fail(ErrorCode::exists,
                fmt::format("{} holds {} already, so it cannot be given {}", owner, join(held), join(requested)));
  }
  std::vector<IpAddress> chosen;
  for (const auto& address : requested) {
    if (std::ranges::find(chosen, address) != chosen.end())
      return fail(ErrorCode::invalid, fmt::format("{} is asked for twice", address.to_string()));
    WEFT_CHECK(check_requested(address, now));
    chosen.push_back(address);
  }
  if (requested.empty()) {
    for (const auto& pool : options_.cidrs) {
      WEFT_TRY(chosen.emplace_back(), next_free(pool, now));
    }
    if (chosen.empty())
      return fail(ErrorCode::exhausted, fmt::format("pool \"{}\" has no CIDR", options_.name), "configure one");
    for (const auto& address : chosen) cursor_[address.family()] = address;
  }
  for (const auto& address : chosen) {
    quarantine_.erase(address);
    owner_of_.emplace(address, owner);
    addresses_of_.emplace(owner, address);
  }
  return chosen;
}

std::vector<IpAddress> Ipam::release(const std::string& owner, IpamTime now) {
  auto released = held_by(owner);
  for (const auto& address : released) {
    owner_of_.erase(address);
    quarantine_[address] = now + options_.quarantine;
  }
  addresses_of_.erase(owner);
  return released;
}

void Ipam::expire(IpamTime now) {
  std::erase_if(quarantine_, [&](const auto& entry) { return entry.second <= now; });
}

std::vector<Allocation> Ipam::allocations() const {
  std::vector<Allocation> result;
  result.reserve(owner_of_.size());
  for (const auto& [address, owner] : owner_of_) result.push_back({address, owner});
  return result;
}

std::vector<Quarantined> Ipam::quarantined() const {
  std::vector<Quarantined> result;
  result.reserve(quarantine_.size());
  for (const auto& [address, until] : quarantine_) result.push_back({address, until});
  return result;
}

}  // namespace weft::control
