#include "control/egress/egress.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "abi/hash.h"

namespace weft::control {

static_assert(model::most_gateways == WEFT_EGRESS_GATEWAYS);

namespace {

weft_addr to_abi(const IpAddress& address) {
  weft_addr result{};
  std::memcpy(&result, address.bytes().data(), sizeof result);
  return result;
}

std::optional<IpAddress> of_family(const std::vector<IpAddress>& addresses, Family family) {
  const auto found = std::ranges::find(addresses, family, &IpAddress::family);
  return found == addresses.end() ? std::nullopt : std::optional(*found);
}

const char* name_of(Family family) { return family == Family::v4 ? "IPv4" : "IPv6"; }

// What leaves by an EgressGateway in one family.
struct Route {
  std::vector<std::uint16_t> nodes;  // as in the row
  unsigned spread = 0;
  std::optional<IpAddress> address;  // of this node, if it is among them
  std::uint32_t ifindex = 0;
};

// One EgressGateway.
class Planner {
 public:
  Planner(const EgressInput& input, const model::EgressGateway& gateway, EgressPlan& plan, EgressStatus& status)
      : input_(input), gateway_(gateway), plan_(plan), status_(status) {}

  void run() {
    list();
    check_interfaces();
    for (const auto family : {Family::v4, Family::v6}) {
      auto& route = family == Family::v4 ? v4_ : v6_;
      find_addresses(family);
      claim(family);
      choose(family, route);
      if (wants(family) && route.nodes.empty())
        problem(
            fmt::format("no gateway can be used for {}: packets of the pods it selects are dropped", name_of(family)));
    }
    if (status_.candidates.empty()) problem("no node is named, or selected, by its gateways");
  }
  [[nodiscard]] const Route& route(Family family) const { return family == Family::v4 ? v4_ : v6_; }

 private:
  struct Candidate {
    const std::string* name = nullptr;
    const EgressNode* node = nullptr;
    const model::EgressNodes* entry = nullptr;
  };

  // A node counts once, where it is named first.
  void add(const std::string& name, const EgressNode& node, const model::EgressNodes& entry) {
    if (std::ranges::any_of(candidates_, [&](const Candidate& known) { return *known.name == name; })) return;
    candidates_.push_back({&name, &node, &entry});
    status_.candidates.push_back({.node = name});
  }

  void list() {
    for (const auto& entry : gateway_.gateways) {
      if (!entry.node_selector) {
        const auto found = input_.nodes.find(entry.node);
        if (found == input_.nodes.end())
          problem(fmt::format("no node is named {}", entry.node));
        else
          add(found->first, found->second, entry);
        continue;
      }
      for (const auto& [name, node] : input_.nodes)
        if (entry.node_selector->matches(node.labels)) add(name, node, entry);
    }
    if (gateway_.failover == model::EgressGateway::Failover::drop && candidates_.size() > gateway_.max_gateways) {
      candidates_.resize(gateway_.max_gateways);
      for (auto at = candidates_.size(); at < status_.candidates.size(); ++at)
        status_.candidates[at].why_not = "failover is Drop: only the first gateways count";
    }
  }

  static std::optional<IpAddress>& slot(EgressCandidate& candidate, Family family) {
    return family == Family::v4 ? candidate.v4 : candidate.v6;
  }

  [[nodiscard]] const EgressUplink* uplink(const std::string& name) const {
    const auto found = std::ranges::find(input_.uplinks, name, &EgressUplink::name);
    return found == input_.uplinks.end() ? nullptr : &*found;
  }

  [[nodiscard]] bool lacks_interface(const Candidate& candidate) const {
    const auto& wanted = candidate.entry->interface;
    if (wanted.empty()) return false;
    if (candidate.node->self) return uplink(wanted) == nullptr;
    const auto& theirs = candidate.node->uplinks;
    return !theirs.empty() && std::ranges::find(theirs, wanted) == theirs.end();
  }

  // All nodes say so: who looks is seldom at the one that lacks it.
  void check_interfaces() {
    constexpr std::size_t named = 3;
    std::map<std::string, std::vector<std::string>> lacking;  // nodes by the interface
    for (const auto& candidate : candidates_)
      if (lacks_interface(candidate)) lacking[candidate.entry->interface].push_back(*candidate.name);
    for (auto& [interface, nodes] : lacking) {
      const auto more = nodes.size() > named ? fmt::format(" and {} more", nodes.size() - named) : std::string();
      nodes.resize(std::min(nodes.size(), named));
      problem(
          fmt::format("no uplink {} is at node {}{}: name another interface, or the device in its devices: "
                      "(weftd.yaml)",
                      interface, fmt::join(nodes, ", "), more));
    }
  }

