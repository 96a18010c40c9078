#include "sources/cluster/pod_table.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <string_view>
#include <tuple>
#include <utility>

namespace weft::cluster {
namespace {

// A pod's bytes: texts and numbers one after the other, each number in as many bytes as it needs.
class Packer {
 public:
  explicit Packer(std::string& out) : out_(out) {}
  void number(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<char>(value | 0x80));
    out_.push_back(static_cast<char>(value));
  }
  void text(std::string_view text) {
    number(text.size());
    out_.append(text);
  }
  void address(const IpAddress& address) {
    const auto& bytes = address.bytes();
    const std::size_t skipped = address.is_v4() ? 12 : 0;
    out_.push_back(static_cast<char>(bytes.size() - skipped));
    out_.append(reinterpret_cast<const char*>(bytes.data()) + skipped, bytes.size() - skipped);
  }

 private:
  std::string& out_;
};

class Unpacker {
 public:
  explicit Unpacker(std::string_view in) : in_(in) {}
  [[nodiscard]] bool at_end() const { return in_.empty(); }
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      const auto byte = static_cast<std::uint8_t>(in_.front());
      in_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
  }
  std::string text() {
    const auto size = number();
    std::string text(in_.substr(0, size));
    in_.remove_prefix(size);
    return text;
  }
  IpAddress address() {
    const auto size = number();
    IpAddress::Bytes bytes = IpAddress::v4(0).bytes();
    std::memcpy(bytes.data() + bytes.size() - size, in_.data(), size);
    in_.remove_prefix(size);
    return IpAddress(bytes);
  }

 private:
  std::string_view in_;
};

constexpr std::uint64_t flag_ready = 1;
constexpr std::uint64_t flag_terminating = 2;
constexpr std::uint64_t flag_host_network = 4;

void pack(std::string& out, const PodName& name, unsigned slice, const SharedEndpoint& pod) {
  Packer packer(out);
  packer.text(name.namespace_);
  packer.text(name.name);
  packer.number(slice);
  packer.number(pod.identity);
  packer.number((pod.ready ? flag_ready : 0) | (pod.terminating ? flag_terminating : 0) |
                (pod.host_network ? flag_host_network : 0));
  packer.number(pod.weight);
  packer.number(pod.addresses.size());
  for (const auto& address : pod.addresses) packer.address(address);
  packer.number(pod.ports.size());
  for (const auto& port : pod.ports) {
    packer.text(port.name);
    packer.number(port.port);
    packer.number(static_cast<std::uint8_t>(port.protocol));
  }
}

void unpack(Unpacker& in, PodName& name, unsigned& slice, SharedEndpoint& pod) {
  name.namespace_ = in.text();
  name.name = in.text();
  slice = static_cast<unsigned>(in.number());
  pod.identity = static_cast<IdentityNumber>(in.number());
  const auto flags = in.number();
  pod.ready = (flags & flag_ready) != 0;
  pod.terminating = (flags & flag_terminating) != 0;
  pod.host_network = (flags & flag_host_network) != 0;
  pod.weight = static_cast<std::uint32_t>(in.number());
  pod.addresses.clear();
  for (auto left = in.number(); left > 0; --left) pod.addresses.push_back(in.address());
  pod.ports.clear();
  for (auto left = in.number(); left > 0; --left) {
    auto& port = pod.ports.emplace_back();
    port.name = in.text();
    port.port = static_cast<std::uint16_t>(in.number());
    port.protocol = static_cast<Protocol>(in.number());
  }
}

// Also those that do not count.
template <class See>
void each_told(const std::string& packed, const See& see) {
  Unpacker in(packed);
  PodName name;
  unsigned slice = 0;
  SharedEndpoint pod;
  while (!in.at_end()) {
    unpack(in, name, slice, pod);
    see(name, slice, pod);
  }
}

template <class See>
void each_of(const std::string& packed, const See& see) {
  PodName before;  // no pod has an empty name
  each_told(packed, [&](const PodName& name, unsigned, SharedEndpoint& pod) {
    if (name == before) return;
    before = name;
    see(name, pod);
  });
}

