#include "control/services/cluster_ips.h"

#include <fmt/format.h>

#include <algorithm>

namespace weft::control::services {
namespace {

std::string name_of(Family family) { return family == Family::v4 ? "IPv4" : "IPv6"; }

// How many addresses from the start of the range on may be used: all but the IPv4 broadcast address.
std::uint64_t usable_end(const Cidr& range) {
  return range.is_v4() && range.size() > 2 ? range.size() - 1 : range.size();
}

bool usable(const Cidr& range, const IpAddress& address) {
  return range.contains(address) && address != range.address() &&
         (!range.is_v4() || range.size() <= 2 || address != range.address().plus(range.size() - 1));
}

bool reached_otherwise(const model::Service& service) {
  using Type = model::Service::Type;
  return service.type == Type::node_port || service.type == Type::load_balancer || !service.external_ips.empty();
}

bool holds(const std::vector<Family>& families, Family family) {
  return std::ranges::find(families, family) != families.end();
}

}  // namespace

const Cidr* ClusterIps::range(Family family) const {
  const auto found = std::ranges::find(ranges_, family, &Cidr::family);
  return found == ranges_.end() ? nullptr : &*found;
}

Result<std::vector<Family>> ClusterIps::families_of(const model::Service& service) const {
  const auto where = [&] { return "service " + service.meta.key().to_string(); };
  auto families = service.families;
  for (std::size_t i = 0; i < service.cluster_ips.size(); ++i) {
    const auto family = service.cluster_ips[i].family();
    if (i >= families.size())
      families.push_back(family);
    else if (families[i] != family)
      return fail(ErrorCode::invalid, fmt::format("{}: clusterIPs[{}] is {}, but ipFamilies[{}] is {}", where(), i,
                                                  service.cluster_ips[i].to_string(), i, name_of(families[i])));
  }
  if (families.size() > 2 || (families.size() == 2 && families[0] == families[1]))
    return fail(ErrorCode::invalid, fmt::format("{}: has more than one cluster IP of a family", where()));
  for (const auto family : families)
    if (range(family) == nullptr)
      return fail(ErrorCode::invalid,
                  fmt::format("{}: wants {}, which this cluster has no Service range of", where(), name_of(family)),
                  "change ipFamilies, or configure a range of that family");

  using Policy = model::Service::FamilyPolicy;
  if (service.family_policy == Policy::single_stack && families.size() > 1)
    return fail(ErrorCode::invalid,
                fmt::format("{}: ipFamilyPolicy is SingleStack, but two families are asked for", where()),
                "set ipFamilyPolicy to PreferDualStack or RequireDualStack");
  for (const auto& known : ranges_) {
    const bool enough = service.family_policy == Policy::single_stack && !families.empty();
    if (!enough && !holds(families, known.family())) families.push_back(known.family());
  }
  if (families.empty())
    return fail(ErrorCode::invalid,
                fmt::format("{}: this cluster has no Service range to take a cluster IP from", where()),
                "configure one, or make the Service headless (clusterIP: None)");
  if (service.family_policy == Policy::require_dual_stack && families.size() < 2)
    return fail(ErrorCode::invalid,
                fmt::format("{}: ipFamilyPolicy is RequireDualStack, but this cluster has only {}", where(),
                            name_of(families[0])),
                "use PreferDualStack, or configure a range of the other family");
  return families;
}

Result<void> ClusterIps::check_requested(const Key& service, const IpAddress& address) const {
  const auto owner = owner_of_.find(address);
  if (owner != owner_of_.end() && !(owner->second == service))
    return fail(ErrorCode::exists, fmt::format("service {}: cluster IP {} belongs to service {}", service.to_string(),
                                               address.to_string(), owner->second.to_string()));
  const auto& known = *range(address.family());
  if (owner == owner_of_.end() && !usable(known, address))
    return fail(
        ErrorCode::invalid,
        fmt::format("service {}: cluster IP {} is {} {}", service.to_string(), address.to_string(),
                    known.contains(address) ? "reserved in the range" : "outside the range", known.to_string()));
  return {};
}

Result<IpAddress> ClusterIps::next_free(const Cidr& known, const Key& service) const {
  const auto first = known.address().plus(2);
  const auto end = usable_end(known);
  const auto count = end > 2 ? end - 2 : 0;
  auto candidate = first;
  if (const auto cursor = cursor_.find(known.family()); cursor != cursor_.end() && cursor->second >= first)
    candidate = cursor->second.plus(1);
  for (std::uint64_t tried = 0; tried < count; ++tried) {
    if (!usable(known, candidate)) candidate = first;  // past the end
    if (!owner_of_.contains(candidate) && !spoken_for_.contains(candidate)) return candidate;
    candidate = candidate.plus(1);
  }
  return fail(ErrorCode::exhausted,
              fmt::format("service {}: no cluster IP is free in {}: all {} are taken", service.to_string(),
                          known.to_string(), count),
              "delete Services, or configure a larger range");
}

Result<std::vector<IpAddress>> ClusterIps::choose(const model::Service& service, const Key& key,
                                                  const std::vector<IpAddress>& held) const {
  if (ranges_.empty() && reached_otherwise(service)) return std::vector<IpAddress>();
  WEFT_TRY(const auto families, families_of(service));
  std::vector<IpAddress> chosen;
  for (const auto family : families) {
    const auto requested = std::ranges::find(service.cluster_ips, family, &IpAddress::family);
    const auto present = std::ranges::find(held, family, &IpAddress::family);
    if (requested != service.cluster_ips.end()) {
      WEFT_CHECK(check_requested(key, *requested));
      chosen.push_back(*requested);
    } else if (present != held.end()) {
      chosen.push_back(*present);
    } else {
      WEFT_TRY(const auto address, next_free(*range(family), key));
      chosen.push_back(address);
    }
  }
  return chosen;
}

void ClusterIps::claim(const Key& service, const std::vector<IpAddress>& addresses) {
  for (const auto& address : addresses) {
    owner_of_.insert_or_assign(address, service);
    const auto* known = range(address.family());
    if (known != nullptr && usable(*known, address)) cursor_[address.family()] = address;
  }
}

void ClusterIps::release(const Key& service, const std::vector<IpAddress>& addresses) {
  for (const auto& address : addresses) {
    const auto owner = owner_of_.find(address);
    if (owner != owner_of_.end() && owner->second == service) owner_of_.erase(owner);
  }
}

}  // namespace weft::control::services