  // What each would translate to. An address that is asked for is one node's at a time: the one's that has it.
  void find_addresses(Family family) {
    for (std::size_t at = 0; at < candidates_.size(); ++at) {
      const auto& [name, node, entry] = candidates_[at];
      auto& address = slot(status_.candidates[at], family);
      if (const auto asked = of_family(entry->addresses, family)) {
        if (holder_of(*asked) == *name) address = asked;
      } else if (entry->addresses.empty()) {  // else of the other family only
        address = of_family(node->underlay, family);
        if (!node->self || entry->interface.empty()) continue;
        const auto* by = uplink(entry->interface);
        address = by == nullptr ? std::nullopt : family == Family::v4 ? by->v4 : by->v6;
      }
    }
  }

  [[nodiscard]] std::string holder_of(const IpAddress& address) const {
    const auto found = input_.holders.find(address);
    return found == input_.holders.end() ? std::string() : found->second;
  }

  // Addresses that nobody has go to the first candidate that lives; who has one keeps it.
  void claim(Family family) {
    std::set<IpAddress> seen;
    for (const auto& candidate : candidates_) {
      const auto& [name, node, entry] = candidate;
      const auto asked = of_family(entry->addresses, family);
      if (!asked) continue;
      const auto why = refusal(*name, *asked);
      if (!why.empty()) problem_once(fmt::format("egressIPs: {} {}", asked->to_string(), why));
      if (lacks_interface(candidate)) continue;
      const auto holder = holder_of(*asked);
      const bool first = node->alive && why.empty() && seen.insert(*asked).second;
      if (!node->self || (holder != *name && !(holder.empty() && first))) continue;
      if (input_.refused.contains(*asked)) continue;
      plan_.claims.insert(*asked);
      if (holder != *name) continue;
      if (const auto device = device_for(*entry, *asked); !device.empty())
        plan_.addresses.insert({*asked, device});
      else
        problem(fmt::format("this node has no uplink to have {} on", asked->to_string()));
    }
  }

  // Why the node must not have the address, as the end of a sentence; empty: it may. All nodes say so, where it is
  // asked for rather than only where it would be.
  [[nodiscard]] std::string refusal(const std::string& name, const IpAddress& address) const {
    if (const auto why = input_.refused.find(address); why != input_.refused.end()) return why->second;
    for (const auto& [other, node] : input_.nodes)
      if (other != name && std::ranges::find(node.underlay, address) != node.underlay.end())
        return fmt::format("is node {}'s own address, node {} must not have it", other, name);
    return {};
  }

  [[nodiscard]] std::string device_for(const model::EgressNodes& entry, const IpAddress& address) const {
    if (!entry.interface.empty()) return uplink(entry.interface) == nullptr ? std::string() : entry.interface;
    for (const auto& each : input_.uplinks)
      if (std::ranges::any_of(each.networks, [&](const Cidr& network) { return network.contains(address); }))
        return each.name;
    return input_.uplinks.empty() ? std::string() : input_.uplinks.front().name;
  }

  [[nodiscard]] std::string why_not(std::size_t at, Family family) {
    const auto& [name, node, entry] = candidates_[at];
    if (!node->alive) return "it is away";
    if (lacks_interface(candidates_[at])) return fmt::format("it has no uplink {}", entry->interface);
    const auto& address = slot(status_.candidates[at], family);
    if (const auto asked = of_family(entry->addresses, family); asked && !address) {
      const auto holder = holder_of(*asked);
      return holder.empty() ? fmt::format("{} is nobody's yet", asked->to_string())
                            : fmt::format("{} is at node {}", asked->to_string(), holder);
    }
    if (!address) return fmt::format("it has no {} address", name_of(family));
    // It is told that it has the address a moment before it does.
    if (node->self)
      return input_.addresses.contains(*address) ? ""
                                                 : fmt::format("{} is not on its device yet", address->to_string());
    if (!node->unreachable.empty()) return node->unreachable;
    if (node->direct && !of_family(node->underlay, family))
      return fmt::format("it has no {} address to be sent to without a tunnel", name_of(family));
    return {};
  }

