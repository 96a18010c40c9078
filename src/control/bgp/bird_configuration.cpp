// The configuration of BIRD 2.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "control/bgp/configuration.h"

namespace weft::control {
namespace {

char digit(Family family) { return family == Family::v4 ? '4' : '6'; }

class Writer {
 public:
  Writer(const BgpPlan& plan, const BgpPasswords& passwords) : plan_(plan), passwords_(passwords) {}

  std::string write() {
    line("# Written by weftd for this node's BGPPeerings, and overwritten by it.");
    // What routers do wrong is in the state of their sessions; nobody rotates this log.
    line("log stderr {{ info, warning, error, auth, fatal, bug }};");
    line("router id {};", plan_.router_id.to_string());
    line("graceful restart wait {};", bgp_restart_seconds);
    line("timeformat protocol iso long;");
    line("timeformat route iso long;");
    line("protocol device weft_device {{ scan time 10; }}");
    for (const auto family : {Family::v4, Family::v6}) tables(family);
    std::size_t number = 0;
    for (const auto& [name, group] : plan_.groups) {
      ++number;
      for (const auto family : {Family::v4, Family::v6}) filters(family, number, group);
      for (const auto& peer : group.peers) protocol(name, number, peer, !group.imports.empty());
    }
    return std::move(text_);
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }

  // What is advertised, which the kernel is not told, and the kernel's table, which is told what comes from peers.
  void tables(Family family) {
    line("protocol static weft_static{} {{", digit(family));
    line("  ipv{};", digit(family));
    for (const auto& cidr : plan_.advertised())
      if (cidr.family() == family) line("  route {} blackhole;", cidr.to_string());
    line("}}");
    if (!plan_.imports()) return;
    line("protocol kernel weft_kernel{} {{", digit(family));
    line("  ipv{} {{ import none; export where source = RTS_BGP; }};", digit(family));
    line("  merge paths yes;");
    line("  graceful restart yes;");
    line("}}");
  }

  void filters(Family family, std::size_t number, const BgpGroup& group) {
    std::map<BgpAttributes, std::string> sets;
    for (const auto& [cidr, attributes] : group.advertised) {
      if (cidr.family() != family) continue;
      auto& set = sets[attributes];
      set += (set.empty() ? "" : ", ") + cidr.to_string();
    }
    line("filter weft_export{}_{} {{", digit(family), number);
    line("  if source != RTS_STATIC then reject;");
    for (const auto& [attributes, set] : sets) {
      line("  if net ~ [ {} ] then {{", set);
      for (const auto& community : attributes.communities)
        line("    bgp_community.add(({},{}));", community[0], community[1]);
      for (const auto& large : attributes.large_communities)
        line("    bgp_large_community.add(({},{},{}));", large[0], large[1], large[2]);
      if (attributes.local_preference) line("    bgp_local_pref = {};", *attributes.local_preference);
      line("    accept;");
      line("  }}");
    }
    line("  reject;");
    line("}}");
    import_filter(family, number, group);
  }

  // Never what this node itself has, or a part of it.
  void import_filter(Family family, std::size_t number, const BgpGroup& group) {
    std::string own;
    for (const auto& cidr : plan_.advertised())
      if (cidr.family() == family) own += (own.empty() ? "" : ", ") + cidr.to_string() + "+";
    std::string wanted;
    for (const auto& cidr : group.imports)
      if (cidr.family() == family) wanted += (wanted.empty() ? "" : ", ") + cidr.to_string() + "+";
    line("filter weft_import{}_{} {{", digit(family), number);
    if (!own.empty()) line("  if net ~ [ {} ] then reject;", own);
    if (!wanted.empty()) line("  if net ~ [ {} ] then accept;", wanted);
    line("  reject;");
    line("}}");
  }

  void protocol(const std::string& group, std::size_t number, const model::BgpPeer& peer, bool imports) {
    line("protocol bgp {} {{", bird_protocol(peer.address));
    line("  description \"BGPPeering {}\";", group);
    line("  local as {};", plan_.local_as);
    line("  neighbor {} port {} as {};", peer.address.to_string(), peer.port, peer.as);
    if (peer.multihop == 0)
      line("  direct;");
    else
      line("  multihop {};", peer.multihop);
    line("  hold time {};", peer.hold_seconds);
    line("  keepalive time {};", peer.keepalive_seconds);
    line("  connect delay time 1;");
    line("  connect retry time 5;");
    line("  error wait time 2, 10;");
    line("  graceful restart {};", peer.graceful_restart ? "on" : "aware");
    if (peer.graceful_restart) line("  graceful restart time {};", bgp_restart_seconds);
    // Other nodes of this AS are behind the router: what it hands on of them has been here already, by its path.
    if (imports && peer.as != plan_.local_as) line("  allow local as 1;");
    if (const auto password = passwords_.find(peer.password_file); password != passwords_.end())
      line("  password \"{}\";", password->second);
    for (const auto family : peer.families) channel(number, peer, family);
    line("}}");
  }

  void channel(std::size_t number, const model::BgpPeer& peer, Family family) {
    line("  ipv{} {{", digit(family));
    line("    import filter weft_import{}_{};", digit(family), number);
    line("    export filter weft_export{}_{};", digit(family), number);
    // On a link of the node BIRD takes that link's address.
    const bool foreign = family != peer.address.family() && peer.multihop != 0;
    if (const auto hop = plan_.next_hop(family); foreign && hop) line("    next hop address {};", hop->to_string());
    line("  }};");
  }

  const BgpPlan& plan_;
  const BgpPasswords& passwords_;
  std::string text_;
};

}  // namespace

Result<void> check_password(std::string_view password) {
  constexpr std::size_t longest = 80;  // TCP_MD5SIG_MAXKEYLEN
  if (password.empty()) return fail(ErrorCode::invalid, "it is empty");
  if (password.size() > longest)
    return fail(ErrorCode::invalid, fmt::format("it has {} characters, and {} are the most", password.size(), longest));
  constexpr std::string_view special = "\"\\|?";
  for (const char c : password)
    if (c <= ' ' || c >= 0x7f || special.find(c) != std::string_view::npos)
      return fail(ErrorCode::invalid, "it has a character that speakers do not take",
                  "use letters, digits and signs other than \" \\ | ? and spaces");
  if (password.front() == '!' || password.front() == '#')
    return fail(ErrorCode::invalid, "it begins with a sign that begins comments", "begin it with a letter or digit");
  return {};
}

std::string bird_protocol(const IpAddress& peer) {
  auto name = "peer_" + peer.to_string();
  std::ranges::replace_if(
      name, [](char c) { return c == '.' || c == ':'; }, '_');
  return name;
}

std::string bird_configuration(const BgpPlan& plan, const BgpPasswords& passwords) {
  return Writer(plan, passwords).write();
}

}  // namespace weft::control
