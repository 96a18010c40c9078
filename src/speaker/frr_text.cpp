#include "speaker/frr_text.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace weft::speaker {
namespace {

using nlohmann::json;

Result<json> object_of(std::string_view text) {
  auto parsed = json::parse(text, nullptr, false);
  if (parsed.is_discarded() || !parsed.is_object()) return fail(ErrorCode::invalid, "bgpd's answer is no JSON object");
  return parsed;
}

// Null when it is not there.
const json& member(const json& value, const char* name) {
  static const json nothing;
  if (!value.is_object()) return nothing;
  const auto found = value.find(name);
  return found == value.end() ? nothing : *found;
}

std::string text_of(const json& value, const char* name) {
  const auto& found = member(value, name);
  return found.is_string() ? found.get<std::string>() : std::string();
}

std::uint64_t number_of(const json& value, const char* name) {
  const auto& found = member(value, name);
  return found.is_number_unsigned() ? found.get<std::uint64_t>() : 0;
}

std::string time_of(std::uint64_t epoch) {
  constexpr std::uint64_t last = 253402300799;  // of the year 9999
  if (epoch == 0 || epoch > last) return {};
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(epoch)));
}

Peer peer_of(const IpAddress& address, const json& said) {
  Peer peer;
  peer.address = address;
  peer.state = text_of(said, "bgpState");
  peer.established = peer.state == "Established";
  if (peer.established) peer.since = time_of(number_of(said, "bgpTimerUpEstablishedEpoch"));
  for (const auto& [name, family] : {std::pair{"ipv4Unicast", Family::v4}, {"ipv6Unicast", Family::v6}})
    if (const auto& counts = member(member(said, "addressFamilyInfo"), name); counts.is_object())
      peer.routes[family] = {number_of(counts, "acceptedPrefixCounter"), number_of(counts, "sentPrefixCounter")};
  peer.last_error = text_of(said, "lastNotificationReason");
  if (peer.last_error.empty() && !peer.established) peer.last_error = text_of(said, "lastResetDueTo");
  return peer;
}

void add_hops(const json& said, Route& route) {
  const auto add = [&](const std::string& text) {
    if (const auto address = IpAddress::parse(text)) route.next_hops.push_back(*address);
  };
  add(text_of(said, "nextHop"));
  add(text_of(said, "nextHopGlobal"));
  const auto& hops = member(said, "nexthops");
  if (!hops.is_array()) return;
  for (const auto& hop : hops) add(text_of(hop, "ip"));
}

}  // namespace

Result<std::vector<Peer>> parse_frr_peers(std::string_view text) {
  WEFT_TRY(const auto said, object_of(text));
  std::vector<Peer> peers;
  for (const auto& [name, value] : said.items())
    if (const auto address = IpAddress::parse(name); address && value.is_object())
      peers.push_back(peer_of(*address, value));
  return peers;
}

Result<std::vector<Route>> parse_frr_routes(std::string_view text, const IpAddress& peer, bool advertised) {
  WEFT_TRY(const auto said, object_of(text));
  std::vector<Route> routes;
  const auto& all = member(said, advertised ? "advertisedRoutes" : "routes");
  if (!all.is_object()) return routes;
  for (const auto& [name, value] : all.items()) {
    const auto prefix = Cidr::parse(name);
    // Received ones are a list of paths.
    const auto& path = value.is_array() && !value.empty() ? value[0] : value;
    if (!prefix || !path.is_object()) continue;
    Route route;
    route.prefix = *prefix;
    route.peer = peer;
    route.advertised = advertised;
    route.as_path = text_of(path, "path");
    add_hops(path, route);
    routes.push_back(std::move(route));
  }
  return routes;
}

}  // namespace weft::speaker