  void choose(Family family, Route& route) {
    std::vector<std::size_t> usable;
    for (std::size_t at = 0; at < candidates_.size(); ++at) {
      auto why = why_not(at, family);
      if (why.empty())
        usable.push_back(at);
      else if (wants(family))
        refuse(at, std::move(why));
    }
    // Where nobody answers, that says nothing of the gateways; and an address that is asked for is where it is.
    const bool tells = std::ranges::any_of(usable, [&](std::size_t at) { return candidates_[at].node->healthy; });
    for (const auto at : usable) {
      const bool elsewhere = !of_family(candidates_[at].entry->addresses, family);
      if (tells && elsewhere && !candidates_[at].node->healthy)
        refuse(at, "it does not answer this node");
      else
        take(at, family, route);
    }
    route.spread = std::min<unsigned>(gateway_.max_gateways, static_cast<unsigned>(route.nodes.size()));
  }

  void refuse(std::size_t at, std::string why) {
    auto& told = status_.candidates[at].why_not;
    if (told.empty()) told = std::move(why);
  }

  [[nodiscard]] bool wants(Family family) const {
    return std::ranges::any_of(gateway_.destinations, [&](const Cidr& cidr) { return cidr.family() == family; });
  }

  void take(std::size_t at, Family family, Route& route) {
    if (route.nodes.size() == WEFT_EGRESS_GATEWAYS) return;
    const auto& [name, node, entry] = candidates_[at];
    auto& told = status_.candidates[at];
    if (route.nodes.size() < gateway_.max_gateways)
      (family == Family::v4 ? told.used_v4 : told.used_v6) = wants(family);
    route.nodes.push_back(node->self ? WEFT_EGRESS_HERE : static_cast<std::uint16_t>(node->number));
    if (!node->self) {
      plan_.nodes.insert(*name);
      return;
    }
    route.address = slot(told, family);
    if (const auto* by = uplink(entry->interface)) route.ifindex = by->ifindex;
  }

  void problem_once(const std::string& text) {
    if (!status_.problem.contains(text)) problem(text);
  }
  void problem(const std::string& text) { status_.problem += (status_.problem.empty() ? "" : "; ") + text; }

  const EgressInput& input_;
  const model::EgressGateway& gateway_;
  EgressPlan& plan_;
  EgressStatus& status_;
  std::vector<Candidate> candidates_;
  Route v4_;
  Route v6_;
};

struct Planned {
  const model::EgressGateway* gateway = nullptr;
  Route v4;
  Route v6;
};
// By name: where two of them say as much about a destination the first has it.
using PlannedGateways = std::vector<Planned>;

bool selects(const model::EgressGateway& gateway, const LabelMap& pod, const LabelMap& space) {
  return std::ranges::any_of(gateway.selectors, [&](const model::EgressSelector& selector) {
    return (!selector.pod_selector || selector.pod_selector->matches(pod)) &&
           (!selector.namespace_selector || selector.namespace_selector->matches(space));
  });
}

// Who has a prefix: of those that do not exclude it, the one with the narrowest destination around it, then the first.
// What lies around a prefix is looked up length by length: there may be thousands.
class Owners {
 public:
  explicit Owners(const PlannedGateways& gateways) {
    for (const auto& planned : gateways) {
      for (const auto& cidr : planned.gateway->destinations) {
        auto& here = destinations_[cidr];
        if (here.empty() || here.back() != &planned) here.push_back(&planned);
      }
      excluded_[&planned].insert(planned.gateway->excluded.begin(), planned.gateway->excluded.end());
    }
  }
  [[nodiscard]] const Planned* of(const Cidr& prefix) const {
    const Planned* owner = nullptr;
    any_around(prefix, [&](const Cidr& around) {
      const auto found = destinations_.find(around);
      if (found == destinations_.end()) return false;
      const auto first =
          std::ranges::find_if(found->second, [&](const Planned* each) { return !excludes(*each, prefix); });
      if (first != found->second.end()) owner = *first;
      return owner != nullptr;
    });
    return owner;
  }

