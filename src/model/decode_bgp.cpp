// BGPPeering: routers, and what they are told.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "model/annotations.h"
#include "model/decode.h"

namespace weft::model {
namespace {

constexpr std::int64_t last_as = 4294967294;  // RFC 7300 reserves the one behind it
constexpr std::int64_t as_trans = 23456;      // RFC 6793: stands for one of four bytes
constexpr std::size_t most_peers = 64;
constexpr std::size_t most_communities = 32;

std::optional<std::uint32_t> decode_as(const Value& value) {
  const auto number = value.integer(1, last_as);
  if (!number) return std::nullopt;
  if (*number == as_trans) {
    value.problem("expected the number of an autonomous system, found 23456, which stands for others (RFC 6793)");
    return std::nullopt;
  }
  return static_cast<std::uint32_t>(*number);
}

// `count` numbers with colons between them.
template <class T, std::size_t count>
std::optional<std::array<T, count>> parse_numbers(std::string_view text) {
  std::array<T, count> numbers{};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::size_t i = 0; i < count; ++i) {
    if (i != 0) {
      if (at == end || *at != ':') return std::nullopt;
      ++at;
    }
    const auto read = std::from_chars(at, end, numbers[i]);
    if (read.ec != std::errc()) return std::nullopt;
    at = read.ptr;
  }
  if (at != end) return std::nullopt;
  return numbers;
}

std::optional<BgpCommunity> parse_community(std::string_view text) {
  if (text == "no-export") return BgpCommunity{0xffff, 0xff01};     // RFC 1997
  if (text == "no-advertise") return BgpCommunity{0xffff, 0xff02};  // RFC 1997
  return parse_numbers<std::uint16_t, 2>(text);
}

// Each of them once, in order of their numbers.
template <class T, class Parse>
std::vector<T> decode_list(const Value& value, std::string_view what, const Parse& parse) {
  std::set<T> all;
  const auto items = value.list();
  if (items.size() > most_communities)
    value.problem(fmt::format("expected at most {} entries, found {}", most_communities, items.size()));
  for (const auto& item : items)
    if (const auto text = item.string()) {
      if (const auto one = parse(*text); !one)
        item.problem(fmt::format("expected {}, found {}", what, in_quotes(*text)));
      else if (!all.insert(*one).second)
        item.problem(fmt::format("{} is given twice", in_quotes(*text)));
    }
  return {all.begin(), all.end()};
}

// It becomes a word of the router's configuration, whose quoting differs from one to the next.
void decode_password_file(const Value& value, BgpPeer& peer) {
  auto path = value.string();
  if (!path) return;
  const bool plain = std::ranges::all_of(*path, [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\'; });
  if (!path->starts_with('/') || !plain || path->size() > 255)
    value.problem("expected the whole path of a file of the node, without spaces, found " + in_quotes(*path));
  peer.password_file = std::move(*path);
}

void decode_families(const Value& value, BgpPeer& peer) {
  for (const auto& item : value.list())
    if (const auto word = decode_word(item, {"IPv4", "IPv6"})) {
      const auto family = *word == "IPv4" ? Family::v4 : Family::v6;
      if (std::ranges::find(peer.families, family) != peer.families.end())
        item.problem(fmt::format("{} is given twice", *word));
      else
        peer.families.push_back(family);
    }
}

void decode_times(Fields& fields, BgpPeer& peer) {
  const auto hold = fields.take("holdTime");
  if (hold)
    if (const auto seconds = hold->integer(3, 65535)) peer.hold_seconds = static_cast<std::uint16_t>(*seconds);
  peer.keepalive_seconds = std::max<std::uint16_t>(1, peer.hold_seconds / 3);
  if (const auto keepalive = fields.take("keepalive"))
    if (const auto seconds = keepalive->integer(1, 21845)) {
      peer.keepalive_seconds = static_cast<std::uint16_t>(*seconds);
      if (peer.keepalive_seconds * 3 > peer.hold_seconds)
        keepalive->problem(fmt::format("expected at most a third of the hold time, {} seconds, found {}",
                                       peer.hold_seconds, peer.keepalive_seconds));
    }
}

BgpPeer decode_peer(const Value& value) {
  BgpPeer peer;
  Fields fields(value);
  if (const auto address = fields.require("address", "the router's address"))
    if (const auto one = decode_address(*address)) {
      peer.address = *one;
      // A link-local one means nothing without its device.
      if (one->is_unspecified() || one->is_loopback() || one->is_multicast() || is_link_local(*one))
        address->problem(fmt::format("expected the address of a router, found {}", one->to_string()));
    }
  if (const auto as = fields.require("peerAS", "the router's autonomous system")) peer.as = decode_as(*as).value_or(0);
  if (const auto port = fields.take("port")) peer.port = decode_port_number(*port).value_or(0);
  if (const auto hops = fields.take("multihop"))
    peer.multihop = static_cast<std::uint8_t>(hops->integer(0, 255).value_or(0));
  if (const auto file = fields.take("passwordFile")) decode_password_file(*file, peer);
  fields.refuse("password",
                "a password in an object can be read by everybody who reads objects; put it into a file on the "
                "node and name that by passwordFile");
  decode_times(fields, peer);
  if (const auto graceful = fields.take("gracefulRestart")) peer.graceful_restart = graceful->boolean().value_or(true);
  if (const auto families = fields.take("families")) decode_families(*families, peer);
  if (peer.families.empty()) peer.families = {peer.address.family()};
  fields.finish();
  return peer;
}

void decode_services(const Value& value, BgpAdvertisement& advertisement) {
  for (const auto& item : value.list()) {
    if (const auto text = item.string(); text && *text == "ClusterIP") {
      item.problem("clients outside the cluster are not served at ClusterIPs; expected LoadBalancerIP or ExternalIP");
      continue;
    }
    const auto word = decode_word(item, {"LoadBalancerIP", "ExternalIP"});
    if (!word) continue;
    bool& wanted = *word == "ExternalIP" ? advertisement.external_ips : advertisement.load_balancer_ips;
    if (wanted) item.problem(fmt::format("{} is given twice", *word));
    wanted = true;
  }
}

BgpAdvertisement decode_advertisement(const Value& value) {
  BgpAdvertisement advertisement;
  Fields fields(value);
  if (const auto pods = fields.take("podCIDRs")) advertisement.pod_cidrs = pods->boolean().value_or(false);
  if (const auto services = fields.take("services")) decode_services(*services, advertisement);
  if (const auto selector = fields.take("serviceSelector")) {
    advertisement.service_selector = decode_selector(*selector);
    if (!advertisement.load_balancer_ips && !advertisement.external_ips)
      selector->warning("selects nothing: services names no addresses of Services");
  }
  if (const auto communities = fields.take("communities"))
    advertisement.communities = decode_list<BgpCommunity>(
        *communities, "a community such as \"65000:100\", no-export or no-advertise", parse_community);
  if (const auto communities = fields.take("largeCommunities"))
    advertisement.large_communities = decode_list<BgpLargeCommunity>(
        *communities, "a large community such as \"65000:1:2\"", parse_numbers<std::uint32_t, 3>);
  if (const auto preference = fields.take("localPreference"))
    if (const auto number = preference->integer(0, 4294967295))
      advertisement.local_preference = static_cast<std::uint32_t>(*number);
  fields.finish();
  if (fields.valid() && !advertisement.pod_cidrs && !advertisement.load_balancer_ips && !advertisement.external_ips)
    value.warning("advertises nothing: podCIDRs is not true and services is empty");
  return advertisement;
}

void decode_peers(const Value& value, BgpPeering& peering) {
  const auto items = value.list();
  if (value.node().type == NodeType::list && items.empty()) value.problem("expected at least one entry, found none");
  if (items.size() > most_peers)
    value.problem(fmt::format("expected at most {} entries, found {}", most_peers, items.size()));
  std::set<IpAddress> seen;
  for (const auto& item : items) {
    auto peer = decode_peer(item);
    if (!peer.address.is_unspecified() && !seen.insert(peer.address).second)
      item.problem(fmt::format("the router {} is given twice", peer.address.to_string()));
    peering.peers.push_back(std::move(peer));
  }
}

void decode_import(const Value& value, BgpPeering& peering) {
  Fields fields(value);
  if (const auto cidrs = fields.require("cidrs", "the ranges routes are taken within"))
    for (const auto& item : cidrs->list())
      if (const auto cidr = decode_cidr(item)) peering.imports.push_back(*cidr);
  fields.finish();
}

}  // namespace

BgpPeering decode_bgp_peering(const Value& root) {
  BgpPeering peering;
  Fields object(root);
  peering.meta = decode_metadata(object, Kind::bgp_peering);
  refuse_annotations(root, "a BGPPeering");
  object.accept({"status"});
  const auto spec = object.require("spec", "localAS, peers and what is advertised to them");
  object.finish();
  if (!spec) return peering;
  Fields fields(*spec);
  if (const auto selector = fields.take("nodeSelector")) peering.node_selector = decode_selector(*selector);
  if (const auto as = fields.require("localAS", "the autonomous system of the nodes"))
    peering.local_as = decode_as(*as).value_or(0);
  if (const auto id = fields.take("routerID"))
    if (const auto address = decode_address(*id)) {
      if (!address->is_v4() || *address == IpAddress::v4(0))
        id->problem(fmt::format("expected an IPv4 address other than 0.0.0.0, found {}", address->to_string()));
      peering.router_id = *address;
    }
  if (const auto peers = fields.require("peers", "a list of at least one router")) decode_peers(*peers, peering);
  if (const auto advertise = fields.take("advertise"))
    for (const auto& item : advertise->list()) peering.advertise.push_back(decode_advertisement(item));
  if (const auto import = fields.take("import")) decode_import(*import, peering);
  fields.finish();
  return peering;
}

}  // namespace weft::model
