#include "control/ipam/ipam.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
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

std::vector<Cidr> Ipam::cidrs(Family family) const {
  std::vector<Cidr> result;
  std::ranges::copy_if(options_.cidrs, std::back_inserter(result),
                       [&](const Cidr& cidr) { return cidr.family() == family; });
  return result;
}

const Cidr* Ipam::cidr_of(const IpAddress& address) const {
  const auto found = std::ranges::find_if(options_.cidrs, [&](const Cidr& cidr) { return cidr.contains(address); });
  return found == options_.cidrs.end() ? nullptr : &*found;
}

std::vector<Family> Ipam::families() const {
  std::vector<Family> result;
  for (const auto& cidr : options_.cidrs)
    if (std::ranges::find(result, cidr.family()) == result.end()) result.push_back(cidr.family());
  return result;
}

std::optional<IpAddress> Ipam::gateway(Family family) const {
  if (const auto given = options_.gateways.find(family); given != options_.gateways.end()) return given->second;
  const auto pool = std::ranges::find(options_.cidrs, family, &Cidr::family);
  if (pool == options_.cidrs.end() || pool->size() < 2) return std::nullopt;
  return pool->address().plus(1);
}

std::vector<IpAddress> Ipam::gateways() const {
  std::vector<IpAddress> all;
  for (const auto family : {Family::v4, Family::v6})
    if (const auto known = gateway(family)) all.push_back(*known);
  return all;
}

std::uint64_t Ipam::capacity(const Cidr& cidr) { return hosts_of(cidr).count; }

std::uint64_t Ipam::capacity(Family family) const {
  std::uint64_t all = 0;
  for (const auto& cidr : cidrs(family)) {
    const auto count = hosts_of(cidr).count;
    all = count > std::numeric_limits<std::uint64_t>::max() - all ? std::numeric_limits<std::uint64_t>::max()
                                                                  : all + count;
  }
  return all;
}

void Ipam::set_cidrs(std::vector<Cidr> cidrs, std::map<Family, IpAddress> gateways) {
  options_.cidrs = std::move(cidrs);
  options_.gateways = std::move(gateways);
}

bool Ipam::unused(const Cidr& cidr) const {
  const auto none = [&](const auto& map) {
    const auto first = map.lower_bound(cidr.address());
    return first == map.end() || !cidr.contains(first->first);
  };
  return none(owner_of_) && none(quarantine_);
}

Ipam::Use Ipam::use(Family family, IpamTime now) const {
  Use use{.capacity = capacity(family)};
  const auto inside = [&](const IpAddress& address) {
    const auto* pool = cidr_of(address);
    return address.family() == family && pool != nullptr && contains(hosts_of(*pool), address);
  };
  for (const auto& [address, owner] : owner_of_)
    if (inside(address)) ++use.held;
  for (const auto& [address, until] : quarantine_) {
    if (until <= now || !inside(address)) continue;
    ++use.resting;
    use.soonest = std::min(use.soonest, until);
  }
  return use;
}

std::uint64_t Ipam::available(Family family, IpamTime now) const {
  const auto now_used = use(family, now);
  return now_used.capacity - std::min(now_used.capacity, now_used.held + now_used.resting);
}

// In the order of the pool's families; addresses of a family the pool lacks come last.
std::vector<IpAddress> Ipam::held_by(const std::string& owner) const {
  std::vector<IpAddress> held;
  const auto [begin, end] = addresses_of_.equal_range(owner);
  for (auto it = begin; it != end; ++it) held.push_back(it->second);
  const auto order = families();
  std::ranges::stable_sort(
      held, {}, [&](const IpAddress& address) { return std::ranges::find(order, address.family()) - order.begin(); });
  return held;
}

Result<void> Ipam::check_requested(const IpAddress& address, IpamTime now) const {
  const auto* pool = cidr_of(address);
  if (pool == nullptr)
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

Result<IpAddress> Ipam::next_free(Family family, IpamTime now) const {
  const auto cursor = cursor_.find(family);
  for (const auto& pool : cidrs(family)) {
    const auto range = hosts_of(pool);
    if (range.count == 0) continue;
    if (cursor != cursor_.end() && contains(range, cursor->second) && cursor->second < range.last)
      if (auto found = first_free(cursor->second.plus(1), range.last, now)) return *found;
    if (auto found = first_free(range.first, range.last, now)) return *found;
  }
  return fail(exhausted(family, now));
}

Error Ipam::exhausted(Family family, IpamTime now) const {
  const auto now_used = use(family, now);
  std::string pools;
  for (const auto& cidr : cidrs(family)) pools += (pools.empty() ? "" : ", ") + cidr.to_string();
  auto message = fmt::format("pool \"{}\" has no free address in {}: of {} addresses {} are allocated", options_.name,
                             pools, now_used.capacity, now_used.held);
  if (now_used.resting != 0)
    message += fmt::format(" and {} quarantined, the first until {}", now_used.resting, text(now_used.soonest));
  return Error{ErrorCode::exhausted, std::move(message),
               now_used.resting != 0 ? "try again then, or give the pool a larger CIDR"
                                     : "delete pods, or give the pool a larger CIDR"};
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
    for (const auto family : families()) {
      WEFT_TRY(chosen.emplace_back(), next_free(family, now));
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
