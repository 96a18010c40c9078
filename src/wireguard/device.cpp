#include "wireguard/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace weft::wireguard {
namespace {

PeerChange change_of(const Peer& wanted, const PeerState* actual, const std::optional<Endpoint>& told, bool greet) {
  PeerChange change;
  change.add = actual == nullptr;
  if (wanted.endpoint && (actual == nullptr || !actual->endpoint || (told && told != wanted.endpoint)))
    change.endpoint = wanted.endpoint;
  if (actual == nullptr || actual->keepalive != wanted.keepalive) change.keepalive = wanted.keepalive;
  change.greet = greet;
  if (greet) change.keepalive = wanted.keepalive;
  if (actual == nullptr) {
    change.allow = wanted.allowed;
  } else if (actual->allowed != wanted.allowed) {
    // To replace them leaves a moment without any, so what only grows is added to.
    change.replace_allowed = !std::ranges::includes(wanted.allowed, actual->allowed);
    for (const auto& cidr : wanted.allowed)
      if (change.replace_allowed || !actual->allowed.contains(cidr)) change.allow.insert(cidr);
  }
  return change;
}

}  // namespace

Result<Endpoint> Endpoint::parse(std::string_view text) {
  const auto wrong = [&] { return fail(ErrorCode::invalid, fmt::format("\"{}\" is no address and port", text)); };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong();
  auto host = text.substr(0, colon);
  const auto digits = text.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  // A link-local peer's zone says nothing to anybody else.
  const auto address = IpAddress::parse(host.substr(0, host.find('%')));
  Endpoint endpoint;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), endpoint.port);
  if (!address || read.ec != std::errc() || read.ptr != digits.data() + digits.size() || digits.empty()) return wrong();
  endpoint.address = *address;
  return endpoint;
}

std::string Endpoint::to_string() const {
  return address.is_v4() ? fmt::format("{}:{}", address.to_string(), port)
                         : fmt::format("[{}]:{}", address.to_string(), port);
}

DeviceChange difference(const DeviceConfig& wanted, const DeviceState& actual, const std::map<Key, Endpoint>& told,
                        const std::set<Key>& greet) {
  DeviceChange change;
  if (wanted.private_key != actual.private_key) change.private_key = wanted.private_key;
  if (wanted.port != actual.port) change.port = wanted.port;
  if (wanted.mark != actual.mark) change.mark = wanted.mark;
  for (const auto& [key, state] : actual.peers)
    if (!wanted.peers.contains(key)) change.peers[key].remove = true;
  for (const auto& [key, peer] : wanted.peers) {
    const auto present = actual.peers.find(key);
    const auto before = told.find(key);
    auto each = change_of(peer, present == actual.peers.end() ? nullptr : &present->second,
                          before == told.end() ? std::nullopt : std::optional(before->second), greet.contains(key));
    if (each != PeerChange{}) change.peers.emplace(key, std::move(each));
  }
  return change;
}

}  // namespace weft::wireguard
