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

// The addresses of a CIDR that are handed out. Where some are reserved: after the network address and the gateway, and
// for IPv4 before the broadcast address. Empty for the smallest CIDRs then.
struct HostRange {
  IpAddress first;
  IpAddress last;
  std::uint64_t count = 0;
};

HostRange hosts_of(const Cidr& cidr, bool reserves) {
  if (!reserves) return {cidr.address(), last_address(cidr), cidr.size()};
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

std::string join(const auto& parts) {
  std::string result;
  for (const auto& part : parts) result += (result.empty() ? "" : ", ") + part.to_string();
  return result;
}

bool is_single(const Cidr& cidr) { return cidr.mapped_length() == 128; }

}  // namespace

std::vector<Cidr> Ipam::Pool::of(Family family) const {
  std::vector<Cidr> result;
  std::ranges::copy_if(cidrs, std::back_inserter(result), [&](const Cidr& cidr) { return cidr.family() == family; });
  return result;
}

std::vector<Family> Ipam::Pool::asked() const {
  if (!families.empty()) return families;
  std::vector<Family> result;
  for (const auto& cidr : cidrs)
    if (std::ranges::find(result, cidr.family()) == result.end()) result.push_back(cidr.family());
  return result;
}

std::string Ipam::Pool::to_string() const {
  return fmt::format("pool \"{}\" ({})", name, cidrs.empty() ? "no CIDR here" : join(cidrs));
}

Ipam::Ipam(PoolOptions options, std::vector<Allocation> restored, const std::vector<Quarantined>& quarantined)
    : options_(std::move(options)), pools_(1) {
  fill_first();
  for (auto& [address, owner] : restored)
    if (owner_of_.try_emplace(address, owner).second) addresses_of_.emplace(std::move(owner), address);
  for (const auto& [address, until] : quarantined)
    if (!owner_of_.contains(address)) quarantine_[address] = until;
  // Where the cursor stood is not kept. The highest address in use is the best guess, and the
  // quarantine guards what was released last.
  for (const auto& cidr : options_.cidrs) {
    const auto range = hosts_of(cidr, true);
    const auto note = [&](const IpAddress& address) {
      if (!contains(range, address)) return;
      auto& cursor = cursor_[{options_.name, cidr.family()}];
      cursor = std::max(cursor, address);
    };
    for (const auto& [address, owner] : owner_of_) note(address);
    for (const auto& [address, until] : quarantine_) note(address);
  }
}

void Ipam::fill_first() {
  pools_.front() = {.name = options_.name, .cidrs = options_.cidrs, .families = options_.families, .reserves = true};
}

const Ipam::Pool* Ipam::find(std::string_view name) const {
  if (name.empty()) return &pools_.front();
  const auto found = std::ranges::find(pools_, name, &Pool::name);
  return found == pools_.end() ? nullptr : &*found;
}

