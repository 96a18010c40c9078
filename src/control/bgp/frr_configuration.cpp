// The configuration of FRR, and the steps from one to the next.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "control/bgp/configuration.h"

namespace weft::control {
namespace {

constexpr int connect_seconds = 5;

std::string_view ip_word(Family family) { return family == Family::v4 ? "ip" : "ipv6"; }
char digit(Family family) { return family == Family::v4 ? '4' : '6'; }

class Writer {
 public:
  Writer(const BgpPlan& plan, const BgpPasswords& passwords) : plan_(plan), passwords_(passwords) {}

  std::string write() {
    line("frr defaults traditional");
    line("log stdout warnings");
    line("bgp route-map delay-timer 1");
    std::size_t number = 0;
    for (const auto& [name, group] : plan_.groups) {
      ++number;
      for (const auto family : {Family::v4, Family::v6}) {
        export_map(family, number, group);
        import_map(family, number, group);
      }
    }
    line("router bgp {}", plan_.local_as);
    line(" bgp router-id {}", plan_.router_id.to_string());
    line(" no bgp default ipv4-unicast");
    line(" no bgp network import-check");
    const auto restarts = [](const auto& group) {
      return std::ranges::any_of(group.second.peers, &model::BgpPeer::graceful_restart);
    };
    graceful_ = std::ranges::any_of(plan_.groups, restarts);
    if (graceful_) {
      line(" bgp graceful-restart");
      line(" bgp graceful-restart restart-time {}", bgp_restart_seconds);
      line(" bgp graceful-restart preserve-fw-state");
    }
    for (const auto& [name, group] : plan_.groups)
      for (const auto& peer : group.peers) neighbor(name, peer);
    for (const auto family : {Family::v4, Family::v6}) address_family(family);
    line("exit");
    return std::move(text_);
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }

  void export_map(Family family, std::size_t number, const BgpGroup& group) {
    std::map<BgpAttributes, std::vector<Cidr>> sets;
    for (const auto& [cidr, attributes] : group.advertised)
      if (cidr.family() == family) sets[attributes].push_back(cidr);
    std::size_t part = 0;
    for (const auto& [attributes, cidrs] : sets) {
      ++part;
      const auto list = fmt::format("weft-export{}-{}-{}", digit(family), number, part);
      for (const auto& cidr : cidrs) line("{} prefix-list {} permit {}", ip_word(family), list, cidr.to_string());
      line("route-map weft-export{}-{} permit {}", digit(family), number, part * 10);
      line(" match {} address prefix-list {}", ip_word(family), list);
      std::string communities;
      for (const auto& community : attributes.communities)
        communities += fmt::format("{}:{} ", community[0], community[1]);
      if (!communities.empty()) line(" set community {}additive", communities);
      std::string large;
      for (const auto& one : attributes.large_communities) large += fmt::format("{}:{}:{} ", one[0], one[1], one[2]);
      if (!large.empty()) line(" set large-community {}additive", large);
      if (attributes.local_preference) line(" set local-preference {}", *attributes.local_preference);
      line("exit");
    }
    line("route-map weft-export{}-{} deny 65535", digit(family), number);
    line("exit");
  }

  void import_map(Family family, std::size_t number, const BgpGroup& group) {
    const auto name = fmt::format("weft-import{}-{}", digit(family), number);
    const unsigned longest = family == Family::v4 ? 32 : 128;
    const auto permit = [&](const std::string& list, const Cidr& cidr) {
      const auto within = cidr.length() == longest ? std::string() : fmt::format(" le {}", longest);
      line("{} prefix-list {} permit {}{}", ip_word(family), list, cidr.to_string(), within);
    };
    const auto of_family = [&](const Cidr& cidr) { return cidr.family() == family; };
    if (std::ranges::any_of(group.imports, of_family)) {
      // What this node itself has comes first: never that, or a part of it.
      for (const auto& cidr : plan_.advertised())
        if (of_family(cidr)) permit(name + "-own", cidr);
      for (const auto& cidr : group.imports)
        if (of_family(cidr)) permit(name, cidr);
      line("route-map {} deny 10", name);
      line(" match {} address prefix-list {}-own", ip_word(family), name);
      line("exit");
      line("route-map {} permit 20", name);
      line(" match {} address prefix-list {}", ip_word(family), name);
      line("exit");
    }
    line("route-map {} deny 65535", name);
    line("exit");
  }

  void neighbor(const std::string& group, const model::BgpPeer& peer) {
    const auto address = peer.address.to_string();
    line(" neighbor {} remote-as {}", address, peer.as);
    line(" neighbor {} description BGPPeering {}", address, group);
    if (peer.port != 179) line(" neighbor {} port {}", address, peer.port);
    if (peer.multihop != 0 && peer.as != plan_.local_as) line(" neighbor {} ebgp-multihop {}", address, peer.multihop);
    if (const auto password = passwords_.find(peer.password_file); password != passwords_.end())
      line(" neighbor {} password {}", address, password->second);
    line(" neighbor {} timers {} {}", address, peer.keepalive_seconds, peer.hold_seconds);
    line(" neighbor {} timers connect {}", address, connect_seconds);
    if (graceful_ && !peer.graceful_restart) line(" neighbor {} graceful-restart-helper", address);
  }