// What is packed, with these slices in the place of those of their numbers.
std::string packed_with(const std::string& packed, const std::vector<PodTable::Slice>& slices) {
  // In the order in which they are packed.
  const auto before = [](const auto& a, const auto& b) {
    return std::tie(a.first, b.second) < std::tie(b.first, a.second);
  };
  std::map<std::pair<PodName, unsigned>, SharedEndpoint, decltype(before)> told;
  each_told(packed, [&](const PodName& name, unsigned slice, SharedEndpoint& pod) {
    if (std::ranges::find(slices, slice, &PodTable::Slice::number) == slices.end())
      told.emplace_hint(told.end(), std::pair(name, slice), std::move(pod));
  });
  for (const auto& slice : slices)
    for (const auto& [name, pod] : slice.pods) told.insert_or_assign(std::pair(name, slice.number), pod);
  std::string result;
  for (const auto& [key, pod] : told) pack(result, key.first, key.second, pod);
  return result;
}

SharedEndpoints unpacked(const std::string& packed) {
  SharedEndpoints pods;
  each_of(packed, [&](const PodName& name, SharedEndpoint& pod) { pods.emplace_hint(pods.end(), name, pod); });
  return pods;
}

std::uint32_t folded(std::size_t hash) { return static_cast<std::uint32_t>(hash ^ (hash >> 32)); }

std::uint32_t hash_of(const PodName& name) {
  const std::hash<std::string> hash;
  return folded(hash(name.namespace_) * 31 + hash(name.name));
}

std::uint32_t hash_of(const IpAddress& address) {
  const auto& bytes = address.bytes();
  return folded(
      std::hash<std::string_view>{}(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size())));
}

PodsDifference difference_of(const SharedEndpoints& before, const SharedEndpoints& after) {
  PodsDifference result;
  const auto leave = [&](const SharedEndpoint& pod) {
    result.left.insert(result.left.end(), pod.addresses.begin(), pod.addresses.end());
  };
  for (const auto& [name, pod] : after) {
    const auto known = before.find(name);
    if (known != before.end() && known->second == pod) continue;
    result.set.emplace(name, pod);
    if (known != before.end()) leave(known->second);
  }
  for (const auto& [name, pod] : before) {
    if (after.contains(name)) continue;
    result.gone.push_back(name);
    leave(pod);
  }
  return result;
}

}  // namespace

PodsDifference PodTable::replace_slices(const std::string& node, const std::vector<Slice>& slices) {
  static const std::string none;
  const auto known = place_of_.find(node);
  const auto& packed_before = known == place_of_.end() ? none : lists_[known->second].packed;
  auto packed = packed_with(packed_before, slices);
  if (packed == packed_before) return {};
  const auto before = unpacked(packed_before);
  const auto after = unpacked(packed);
  auto difference = difference_of(before, after);
  const auto place = place_of(node);
  for (const auto& [name, pod] : difference.set) {
    if (const auto old = before.find(name); old != before.end()) unfile(place, name, old->second);
    file(place, name, pod);
  }
  for (const auto& name : difference.gone) unfile(place, name, before.at(name));
  auto& list = lists_[place];
  list.count = static_cast<std::uint32_t>(after.size());
  packed.shrink_to_fit();
  list.packed = std::move(packed);
  if (list.packed.empty()) {
    list = {};
    place_of_.erase(node);
    free_.push_back(place);
  }
  return difference;
}

std::uint32_t PodTable::place_of(const std::string& node) {
  const auto [entry, added] = place_of_.try_emplace(node, 0);
  if (!added) return entry->second;
  if (free_.empty()) {
    entry->second = static_cast<std::uint32_t>(lists_.size());
    lists_.emplace_back();
  } else {
    entry->second = free_.back();
    free_.pop_back();
  }
  lists_[entry->second].node = node;
  return entry->second;
}

void PodTable::file(std::uint32_t place, const PodName& name, const SharedEndpoint& pod) {
  names_.insert(hash_of(name), place);
  for (const auto& address : pod.addresses) addresses_.insert(hash_of(address), place);
  count(place, pod, 1);
}

void PodTable::unfile(std::uint32_t place, const PodName& name, const SharedEndpoint& pod) {
  names_.erase(hash_of(name), place);
  for (const auto& address : pod.addresses) addresses_.erase(hash_of(address), place);
  count(place, pod, -1);
}