std::optional<Ipam::Place> Ipam::place_of(const IpAddress& address) const {
  for (const auto& pool : pools_)
    for (const auto& cidr : pool.cidrs)
      if (cidr.contains(address)) return Place{&pool, cidr};
  return std::nullopt;
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

std::uint64_t Ipam::capacity(Family family) const { return use(pools_.front(), family, IpamTime::max()).capacity; }

void Ipam::set_cidrs(std::vector<Cidr> cidrs, std::map<Family, IpAddress> gateways) {
  options_.cidrs = std::move(cidrs);
  options_.gateways = std::move(gateways);
  fill_first();
}

void Ipam::set_further(std::vector<FurtherPool> pools) {
  pools_.resize(1);
  for (auto& pool : pools)
    pools_.push_back(
        {.name = std::move(pool.name), .cidrs = std::move(pool.cidrs), .families = std::move(pool.families)});
}

bool Ipam::unused(const Cidr& cidr) const {
  const auto none = [&](const auto& map) {
    const auto first = map.lower_bound(cidr.address());
    return first == map.end() || !cidr.contains(first->first);
  };
  return none(owner_of_) && none(quarantine_);
}

const std::string* Ipam::holder(const IpAddress& address) const {
  const auto found = owner_of_.find(address);
  return found == owner_of_.end() ? nullptr : &found->second;
}

Ipam::Use Ipam::use(const Pool& pool, Family family, IpamTime now) const {
  Use use;
  for (const auto& cidr : pool.of(family)) {
    const auto range = hosts_of(cidr, pool.reserves);
    use.capacity = range.count > std::numeric_limits<std::uint64_t>::max() - use.capacity
                       ? std::numeric_limits<std::uint64_t>::max()
                       : use.capacity + range.count;
    if (range.count == 0) continue;
    for (auto at = owner_of_.lower_bound(range.first); at != owner_of_.end() && at->first <= range.last; ++at)
      ++use.held;
    for (auto at = quarantine_.lower_bound(range.first); at != quarantine_.end() && at->first <= range.last; ++at) {
      if (at->second <= now) continue;
      ++use.resting;
      use.soonest = std::min(use.soonest, at->second);
    }
  }
  return use;
}

std::uint64_t Ipam::available(std::string_view name, Family family, IpamTime now) const {
  const auto* pool = find(name);
  if (pool == nullptr) return 0;
  const auto now_used = use(*pool, family, now);
  return now_used.capacity - std::min(now_used.capacity, now_used.held + now_used.resting);
}

std::vector<Ipam::CidrUse> Ipam::uses() const {
  const auto inside = [](const auto& map, const Cidr& cidr) {
    std::uint64_t count = 0;
    for (auto at = map.lower_bound(cidr.address()); at != map.end() && cidr.contains(at->first); ++at) ++count;
    return count;
  };
  std::vector<CidrUse> uses;
  for (const auto& pool : pools_)
    for (const auto& cidr : pool.cidrs)
      uses.push_back(
          {pool.name, cidr, hosts_of(cidr, pool.reserves).count, inside(owner_of_, cidr), inside(quarantine_, cidr)});
  return uses;
}

// In the order of the first pool's families; addresses of a family it lacks come last.
std::vector<IpAddress> Ipam::held_by(const std::string& owner) const {
  std::vector<IpAddress> held;
  const auto [begin, end] = addresses_of_.equal_range(owner);
  for (auto it = begin; it != end; ++it) held.push_back(it->second);
  const auto order = pools_.front().asked();
  std::ranges::stable_sort(
      held, {}, [&](const IpAddress& address) { return std::ranges::find(order, address.family()) - order.begin(); });
  return held;
}

Error Ipam::nowhere(const IpAddress& address) const {
  if (pools_.size() == 1)
    return {ErrorCode::invalid, fmt::format("{} is outside {}", address.to_string(), pools_.front().to_string()),
            "ask for an address of the pool, or none"};
  return {ErrorCode::invalid, fmt::format("{} is in no pool: there are {}", address.to_string(), join(pools_)),
          "ask for an address of one of them, or none"};
}

Result<void> Ipam::check_requested(const IpAddress& address, bool resting, IpamTime now) const {
  if (address == gateway(address.family()))
    return fail(ErrorCode::invalid,
                fmt::format("{} is the gateway of {}", address.to_string(), pools_.front().to_string()));
  const auto place = place_of(address);
  if (!place) return fail(nowhere(address));
  if (!contains(hosts_of(place->cidr, place->pool->reserves), address))
    return fail(ErrorCode::invalid,
                fmt::format("{} is the {} address of {}", address.to_string(),
                            address == place->cidr.address() ? "network" : "broadcast", place->pool->to_string()));
  if (const auto taken = owner_of_.find(address); taken != owner_of_.end())
    return fail(ErrorCode::exists, fmt::format("{} is taken by {}", address.to_string(), taken->second));
  if (const auto rests = quarantine_.find(address); !resting && rests != quarantine_.end() && rests->second > now)
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

Result<IpAddress> Ipam::next_free(const Pool& pool, Family family, IpamTime now) const {
  const auto cursor = cursor_.find({pool.name, family});
  for (const auto& cidr : pool.of(family)) {
    const auto range = hosts_of(cidr, pool.reserves);
    if (range.count == 0) continue;
    if (cursor != cursor_.end() && contains(range, cursor->second) && cursor->second < range.last)
      if (auto found = first_free(cursor->second.plus(1), range.last, now)) return *found;
    if (auto found = first_free(range.first, range.last, now)) return *found;
  }
  return fail(exhausted(pool, family, now));
}

Error Ipam::exhausted(const Pool& pool, Family family, IpamTime now) const {
  const auto now_used = use(pool, family, now);
  const auto cidrs = pool.of(family);
  if (cidrs.empty() && !pool.families.empty())
    return {
        ErrorCode::exhausted,
        fmt::format("pool \"{}\" has no {} addresses on this node", pool.name, family == Family::v4 ? "IPv4" : "IPv6"),
        "weft status tells what keeps the node from taking a block of it"};
  auto message = fmt::format("pool \"{}\" has no free address in {}: of {} addresses {} are allocated", pool.name,
                             join(cidrs), now_used.capacity, now_used.held);
  if (now_used.resting != 0)
    message += fmt::format(" and {} quarantined, the first until {}", now_used.resting, text(now_used.soonest));
  // The first pool is the configuration's, and a cluster's cannot be changed; the others are objects.
  const auto more = pool.name == options_.name
                        ? std::string("give some of them a PodAddressPool of their own")
                        : fmt::format("weft apply the PodAddressPool {} with one more CIDR in spec.cidrs", pool.name);
  return Error{ErrorCode::exhausted, std::move(message),
               fmt::format("{}, or {}", now_used.resting != 0 ? "try again then" : "delete pods", more)};
}

Result<std::vector<IpAddress>> Ipam::give(const std::string& owner, const AddressRequest& request, IpamTime now) {
  const auto& requested = request.addresses;
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
    WEFT_CHECK(check_requested(address, request.resting, now));
    chosen.push_back(address);
  }
  if (requested.empty()) {
    const auto* pool = find(request.pool);
    if (pool == nullptr)
      return fail(ErrorCode::not_found,
                  fmt::format("there is no pool \"{}\": there are {}", request.pool, join(pools_)));
    for (const auto family : pool->asked()) {
      WEFT_TRY(chosen.emplace_back(), next_free(*pool, family, now));
    }
    if (chosen.empty())
      return fail(ErrorCode::exhausted, fmt::format("pool \"{}\" has no CIDR", pool->name), "configure one");
    for (const auto& address : chosen) cursor_[{pool->name, address.family()}] = address;
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
    if (const auto place = place_of(address); !place || !is_single(place->cidr))
      quarantine_[address] = now + options_.quarantine;
  }
  addresses_of_.erase(owner);
  return released;
}

void Ipam::rest(const IpAddress& address, IpamTime until) {
  if (owner_of_.contains(address) || !place_of(address)) return;
  auto& rests_until = quarantine_[address];
  rests_until = std::max(rests_until, until);
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