  void address_family(Family family) {
    line(" address-family {} unicast", family == Family::v4 ? "ipv4" : "ipv6");
    for (const auto& cidr : plan_.advertised())
      if (cidr.family() == family) line("  network {}", cidr.to_string());
    std::size_t number = 0;
    for (const auto& [name, group] : plan_.groups) {
      ++number;
      for (const auto& peer : group.peers) {
        if (std::ranges::find(peer.families, family) == peer.families.end()) continue;
        const auto address = peer.address.to_string();
        line("  neighbor {} activate", address);
        // Other nodes of this AS are behind the router: what it hands on of them has been here already, by its path.
        if (!group.imports.empty() && peer.as != plan_.local_as) line("  neighbor {} allowas-in 1", address);
        line("  neighbor {} route-map weft-import{}-{} in", address, digit(family), number);
        line("  neighbor {} route-map weft-export{}-{} out", address, digit(family), number);
      }
    }
    line(" exit-address-family");
  }

  const BgpPlan& plan_;
  const BgpPasswords& passwords_;
  bool graceful_ = false;  // some peer is told so
  std::string text_;
};

// --- From one text to the next

// A line with the lines it stands in: {"router bgp 1", "address-family ipv4 unicast", "network 10.0.0.0/8"}.
using Statement = std::vector<std::string>;

bool opens(std::string_view line) {
  return line.starts_with("router bgp ") || line.starts_with("route-map ") || line.starts_with("address-family ");
}

std::vector<Statement> statements(std::string_view text) {
  std::vector<Statement> all;
  Statement inside;
  while (!text.empty()) {
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const auto first = line.find_first_not_of(' ');
    if (first == std::string_view::npos) continue;
    line.remove_prefix(first);
    if (line == "!" || line == "exit" || line == "exit-address-family") {
      if (line != "!" && !inside.empty()) inside.pop_back();
      continue;
    }
    if (line.starts_with("frr ") || line.starts_with("log ")) continue;  // of the process, always the same
    auto statement = inside;
    statement.emplace_back(line);
    all.push_back(statement);
    if (opens(line)) inside = std::move(statement);
  }
  return all;
}

// "neighbor A remote-as N": "neighbor A"; nothing for other lines.
std::string neighbor_of(const std::string& line) {
  if (!line.starts_with("neighbor ")) return {};
  return line.substr(0, line.find(' ', std::string_view("neighbor ").size()));
}

// What removes a statement.
std::string negated(const std::string& line) {
  if (line.starts_with("no ")) return line.substr(3);
  if (line.contains(" description ")) return "no " + line.substr(0, line.find(" description ") + 12);
  return "no " + line;
}

class Changes {
 public:
  Changes(std::string_view before, std::string_view now) : before_(statements(before)), now_(statements(now)) {}

  [[nodiscard]] bool start_anew() const {
    const std::set<Statement> wanted(now_.begin(), now_.end());
    return std::ranges::any_of(before_, [&](const Statement& statement) {
      return statement.size() == 1 && statement[0].starts_with("router bgp ") && !wanted.contains(statement);
    });
  }

  std::vector<std::string> commands() {
    drop();
    const std::set<Statement> there(before_.begin(), before_.end());
    for (const auto& statement : now_)
      if (!there.contains(statement)) emit(statement, statement.back());
    if (commands_.empty()) return {};
    commands_.insert(commands_.begin(), "configure terminal");
    commands_.emplace_back("end");
    return std::move(commands_);
  }

 private:
  // Removes what is not wanted, with what stands in it: that has to be said again if it is wanted.
  void drop() {
    const std::set<Statement> wanted(now_.begin(), now_.end());
    std::set<std::string> gone_neighbors;
    for (const auto& statement : before_)
      if (!wanted.contains(statement) && statement.back().contains(" remote-as "))
        gone_neighbors.insert(neighbor_of(statement.back()));
    std::set<Statement> gone;
    for (const auto& statement : before_) {
      if (const auto neighbor = neighbor_of(statement.back()); gone_neighbors.contains(neighbor)) {
        if (statement.back().contains(" remote-as ")) emit(statement, "no " + neighbor);
        gone.insert(statement);
      } else if (wanted.contains(statement)) {
        continue;
      } else {
        // Not of a statement that was removed whole.
        const Statement outer(statement.begin(), statement.end() - 1);
        gone.insert(statement);
        if (gone.contains(outer)) continue;
        emit(statement, negated(statement.back()));
      }
    }
    std::erase_if(before_, [&](const Statement& statement) {
      for (auto outer = statement; !outer.empty(); outer.pop_back())
        if (gone.contains(outer)) return true;
      return false;
    });
  }

  // `line` where `statement` stands.
  void emit(const Statement& statement, const std::string& line) {
    for (std::size_t i = 0; i + 1 < statement.size(); ++i) commands_.push_back(statement[i]);
    commands_.push_back(line);
    const auto depth = statement.size() - (opens(line) ? 0 : 1);
    for (std::size_t i = 0; i < depth; ++i) commands_.emplace_back("exit");
  }

  std::vector<Statement> before_;
  std::vector<Statement> now_;
  std::vector<std::string> commands_;
};

}  // namespace

std::string frr_configuration(const BgpPlan& plan, const BgpPasswords& passwords) {
  return Writer(plan, passwords).write();
}

std::optional<std::vector<std::string>> frr_changes(std::string_view before, std::string_view now) {
  Changes changes(before, now);
  if (changes.start_anew()) return std::nullopt;
  return changes.commands();
}

}  // namespace weft::control
