#include "agent/encryption.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <asio/post.hpp>
#include <utility>

namespace weft::agent {
namespace {

using control::Generation;

// Generations that follow each other have places of their own: a device, and a port.
constexpr const char* device_names[] = {"weft-wg0", "weft-wg1"};
constexpr const char* probe_name = "weft-wg-probe";

constexpr auto under_way = std::chrono::seconds(2);

const char* device_of(Generation generation) { return device_names[generation % 2]; }

Cidr whole(const IpAddress& address) { return {address, address.is_v4() ? 32U : 128U}; }

// Whether the kernel has WireGuard is found by asking it for a device.
WireGuardBy find_implementation(sys::Netlink& netlink) {
  auto probe = netlink.create_wireguard(probe_name);
  if (!probe && probe.error().code == ErrorCode::exists) probe = netlink.device(probe_name);
  if (!probe) {
    spdlog::info("encryption: by wireguard-go, for the kernel has no WireGuard ({})", probe.error().message);
    return WireGuardBy::program;
  }
  (void)netlink.delete_device(probe->index);
  spdlog::info("encryption: by the kernel's WireGuard");
  return WireGuardBy::kernel;
}

}  // namespace

Encryption::Encryption(const Parts& parts, std::function<void()> changed)
    : parts_(parts), changed_(std::move(changed)), background_(parts.loop) {}

Encryption::~Encryption() = default;

Result<std::unique_ptr<Encryption>> Encryption::open(const Parts& parts, std::function<void()> changed) {
  std::unique_ptr<Encryption> encryption(new Encryption(parts, std::move(changed)));
  WEFT_TRY(encryption->keys_, load_wireguard_keys(encryption->key_file()));
  encryption->by_ = find_implementation(parts.netlink);
  // Without keys there is nothing to have devices for yet: which generation is the first, the others say.
  for (const auto& [generation, pair] : encryption->keys_.pairs) WEFT_CHECK(encryption->open_device(generation));
  if (!parts.config.encryption_node_to_node) WEFT_CHECK(encryption->node_to_node_.clear());
  encryption->told_ = {encryption->offer(), {}};
  return encryption;
}

void Encryption::remove(sys::Netlink& netlink, const Config& config) {
  for (const auto* name : device_names) WireGuardDevice::remove(netlink, config.run_dir, name);
  if (auto cleared = NodeToNode().clear(); !cleared)
    spdlog::warn("rules of encryption between nodes: {}", cleared.error().message);
}

std::uint16_t Encryption::port_of(Generation generation) const {
  return static_cast<std::uint16_t>(parts_.config.wireguard_port + generation % 2);
}

Result<void> Encryption::open_device(Generation generation) {
  const WireGuardDevice::Parts parts{parts_.loop, parts_.netlink, background_, parts_.config.run_dir, by_};
  WEFT_TRY(auto device, WireGuardDevice::open(parts, device_of(generation), [this] { device_changed(); }));
  devices_.insert_or_assign(generation, std::move(device));
  if (attached_) attach();
  return {};
}

// Not at once: a device says so in the midst of its work, and several may.
void Encryption::device_changed() {
  if (std::exchange(posted_, true)) return;
  asio::post(parts_.loop, [this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    posted_ = false;
    plan(false);
  });
}

control::Sessions Encryption::sessions() const {
  control::Sessions sessions;
  for (const auto& [generation, device] : devices_)
    for (const auto& [key, peer] : device->state().peers)
      if (peer.last_handshake != 0) sessions.insert({generation, key.base64()});
  return sessions;
}

void Encryption::take(const Node& node, std::map<std::string, EncryptionPeer> peers) {
  node_ = node;
  known_ = true;
  peers_ = std::move(peers);
  // What is no key is nobody's: its holder does not encrypt as far as anybody can tell.
  for (auto& [name, peer] : peers_)
    std::erase_if(peer.keys, [&](const auto& key) {
      const bool good = wireguard::Key::from_base64(key.public_key).has_value();
      if (!good) spdlog::warn("node {} tells a key of generation {} that is none", name, key.generation);
      return !good;
    });
  leave_out_others_keys();
  plan(false);
}

// A key is one node's: who tells another's as well would have what is sent to that one come to itself, or nowhere.
void Encryption::leave_out_others_keys() {
  const auto tells = [](const EncryptionPeer& peer, const std::string& key) {
    return std::ranges::find(peer.keys, key, &cluster::WireGuardKey::public_key) != peer.keys.end();
  };
  std::erase_if(key_owners_, [&](const auto& entry) {
    const auto owner = peers_.find(entry.second);
    return owner == peers_.end() || !tells(owner->second, entry.first);
  });
  std::map<std::string, std::string> wrong;
  for (auto& [name, peer] : peers_)
    std::erase_if(peer.keys, [&](const auto& key) {
      const auto& owner = key_owners_.try_emplace(key.public_key, name).first->second;
      if (owner == name) return false;
      wrong["encryption key of " + name] =
          fmt::format("node {} tells a key that is node {}'s: it is left out", name, owner);
      return true;
    });
  parts_.faults.replace("encryption key of ", wrong);
}

void Encryption::plan(bool rotate) {
  if (!known_) return;
  std::map<std::string, control::OfferedKeys> offered;
  for (const auto& [name, peer] : peers_) {
    auto& keys = offered[name];
    keys.settled = peer.settled;
    for (const auto& key : peer.keys)
      keys.keys.push_back({key.generation, key.public_key, static_cast<std::uint16_t>(key.port)});
  }
  control::OwnKeys own{.held = {}, .settled = keys_.settled};
  for (const auto& [generation, pair] : keys_.pairs) own.held.insert(generation);
  auto planned = control::plan_keys(own, offered, sessions(), rotate);
  linger(planned);
  if (auto held = hold(planned); !held) {
    parts_.faults.set("encryption keys", "keys: " + held.error().text());
    return;
  }
  parts_.faults.clear("encryption keys");
  plan_ = std::move(planned);
  const auto now = std::chrono::steady_clock::now();
  std::set<std::string> keyless;
  for (const auto& [name, peer] : peers_)
    if (!plan_.send.contains(name)) keyless.insert(name);
  keyless_.take(keyless, now);
  for (const auto& [name, key] : plan_.send)
    if (since_.try_emplace(name, now); report(name, peers_.at(name)).last_handshake != 0) since_[name] = now;
  std::erase_if(since_, [&](const auto& entry) { return !plan_.send.contains(entry.first); });
  const bool changing = keys_.pairs.size() > 1;
  for (const auto& name : plan_.waits_for)
    if (changing) waits_since_.try_emplace(name, now);
  std::erase_if(waits_since_, [&](const auto& entry) { return !changing || !plan_.waits_for.contains(entry.first); });
  tell_devices();
  route_nodes();
  if (auto telling = std::pair{offer(), ways()}; telling != told_) {
    told_ = std::move(telling);
    changed_();
  }
}

// What was sent by a key before its last user left it is still under way. Not where the next one needs its place.
void Encryption::linger(control::KeyPlan& plan) {
  const auto now = std::chrono::steady_clock::now();
  for (const auto& [generation, pair] : keys_.pairs) {
    const bool replaced =
        std::ranges::any_of(plan.hold, [&, place = generation % 2](const auto other) { return other % 2 == place; });
    if (plan.hold.contains(generation) || replaced || generation > *plan.hold.rbegin()) {
      unused_since_.erase(generation);
      continue;
    }
    if (now - unused_since_.try_emplace(generation, now).first->second < under_way) plan.hold.insert(generation);
  }
  std::erase_if(unused_since_, [&](const auto& entry) { return !keys_.pairs.contains(entry.first); });
}

// The file before the devices, and these before anybody is told.
Result<void> Encryption::hold(const control::KeyPlan& plan) {
  auto keys = keys_;
  keys.settled = plan.settled;
  std::erase_if(keys.pairs, [&](const auto& entry) { return !plan.hold.contains(entry.first); });
  for (const auto generation : plan.hold) {
    if (keys.pairs.contains(generation)) continue;
    WEFT_TRY(keys.pairs[generation], make_wireguard_pair());
    spdlog::info("encryption: a key of generation {}, {}", generation, keys.pairs[generation].shown.base64());
  }
  if (keys != keys_) WEFT_CHECK(save_wireguard_keys(key_file(), keys));
  keys_ = std::move(keys);
  for (auto entry = devices_.begin(); entry != devices_.end();) {
    if (keys_.pairs.contains(entry->first)) {
      ++entry;
      continue;
    }
    spdlog::info("encryption: the key of generation {} has served", entry->first);
    entry->second->stop();
    entry = devices_.erase(entry);
  }
  for (const auto& [generation, pair] : keys_.pairs)
    if (!devices_.contains(generation)) WEFT_CHECK(open_device(generation));
  return {};
}

// The first family that both have, IPv4 before IPv6, as for tunnels.
std::optional<wireguard::Endpoint> Encryption::endpoint_of(const EncryptionPeer& peer, std::uint16_t port) const {
  const auto own = node_.underlay();
  for (const auto family : {Family::v4, Family::v6}) {
    const auto theirs = std::ranges::find(peer.underlay, family, &IpAddress::family);
    if (theirs != peer.underlay.end() && std::ranges::find(own, family, &IpAddress::family) != own.end())
      return wireguard::Endpoint{*theirs, port};
  }
  return {};
}

wireguard::DeviceConfig Encryption::config_of(Generation generation) const {
  wireguard::DeviceConfig config;
  config.private_key = keys_.pairs.at(generation).secret;
  config.port = port_of(generation);
  if (parts_.config.encryption_node_to_node) config.mark = wireguard_mark;
  std::set<Cidr> taken;  // a range that two nodes claim is the first one's, as in control::plan_nodes
  for (const auto& [name, peer] : peers_) {
    const auto key = std::ranges::find(peer.keys, generation, &cluster::WireGuardKey::generation);
    if (key == peer.keys.end()) continue;
    const auto shown = wireguard::Key::from_base64(key->public_key);
    if (!shown || *shown == keys_.pairs.at(generation).shown) continue;
    auto& wanted = config.peers[*shown];
    wanted.endpoint = endpoint_of(peer, static_cast<std::uint16_t>(key->port));
    wanted.keepalive = static_cast<std::uint16_t>(parts_.config.wireguard_keepalive_seconds);
    const auto allow = [&](const Cidr& cidr) {
      if (taken.insert(cidr).second) wanted.allowed.insert(cidr);
    };
    for (const auto& block : peer.blocks) allow(block);
    for (const auto& gateway : peer.gateways) allow(whole(gateway));
    if (parts_.config.encryption_node_to_node)
      for (const auto& address : peer.underlay) allow(whole(address));
  }
  return config;
}

void Encryption::tell_devices() {
  const bool outer_v4 =
      std::ranges::any_of(node_.uplinks, [](const auto& uplink) { return uplink.second.v4.has_value(); });
  const auto overhead = Config::wireguard_overhead(outer_v4);
  const auto mtu = node_.uplink_mtu > overhead ? node_.uplink_mtu - overhead : node_.uplink_mtu;
  for (const auto& [generation, device] : devices_) device->want(config_of(generation), mtu);
}

// Only to those that have answered: what nodes need to find each other goes in clear until then.
void Encryption::route_nodes() {
  if (!parts_.config.encryption_node_to_node) return;
  std::set<sys::TableRoute> routes;
  const auto own = node_.underlay();
  for (const auto& [name, ifindex] : ways()) {
    const auto& peer = peers_.at(name);
    if (ifindex == 0 || report(name, peer).last_handshake == 0) continue;
    for (const auto& address : peer.underlay)
      if (const auto source = std::ranges::find(own, address.family(), &IpAddress::family); source != own.end())
        routes.insert({whole(address), static_cast<int>(ifindex), *source});
  }
  if (auto applied = node_to_node_.apply(routes, parts_.config.etcd_endpoints); !applied)
    return parts_.faults.set("encryption routes", "encryption_node_to_node: " + applied.error().text());
  parts_.faults.clear("encryption routes");
}

EncryptionOffer Encryption::offer() const {
  EncryptionOffer offer{.keys = {}, .settled = keys_.settled};
  for (const auto& [generation, pair] : keys_.pairs) {
    const auto device = devices_.find(generation);
    // Nobody is to send to a device that never answered.
    if (device == devices_.end() || !device->second->ready()) continue;
    offer.keys.push_back({generation, pair.shown.base64(), port_of(generation)});
  }
  return offer;
}

std::map<std::string, std::uint32_t> Encryption::ways() const {
  std::map<std::string, std::uint32_t> ways;
  for (const auto& [name, peer] : peers_) {
    if (peer.keys.empty()) continue;
    auto& way = ways[name];
    const auto key = plan_.send.find(name);
    if (key == plan_.send.end()) continue;
    const auto device = devices_.find(key->second.generation);
    const auto shown = wireguard::Key::from_base64(key->second.public_key);
    if (device != devices_.end() && shown && device->second->state().peers.contains(*shown))
      way = device->second->ifindex();
  }
  return ways;
}

std::vector<std::uint32_t> Encryption::ifindexes() const {
  std::vector<std::uint32_t> all;
  for (const auto& [generation, device] : devices_) all.push_back(device->ifindex());
  return all;
}

void Encryption::attach() {
  attached_ = true;
  for (const auto& [generation, device] : devices_)
    if (auto attached = parts_.datapath.attach_wireguard(device->ifindex()); !attached)
      return parts_.faults.set("encryption programs",
                               fmt::format("device {}: {}", device->name(), attached.error().message));
  parts_.faults.clear("encryption programs");
}

std::vector<std::string> Encryption::heal() {
  std::vector<std::string> repaired;
  bool missing = false;
  for (const auto& [generation, device] : devices_) {
    if (auto text = device->heal(); !text.empty()) repaired.push_back(std::move(text));
    const auto attached = parts_.datapath.wireguard_attached(device->ifindex());
    missing = missing || !attached || !*attached;
  }
  if (missing && attached_) {
    attach();
    if (repaired.empty() && !parts_.faults.has("encryption programs"))
      repaired.emplace_back("WireGuard's programs were gone and are attached again");
  }
  return repaired;
}

Result<void> Encryption::rotate() {
  if (!known_)
    return fail(ErrorCode::unavailable, "this node does not know the others yet",
                "try again once weft status says that it is joined");
  if (keys_.pairs.size() > 1)
    return fail(ErrorCode::unavailable, "the keys are changing already",
                "weft encryption status shows for whom they wait");
  plan(true);
  if (keys_.pairs.size() > 1) return {};
  if (keys_.pairs.contains(control::last_generation))
    return fail(
        ErrorCode::unavailable,
        fmt::format("the keys are of generation {}, which is the last", control::last_generation),
        fmt::format("stop all agents, delete {} on every node, and start them again: keys begin anew", key_file()));
  std::string names;
  for (const auto& name : plan_.waits_for) names += (names.empty() ? "" : ", ") + name;
  return fail(ErrorCode::unavailable,
              fmt::format("keys change once every node uses the present ones; not so: {}", names),
              "weft encryption status says why");
}

}  // namespace weft::agent