 private:
  // From the prefix itself to everything; until one is what is looked for.
  template <class Is>
  static bool any_around(const Cidr& prefix, const Is& is) {
    for (auto length = prefix.length() + 1; length-- > 0;)
      if (is(Cidr(prefix.address(), length))) return true;
    return false;
  }
  [[nodiscard]] bool excludes(const Planned& planned, const Cidr& prefix) const {
    const auto& excluded = excluded_.at(&planned);
    return !excluded.empty() && any_around(prefix, [&](const Cidr& around) { return excluded.contains(around); });
  }

  std::map<Cidr, std::vector<const Planned*>> destinations_;
  std::map<const Planned*, std::set<Cidr>> excluded_;
};

weft_egress row_of(const Route& route) {
  weft_egress row{};
  row.count = static_cast<std::uint8_t>(route.nodes.size());
  row.spread = static_cast<std::uint8_t>(route.spread);
  std::ranges::copy(route.nodes, row.node);
  if (route.address) {
    row.flags = WEFT_EGRESS_GATEWAY;
    row.address = to_abi(*route.address);
    row.ifindex = route.ifindex;
  }
  return row;
}

// Nothing where there are more than `room`.
std::map<Cidr, EgressRow> rows_of(const PlannedGateways& gateways, std::size_t room) {
  std::set<Cidr> prefixes;
  for (const auto& planned : gateways) {
    prefixes.insert(planned.gateway->destinations.begin(), planned.gateway->destinations.end());
    prefixes.insert(planned.gateway->excluded.begin(), planned.gateway->excluded.end());
  }
  // Otherwise ::/0 would catch IPv4, whose keys are IPv4-mapped.
  if (std::ranges::any_of(prefixes, [](const Cidr& prefix) { return !prefix.is_v4(); }))
    prefixes.insert(*Cidr::parse("0.0.0.0/0"));
  std::map<Cidr, EgressRow> rows;
  if (prefixes.size() > room) return rows;
  const Owners owners(gateways);
  for (const auto& prefix : prefixes) {
    auto& [row, by] = rows[prefix];
    if (const auto* owner = owners.of(prefix)) {
      row = row_of(prefix.is_v4() ? owner->v4 : owner->v6);
      by = owner->gateway->meta.key();
    } else {
      row.flags = WEFT_EGRESS_EXCLUDED;
    }
  }
  return rows;
}

// The narrowest prefix around all of the family's; nothing: there are none.
std::optional<Cidr> around(const PlannedGateways& gateways, Family family) {
  std::optional<Cidr> all;
  for (const auto& planned : gateways)
    for (const auto& cidr : planned.gateway->destinations) {
      if (cidr.family() != family) continue;
      if (!all) all = cidr;
      while (!all->contains(cidr)) all = Cidr(all->address(), all->length() - 1);
    }
  return all;
}

// Instead of the rows for which there is no room: nothing leaves to where one of the gateways leads, or between.
std::map<Cidr, EgressRow> closed_rows(const PlannedGateways& gateways) {
  std::map<Cidr, EgressRow> rows;
  const auto v4 = around(gateways, Family::v4);
  const auto v6 = around(gateways, Family::v6);
  if (v6) rows[*Cidr::parse("0.0.0.0/0")].row.flags = WEFT_EGRESS_EXCLUDED;
  for (const auto& prefix : {v4, v6})
    if (prefix) rows[*prefix] = {.row = {}, .gateway = gateways.front().gateway->meta.key()};
  return rows;
}

// What all identities that the same gateways select have in common.
struct Selection {
  PlannedGateways gateways;
  std::map<Cidr, EgressRow> rows;  // none: there is no room for them, whoever else has some
  std::map<Cidr, EgressRow> closed;
};

struct Selected {
  IdentityId id = 0;
  std::size_t turn = 0;  // how many of its namespace come before it
  const Selection* selection = nullptr;
};

void add_rows(EgressPlan& plan, IdentityId id, const std::map<Cidr, EgressRow>& rows) {
  for (const auto& [prefix, row] : rows) plan.rows.emplace(EgressPrefix{id, prefix}, row);
}

// Namespaces have room in turn, so that one whose pods have many sets of labels takes none of the others'. If not even
// closed ones fit, all are given, for the tables to refuse.
void fill_rows(EgressPlan& plan, std::vector<Selected> all, std::size_t room) {
  std::size_t least = 0;
  for (const auto& each : all)
    least += each.selection->rows.empty() ? each.selection->closed.size()
                                          : std::min(each.selection->rows.size(), each.selection->closed.size());
  std::ranges::stable_sort(all, {}, &Selected::turn);
  std::map<model::ObjectKey, std::size_t> left_out;
  std::size_t spare = room - std::min(room, least);
  for (const auto& [id, turn, selection] : all) {
    const auto& [gateways, rows, closed] = *selection;
    const auto more = rows.size() - std::min(rows.size(), closed.size());
    if (!rows.empty() && more <= spare) {
      spare -= more;
      add_rows(plan, id, rows);
      continue;
    }
    add_rows(plan, id, closed);
    for (const auto& planned : gateways) ++left_out[planned.gateway->meta.key()];
  }
  for (const auto& [key, count] : left_out) {
    auto& problem = plan.gateways.at(key).problem;
    problem += fmt::format(
        "{}there is no room for {} of the {} sets of labels it selects, whose pods' packets to its destinations are "
        "dropped: there are {} rows, one for each set of labels and CIDR; name fewer and wider CIDRs, or select "
        "fewer pods",
        problem.empty() ? "" : "; ", count, plan.gateways.at(key).identities.size(), room);
  }
}

}  // namespace

EgressPlan plan_egress(const EgressInput& input) {
  EgressPlan plan;
  PlannedGateways all;
  for (const auto& [key, gateway] : input.gateways) {
    Planner planner(input, gateway, plan, plan.gateways[key]);
    planner.run();
    all.push_back({&gateway, planner.route(Family::v4), planner.route(Family::v6)});
  }
  if (all.empty()) return plan;
  // Most identities are selected by nothing, and most others by the same.
  std::map<std::vector<bool>, Selection> known;
  std::map<std::string, std::size_t> turns;
  std::vector<Selected> selected;
  for (const auto& [id, identity] : input.identities) {
    const auto space = namespace_of(identity.labels);
    if (space.empty()) continue;
    LabelMap space_labels{{"kubernetes.io/metadata.name", space}};
    if (const auto found = input.namespaces.find(space); found != input.namespaces.end())
      space_labels.insert(found->second.begin(), found->second.end());
    const auto pod_labels = pod_labels_of(identity.labels);
    std::vector<bool> by(all.size());
    PlannedGateways selecting;
    for (std::size_t at = 0; at < all.size(); ++at) {
      by[at] = selects(*all[at].gateway, pod_labels, space_labels);
      if (!by[at]) continue;
      selecting.push_back(all[at]);
      plan.gateways[all[at].gateway->meta.key()].identities.insert(id);
    }
    if (selecting.empty()) continue;
    const auto [selection, added] = known.try_emplace(by);
    if (added) selection->second = {selecting, rows_of(selecting, input.room), closed_rows(selecting)};
    selected.push_back({id, turns[space]++, &selection->second});
  }
  fill_rows(plan, std::move(selected), input.room);
  return plan;
}

const EgressRow* EgressPlan::find(IdentityId identity, const IpAddress& destination) const {
  const EgressRow* found = nullptr;
  unsigned longest = 0;
  for (auto at = rows.lower_bound({identity, Cidr()}); at != rows.end() && at->first.identity == identity; ++at) {
    const auto& cidr = at->first.destination;
    if (!cidr.contains(destination) || cidr.length() + 1 <= longest) continue;
    longest = cidr.length() + 1;
    found = &at->second;
  }
  return found != nullptr && (found->row.flags & WEFT_EGRESS_EXCLUDED) == 0 ? found : nullptr;
}

std::optional<std::uint16_t> egress_gateway_of(const weft_egress& row, const IpAddress& pod) {
  if (row.count == 0) return std::nullopt;
  if (row.spread <= 1) return row.node[0];
  const auto address = to_abi(pod);
  const auto hash = weft_hash_client(0, &address);
  std::uint16_t liked = 0;
  std::uint32_t most = 0;
  for (unsigned i = 0; i < std::min<unsigned>(row.spread, WEFT_EGRESS_GATEWAYS); ++i) {
    const auto score = weft_hash_final(weft_hash_word(hash, row.node[i]));
    if (liked != 0 && score <= most) continue;
    liked = row.node[i];
    most = score;
  }
  return liked;
}

}  // namespace weft::control
