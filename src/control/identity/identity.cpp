#include "control/identity/identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "abi/endpoint.h"

namespace weft::control {
namespace {

constexpr std::string_view pod_source = "k8s:";
constexpr std::string_view shadowed_source = "k8s.pod:";
constexpr std::string_view container_source = "container:";
constexpr std::string_view namespace_key = "io.kubernetes.pod.namespace";
constexpr std::string_view named_ports_key = "io.weft.named-ports";

std::string prefixed(std::string_view source, std::string_view key) { return fmt::format("{}{}", source, key); }

bool is_weft_key(std::string_view key) { return key == namespace_key || key == named_ports_key; }

std::string named_ports_text(const std::vector<model::ContainerPort>& ports) {
  std::vector<std::string> texts;
  for (const auto& port : ports)
    if (!port.name.empty()) texts.push_back(fmt::format("{}={}/{}", port.name, port.port, to_string(port.protocol)));
  std::ranges::sort(texts);
  texts.erase(std::ranges::unique(texts).begin(), texts.end());
  return fmt::format("{}", fmt::join(texts, ","));
}

}  // namespace

LabelMap identity_labels(const std::string& namespace_, const LabelMap& pod_labels) {
  LabelMap labels;
  for (const auto& [key, value] : pod_labels)
    labels.emplace(prefixed(is_weft_key(key) ? shadowed_source : pod_source, key), value);
  labels.emplace(prefixed(pod_source, namespace_key), namespace_);
  return labels;
}

LabelMap identity_labels(const std::string& namespace_, const LabelMap& pod_labels,
                         const std::vector<model::ContainerPort>& ports) {
  auto labels = identity_labels(namespace_, pod_labels);
  if (auto text = named_ports_text(ports); !text.empty())
    labels.emplace(prefixed(pod_source, named_ports_key), std::move(text));
  return labels;
}

LabelMap container_identity_labels(const LabelMap& labels) {
  LabelMap result;
  for (const auto& [key, value] : labels) result.emplace(prefixed(container_source, key), value);
  return result;
}

std::string namespace_of(const LabelMap& identity_labels) {
  const auto found = identity_labels.find(prefixed(pod_source, namespace_key));
  return found == identity_labels.end() ? std::string{} : found->second;
}

LabelMap pod_labels_of(const LabelMap& identity_labels) {
  LabelMap labels;
  for (const auto& [key, value] : identity_labels) {
    const std::string_view text = key;
    if (text.starts_with(shadowed_source))
      labels.emplace(text.substr(shadowed_source.size()), value);
    else if (text.starts_with(pod_source) && !is_weft_key(text.substr(pod_source.size())))
      labels.emplace(text.substr(pod_source.size()), value);
  }
  return labels;
}

std::vector<model::ContainerPort> named_ports_of(const LabelMap& identity_labels) {
  std::vector<model::ContainerPort> ports;
  const auto found = identity_labels.find(prefixed(pod_source, named_ports_key));
  if (found == identity_labels.end()) return ports;
  std::string_view rest = found->second;
  while (!rest.empty()) {
    const auto entry = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
    const auto equals = entry.rfind('=');
    if (equals == std::string_view::npos) continue;
    const auto target = PortProtocol::parse(entry.substr(equals + 1));
    if (!target || equals == 0) continue;
    model::ContainerPort port;
    port.name = entry.substr(0, equals);
    port.port = target->port;
    port.protocol = target->protocol;
    ports.push_back(std::move(port));
  }
  return ports;
}

const std::vector<Identity>& reserved_identities() {
  static const std::vector<Identity> identities{
      {WEFT_IDENTITY_HOST, {{"reserved:host", ""}}},
      {WEFT_IDENTITY_WORLD, {{"reserved:world", ""}}},
      {WEFT_IDENTITY_UNMANAGED, {{"reserved:unmanaged", ""}}},
      {WEFT_IDENTITY_INIT, {{"reserved:init", ""}}},
      {WEFT_IDENTITY_REMOTE_NODE, {{"reserved:remote-node", ""}}},
  };
  return identities;
}

IdentityAllocator::IdentityAllocator(std::vector<Identity> restored) : next_(WEFT_IDENTITY_FIRST) {
  for (auto& identity : restored) {
    if (identity.id < WEFT_IDENTITY_FIRST || identity.id > WEFT_IDENTITY_LAST || by_id_.contains(identity.id)) continue;
    if (!by_labels_.try_emplace(identity.labels, identity.id).second) continue;
    next_ = std::max(next_, identity.id + 1);
    const auto id = identity.id;
    by_id_.emplace(id, std::move(identity));
  }
}

Result<IdentityId> IdentityAllocator::allocate() {
  if (next_ <= WEFT_IDENTITY_LAST) return next_++;
  if (collected_.empty() && !std::exchange(gaps_listed_, true))
    for (IdentityId id = WEFT_IDENTITY_FIRST; id <= WEFT_IDENTITY_LAST; ++id)
      if (!by_id_.contains(id)) collected_.push_back(id);
  if (!collected_.empty()) {
    const auto id = collected_.front();
    collected_.pop_front();
    return id;
  }
  return fail(ErrorCode::exhausted,
              fmt::format("all identity numbers from {} to {} are in use", +WEFT_IDENTITY_FIRST, +WEFT_IDENTITY_LAST),
              "give pods fewer distinct label sets: leave labels unique to a pod out");
}

Result<IdentityId> IdentityAllocator::acquire(const LabelMap& labels) {
  for (const auto& identity : reserved_identities())
    if (identity.labels == labels) return identity.id;
  if (const auto known = by_labels_.find(labels); known != by_labels_.end()) {
    ++references_[known->second];
    return known->second;
  }
  WEFT_TRY(const IdentityId id, allocate());
  by_id_.emplace(id, Identity{id, labels});
  by_labels_.emplace(labels, id);
  references_[id] = 1;
  return id;
}

void IdentityAllocator::learn(IdentityId id, const LabelMap& labels) {
  if (id < WEFT_IDENTITY_FIRST || id > WEFT_IDENTITY_LAST || labels.empty()) return;
  const auto& reserved = reserved_identities();
  if (std::ranges::find(reserved, labels, &Identity::labels) != reserved.end()) return;
  const auto known = by_id_.find(id);
  if (known == by_id_.end() || known->second.labels != labels) {
    forget(id);
    by_id_.emplace(id, Identity{id, labels});
  }
  by_labels_.insert_or_assign(labels, id);
}

void IdentityAllocator::forget(IdentityId id) {
  const auto known = by_id_.find(id);
  if (known == by_id_.end()) return;
  const auto labels = std::move(known->second.labels);
  references_.erase(id);
  by_id_.erase(known);
  const auto number = by_labels_.find(labels);
  if (number == by_labels_.end() || number->second != id) return;
  by_labels_.erase(number);
  const auto other =
      std::ranges::find(by_id_, labels, [](const auto& entry) -> const LabelMap& { return entry.second.labels; });
  if (other != by_id_.end()) by_labels_.emplace(labels, other->first);
}

std::optional<IdentityId> IdentityAllocator::number_of(const LabelMap& labels) const {
  const auto& reserved = reserved_identities();
  if (const auto found = std::ranges::find(reserved, labels, &Identity::labels); found != reserved.end())
    return found->id;
  const auto known = by_labels_.find(labels);
  return known == by_labels_.end() ? std::nullopt : std::optional(known->second);
}

void IdentityAllocator::release(IdentityId id) {
  const auto found = references_.find(id);
  if (found == references_.end()) return;
  if (--found->second <= 0) references_.erase(found);
}

std::vector<Identity> IdentityAllocator::collect() {
  std::vector<Identity> forgotten;
  for (auto entry = by_id_.begin(); entry != by_id_.end();) {
    if (references_.contains(entry->first)) {
      ++entry;
      continue;
    }
    by_labels_.erase(entry->second.labels);
    collected_.push_back(entry->first);
    forgotten.push_back(std::move(entry->second));
    entry = by_id_.erase(entry);
  }
  return forgotten;
}

const Identity* IdentityAllocator::find(IdentityId id) const {
  if (const auto found = by_id_.find(id); found != by_id_.end()) return &found->second;
  const auto& reserved = reserved_identities();
  const auto found = std::ranges::find(reserved, id, &Identity::id);
  return found == reserved.end() ? nullptr : &*found;
}

int IdentityAllocator::references(IdentityId id) const {
  const auto found = references_.find(id);
  return found == references_.end() ? 0 : found->second;
}

CidrIdentities::CidrIdentities(std::map<Cidr, IdentityId> restored)
    : ids_(std::move(restored)), next_(WEFT_IDENTITY_FIRST_CIDR) {
  for (const auto& [cidr, id] : ids_) next_ = std::max(next_, id + 1);
  index_lengths();
}

void CidrIdentities::assign(const std::vector<Cidr>& wanted) {
  std::map<Cidr, IdentityId> assigned;
  for (const auto& cidr : wanted) {
    if (assigned.contains(cidr)) continue;
    const auto known = ids_.find(cidr);
    assigned.emplace(cidr, known != ids_.end() ? known->second : next_++);
  }
  ids_ = std::move(assigned);
  index_lengths();
}

void CidrIdentities::index_lengths() {
  for (auto& lengths : lengths_) lengths.reset();
  for (const auto& [cidr, id] : ids_) lengths_[cidr.is_v4() ? 0 : 1].set(cidr.length());
}

IdentityId CidrIdentities::narrowest(const IpAddress& address) const {
  return narrowest(Cidr(address, address.is_v4() ? 32 : 128));
}

IdentityId CidrIdentities::narrowest(const Cidr& block) const {
  const auto& lengths = lengths_[block.is_v4() ? 0 : 1];
  if (lengths.none()) return 0;
  for (int length = static_cast<int>(block.length()); length >= 0; --length) {
    const auto bits = static_cast<unsigned>(length);
    if (!lengths.test(bits)) continue;
    if (const auto found = ids_.find(Cidr(block.address(), bits)); found != ids_.end()) return found->second;
  }
  return 0;
}

}  // namespace weft::control