void PodTable::count(std::uint32_t place, const SharedEndpoint& pod, int change) {
  if (lists_[place].node == self_) return;
  auto& identities = pod.host_network ? host_identities_ : identities_;
  auto& known = identities[pod.identity];
  const bool was = known != 0;
  known = static_cast<std::uint32_t>(static_cast<int>(known) + change);
  const bool is = known != 0;
  if (!is) identities.erase(pod.identity);
  if (was != is) ++identities_revision_;
}

SharedEndpoints PodTable::pods_of(const std::string& node) const {
  const auto place = place_of_.find(node);
  return place == place_of_.end() ? SharedEndpoints() : unpacked(lists_[place->second].packed);
}

SharedEndpoints PodTable::pods_of(const std::string& node, unsigned slice) const {
  SharedEndpoints pods;
  if (const auto place = place_of_.find(node); place != place_of_.end())
    each_told(lists_[place->second].packed, [&](const PodName& name, unsigned of, const SharedEndpoint& pod) {
      if (of == slice) pods.emplace_hint(pods.end(), name, pod);
    });
  return pods;
}

std::size_t PodTable::count_of(const std::string& node) const {
  const auto place = place_of_.find(node);
  return place == place_of_.end() ? 0 : lists_[place->second].count;
}

void PodTable::disown(const std::string& node, SharedEndpoint& pod) const {
  if (owns_)
    std::erase_if(pod.addresses, [&](const IpAddress& address) { return !owns_(node, address, pod.host_network); });
}

void PodTable::each_disowned(const std::string& node,
                             const std::function<void(const PodName& pod, const IpAddress& address)>& see) const {
  const auto place = place_of_.find(node);
  if (place == place_of_.end() || node == self_ || !owns_) return;
  each_of(lists_[place->second].packed, [&](const PodName& name, const SharedEndpoint& pod) {
    for (const auto& address : pod.addresses)
      if (!owns_(node, address, pod.host_network)) see(name, address);
  });
}

void PodTable::each(const std::function<void(const ToldPod& pod)>& see) const {
  ToldPod told;
  for (const auto& list : lists_) {
    if (list.node.empty() || list.node == self_) continue;
    told.node = list.node;
    each_of(list.packed, [&](const PodName& name, SharedEndpoint& pod) {
      told.name = name;
      std::swap(told.told, pod);
      disown(list.node, told.told);
      see(told);
    });
  }
}

// Other nodes' only, each once.
std::vector<std::uint32_t> PodTable::places(const HashSlots& index, std::uint32_t hash) const {
  std::vector<std::uint32_t> places;
  index.visit(hash, [&](std::uint32_t place) {
    if (lists_[place].node != self_) places.push_back(place);
  });
  std::ranges::sort(places);
  places.erase(std::ranges::unique(places).begin(), places.end());
  return places;
}

std::vector<ToldPod> PodTable::named(const PodName& name) const {
  std::vector<ToldPod> found;
  for (const auto place : places(names_, hash_of(name)))
    each_of(lists_[place].packed, [&](const PodName& each, const SharedEndpoint& pod) {
      if (each == name) found.push_back({lists_[place].node, each, pod});
    });
  for (auto& pod : found) disown(pod.node, pod.told);
  std::ranges::sort(found, {}, &ToldPod::node);
  return found;
}

bool PodTable::told_once(const PodName& name) const {
  std::size_t told = 0;
  names_.visit(hash_of(name), [&](std::uint32_t place) { told += lists_[place].node == self_ ? 0 : 1; });
  return told == 1;
}

std::vector<ToldPod> PodTable::at(const IpAddress& address) const {
  std::vector<ToldPod> found;
  for (const auto place : places(addresses_, hash_of(address)))
    each_of(lists_[place].packed, [&](const PodName& name, const SharedEndpoint& pod) {
      if (!pod.host_network && std::ranges::find(pod.addresses, address) != pod.addresses.end() &&
          (!owns_ || owns_(lists_[place].node, address, false)))
        found.push_back({lists_[place].node, name, pod});
    });
  for (auto& pod : found) disown(pod.node, pod.told);
  std::ranges::sort(found, {}, [](const ToldPod& pod) { return std::tie(pod.name, pod.node); });
  return found;
}

}  // namespace weft::cluster
