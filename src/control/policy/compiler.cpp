#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "control/policy/describe.h"
#include "control/policy/match.h"
#include "control/policy/policy.h"
#include "control/policy/room.h"
#include "control/policy/world.h"

namespace weft::control {
namespace {

using namespace policy_internal;  // NOLINT: this room itself

struct PortRow {
  std::uint16_t port = 0;
  std::uint8_t prefix = 0;
  Protocol protocol = Protocol::any;
};

struct NamedPort {
  std::string name;
  Protocol protocol = Protocol::tcp;
  auto operator<=>(const NamedPort&) const = default;
};

// A rule as rows without their class: peers x ports, and for egress by port name single pairs.
struct CompiledRule {
  RuleId id = 0;
  std::vector<IdentityId> peers;
  std::vector<PortRow> ports;
  std::vector<NamedPort> own_ports;  // ingress: resolved on the selected pod
  std::vector<std::pair<IdentityId, PortRow>> pairs;
};

struct ActivePolicy {
  const model::NetworkPolicy* policy = nullptr;
  model::ObjectKey key;
  std::string class_part;              // "ns/name@revision;"
  std::vector<CompiledRule> rules[2];  // by weft_direction
  std::set<NamedPort> own_ports;       // of all ingress rules
  bool is_closed = false;

  [[nodiscard]] std::size_t most_rows() const {
    std::size_t rows = 0;
    for (const auto& direction : rules)
      for (const auto& rule : direction)
        rows += rule.peers.size() * (rule.ports.size() + rule.own_ports.size()) + rule.pairs.size();
    return rows;
  }
  // It goes on to select, and allows nothing.
  void close() {
    is_closed = true;
    class_part += "closed;";
    for (auto& direction : rules) direction.clear();
    own_ports.clear();
  }
};

struct Row {
  weft_policy_key key;
  RuleId rule;
};

// The pods that an egress rule reaches through an ipBlock on a named port: there the address alone
// does not tell the port, so each such address becomes a CIDR of its own.
template <class Visitor>
void visit_named_block_peers(const model::PolicyRule& rule, const PolicyInput& input, Visitor visit) {
  for (const auto& port : rule.ports) {
    const auto* name = port_name(port);
    if (name == nullptr) continue;
    for (const auto& peer : rule.peers) {
      if (!peer.ip_block) continue;
      for (const auto* endpoints : {&input.endpoints, &input.peers})
        for (const auto& endpoint : *endpoints) {
          const auto numbers = resolve_named_port(endpoint.ports, *name, port.protocol);
          if (numbers.empty()) continue;
          for (const auto& address : endpoint.addresses)
            if (block_holds(*peer.ip_block, host_cidr(address))) visit(host_cidr(address), numbers, port.protocol);
        }
    }
  }
}

template <class Visitor>
void visit_blocks(const model::NetworkPolicy& policy, Visitor visit) {
  for (const auto* rules : {&policy.ingress, &policy.egress})
    for (const auto& rule : *rules)
      for (const auto& peer : rule.peers)
        if (peer.ip_block) visit(*peer.ip_block);
}

// The policies that name more CIDRs than there is room for.
std::set<model::ObjectKey> without_cidr_room(const PolicyInput& input) {
  std::map<model::ObjectKey, std::size_t> claims;
  for (const auto& [key, policy] : *input.policies)
    visit_blocks(policy, [&](const model::IpBlock& block) { claims[key] += 1 + block.except.size(); });
  return without_room(claims, input.cidr_room);
}

std::vector<Cidr> named_cidrs(const PolicyInput& input, const std::set<model::ObjectKey>& closed) {
  std::vector<Cidr> cidrs;
  for (const auto& [key, policy] : *input.policies) {
    if (closed.contains(key)) continue;
    visit_blocks(policy, [&](const model::IpBlock& block) {
      cidrs.push_back(block.cidr);
      std::ranges::copy(block.except, std::back_inserter(cidrs));
    });
    if (policy.applies_egress)
      for (const auto& rule : policy.egress)
        visit_named_block_peers(rule, input, [&](const Cidr& cidr, const auto&, Protocol) { cidrs.push_back(cidr); });
  }
  std::ranges::sort(cidrs);
  cidrs.erase(std::ranges::unique(cidrs).begin(), cidrs.end());
  return cidrs;
}

void sort_unique(std::vector<IdentityId>& identities) {
  std::ranges::sort(identities);
  identities.erase(std::ranges::unique(identities).begin(), identities.end());
}

// One compile.
class Pass {
 public:
  Pass(const PolicyInput& input, RuleTable& rules, const std::map<Cidr, IdentityId>& cidrs)
      : input_(input), rules_(rules), cidrs_(cidrs), world_(input) {}

  // First step: the policies that select somebody, and who is selected by which. Of `closed` none allows anything.
  void select(std::set<model::ObjectKey> closed);
  // Second step: those that there is no room for are closed, too. Returns all that are.
  std::set<model::ObjectKey> close();
  [[nodiscard]] std::set<model::ObjectKey> concerning() const;
  // The meaning of a group's class as text; empty: no policy selects it.
  [[nodiscard]] std::string class_key(std::size_t group) const;
  // The rows of a class whose example is `group`, into `rows`; and how its endpoints stand.
  EndpointPolicy emit(std::uint32_t policy_class, std::size_t group, PolicyRows& rows);

  [[nodiscard]] const PolicyWorld& world() const { return world_; }

 private:
  [[nodiscard]] std::map<model::ObjectKey, std::size_t> row_claims() const;
  ActivePolicy compile(const model::ObjectKey& key, const model::NetworkPolicy& policy);
  CompiledRule compile(const ActivePolicy& owner, weft_direction direction, int index);
  void add_block(const model::IpBlock& block, std::vector<IdentityId>& identities) const;
  void add_egress_names(const model::PolicyRule& rule, const std::vector<IdentityId>& pods, CompiledRule& out) const;
  void add_rows(const CompiledRule& rule, weft_direction direction, const PolicyEndpoint& example);
  RuleId default_rule(weft_direction direction, std::size_t group);

  const PolicyInput& input_;
  RuleTable& rules_;
  const std::map<Cidr, IdentityId>& cidrs_;
  std::set<model::ObjectKey> closed_;
  PolicyWorld world_;
  std::vector<ActivePolicy> active_;                 // in (namespace, name) order
  std::vector<std::vector<std::size_t>> selecting_;  // by group: positions in active_, ascending
  std::vector<Row> scratch_;
  std::uint32_t policy_class_ = 0;
};

void Pass::select(std::set<model::ObjectKey> closed) {
  closed_ = std::move(closed);
  selecting_.resize(world_.groups().size());
  for (const auto& [key, policy] : *input_.policies) {
    bool concerns = false;
    for (const auto group : world_.selected_by(policy)) {
      if (!world_.groups()[group].local) continue;
      selecting_[group].push_back(active_.size());
      concerns = true;
    }
    if (concerns) active_.push_back(compile(key, policy));
  }
}

// Each class has the rows of all policies that select it. Empty where even a class for each group would fit, as is
// usual: then no class has to be told from another.
std::map<model::ObjectKey, std::size_t> Pass::row_claims() const {
  std::size_t most = 0;
  for (const auto& positions : selecting_)
    for (const auto position : positions) most += active_[position].most_rows();
  std::map<model::ObjectKey, std::size_t> claims;
  if (most <= input_.row_room) return claims;
  std::set<std::string> seen;
  for (std::size_t group = 0; group < selecting_.size(); ++group)
    if (seen.insert(class_key(group)).second)
      for (const auto position : selecting_[group]) claims[active_[position].key] += active_[position].most_rows();
  return claims;
}

std::set<model::ObjectKey> Pass::close() {
  const auto without = without_room(row_claims(), input_.row_room);
  std::set<model::ObjectKey> closed;
  for (auto& policy : active_) {
    if (without.contains(policy.key)) policy.close();
    if (policy.is_closed) closed.insert(policy.key);
  }
  return closed;
}

std::set<model::ObjectKey> Pass::concerning() const {
  std::set<model::ObjectKey> keys;
  for (const auto& policy : active_) keys.insert(keys.end(), policy.key);
  return keys;
}

ActivePolicy Pass::compile(const model::ObjectKey& key, const model::NetworkPolicy& policy) {
  ActivePolicy result{.policy = &policy, .key = key};
  const auto revision = input_.revisions->find(key);
  result.class_part =
      fmt::format("{}@{};", key.to_string(), revision == input_.revisions->end() ? 0 : revision->second);
  if (closed_.contains(key)) {
    result.close();
    return result;
  }
  for (const auto direction : {WEFT_INGRESS, WEFT_EGRESS}) {
    if (!applies(policy, direction)) continue;
    const auto count = rules_of(policy, direction).size();
    for (std::size_t index = 0; index < count; ++index)
      result.rules[direction].push_back(compile(result, direction, static_cast<int>(index)));
  }
  for (const auto& rule : result.rules[WEFT_INGRESS])
    result.own_ports.insert(rule.own_ports.begin(), rule.own_ports.end());
  return result;
}

CompiledRule Pass::compile(const ActivePolicy& owner, weft_direction direction, int index) {
  const auto& rule = rules_of(*owner.policy, direction)[static_cast<std::size_t>(index)];
  CompiledRule result;
  result.id =
      rules_.id({.kind = RuleDescription::Kind::rule, .direction = direction, .policy = owner.key, .index = index});

  std::vector<IdentityId> pods;
  for (const auto& peer : rule.peers) {
    if (peer.ip_block)
      add_block(*peer.ip_block, result.peers);
    else
      world_.add_peers(peer, owner.key.namespace_, pods);
  }
  sort_unique(pods);
  result.peers.insert(result.peers.end(), pods.begin(), pods.end());
  sort_unique(result.peers);
  if (rule.peers.empty()) result.peers = {WEFT_IDENTITY_ANY};

  if (rule.ports.empty()) result.ports.push_back({});
  for (const auto& port : rule.ports) {
    if (!port.port) {
      result.ports.push_back({.protocol = port.protocol});
    } else if (const auto* number = std::get_if<std::uint16_t>(&*port.port)) {
      for (const auto& [first, length] : port_prefixes(*number, port.end_port == 0 ? *number : port.end_port))
        result.ports.push_back({first, static_cast<std::uint8_t>(length), port.protocol});
    } else if (direction == WEFT_INGRESS) {
      result.own_ports.push_back({*port_name(port), port.protocol});
    }
  }
  if (direction == WEFT_EGRESS) add_egress_names(rule, pods, result);
  return result;
}

void Pass::add_block(const model::IpBlock& block, std::vector<IdentityId>& identities) const {
  // Sorted by address: the CIDRs inside the block lie together, except that a block of the other
  // family may stand between them.
  for (auto entry = cidrs_.lower_bound(block.cidr); entry != cidrs_.end(); ++entry) {
    const auto& [cidr, identity] = *entry;
    if (cidr.family() != block.cidr.family()) continue;
    if (!block.cidr.contains(cidr.address())) break;
    if (block_holds(block, cidr)) identities.push_back(identity);
  }
}

void Pass::add_egress_names(const model::PolicyRule& rule, const std::vector<IdentityId>& pods,
                            CompiledRule& out) const {
  const auto add = [&](IdentityId peer, const std::vector<std::uint16_t>& numbers, Protocol protocol) {
    for (const auto number : numbers) out.pairs.emplace_back(peer, PortRow{number, 16, protocol});
  };
  for (const auto& port : rule.ports) {
    const auto* name = port_name(port);
    if (name == nullptr) continue;
    for (const auto identity : rule.peers.empty() ? world_.all_identities() : pods)
      add(identity, world_.named_port(identity, *name, port.protocol), port.protocol);
  }
  visit_named_block_peers(rule, input_, [&](const Cidr& cidr, const auto& numbers, Protocol protocol) {
    if (const auto known = cidrs_.find(cidr); known != cidrs_.end()) add(known->second, numbers, protocol);
  });
}

std::string Pass::class_key(std::size_t group) const {
  std::string key;
  std::set<NamedPort> names;
  for (const auto position : selecting_[group]) {
    key += active_[position].class_part;
    names.insert(active_[position].own_ports.begin(), active_[position].own_ports.end());
  }
  for (const auto& name : names) {
    auto numbers = resolve_named_port(world_.groups()[group].example->ports, name.name, name.protocol);
    std::ranges::sort(numbers);
    for (const auto number : numbers) key += fmt::format(" {}={}/{}", name.name, number, to_string(name.protocol));
  }
  return key;
}

void Pass::add_rows(const CompiledRule& rule, weft_direction direction, const PolicyEndpoint& example) {
  const auto add = [&](IdentityId peer, const PortRow& port) {
    scratch_.push_back({{.policy_class = policy_class_,
                         .identity = peer,
                         .port = port.port,
                         .protocol = static_cast<std::uint8_t>(port.protocol),
                         .direction_prefix = static_cast<std::uint8_t>(direction << 7 | port.prefix)},
                        rule.id});
  };
  for (const auto peer : rule.peers) {
    for (const auto& port : rule.ports) add(peer, port);
    for (const auto& name : rule.own_ports)
      for (const auto number : resolve_named_port(example.ports, name.name, name.protocol))
        add(peer, {number, 16, name.protocol});
  }
  for (const auto& [peer, port] : rule.pairs) add(peer, port);
}

RuleId Pass::default_rule(weft_direction direction, std::size_t group) {
  RuleDescription description{.kind = RuleDescription::Kind::default_deny, .direction = direction};
  for (const auto position : selecting_[group])
    if (applies(*active_[position].policy, direction)) description.isolating.push_back(active_[position].key);
  return description.isolating.empty() ? 0 : rules_.id(description);
}

EndpointPolicy Pass::emit(std::uint32_t policy_class, std::size_t group, PolicyRows& rows) {
  EndpointPolicy stand{.policy_class = policy_class};
  policy_class_ = policy_class;
  scratch_.clear();
  for (const auto direction : {WEFT_INGRESS, WEFT_EGRESS}) {
    stand.default_rule[direction] = default_rule(direction, group);
    stand.enforced[direction] = stand.default_rule[direction] != 0;
    for (const auto position : selecting_[group])
      for (const auto& rule : active_[position].rules[direction])
        add_rows(rule, direction, *world_.groups()[group].example);
  }
  // Stable: of several rules with one key the first in policy and rule order names it.
  const PolicyKeyLess less;
  std::ranges::stable_sort(scratch_, less, &Row::key);
  for (const auto& row : scratch_) {
    const weft_policy_entry entry{.rule = row.rule, .verdict = WEFT_POLICY_ALLOW};
    rows.try_emplace(rows.end(), row.key, entry);
    stand.prefix_mask[row.key.direction_prefix >> 7] |= 1U << (row.key.direction_prefix & 0x7f);
  }
  return stand;
}

}  // namespace

bool knows_peers_by_address(const model::NetworkPolicy& policy) {
  return policy.applies_egress && std::ranges::any_of(policy.egress, [](const model::PolicyRule& rule) {
           return std::ranges::any_of(rule.ports, [](const auto& port) { return port_name(port) != nullptr; }) &&
                  std::ranges::any_of(rule.peers, [](const auto& peer) { return peer.ip_block.has_value(); });
         });
}

void PolicyCompiler::restore(std::map<std::string, std::uint32_t> classes, std::uint32_t used) {
  ++class_revision_;
  classes_ = std::move(classes);
  free_classes_.clear();
  next_class_ = used + 1;
  for (const auto& [key, number] : classes_) next_class_ = std::max(next_class_, number + 1);
}

std::uint32_t PolicyCompiler::allocate_class() {
  if (free_classes_.empty()) return next_class_++;
  const auto number = free_classes_.front();
  free_classes_.pop_front();
  return number;
}

void PolicyCompiler::retire_classes(std::map<std::string, std::uint32_t> used) {
  std::size_t kept = 0;
  for (const auto& [key, number] : classes_) {
    if (used.contains(key))
      ++kept;
    else
      free_classes_.push_back(number);
  }
  // A class that is kept keeps its number.
  if (kept == classes_.size() && kept == used.size()) return;
  ++class_revision_;
  classes_ = std::move(used);
}

CompiledPolicy PolicyCompiler::compile(const PolicyInput& input) {
  CompiledPolicy result;
  rules_.begin_use();
  auto closed = without_cidr_room(input);
  result.cidrs = named_cidrs(input, closed);
  cidrs_.assign(result.cidrs);

  Pass pass(input, rules_, cidrs_.all());
  pass.select(std::move(closed));
  result.closed = pass.close();
  result.concerning = pass.concerning();

  std::map<std::string, std::uint32_t> used;
  std::map<std::uint32_t, std::size_t> example_of_class;  // in number order: rows are appended
  const auto group_count = pass.world().groups().size();
  std::vector<std::uint32_t> class_of_group(group_count, 0);
  for (std::size_t group = 0; group < group_count; ++group) {
    const auto key = pass.class_key(group);
    if (key.empty()) continue;
    const auto [entry, added] = used.try_emplace(key, 0);
    if (added) {
      const auto known = classes_.find(key);
      entry->second = known != classes_.end() ? known->second : allocate_class();
      example_of_class.emplace(entry->second, group);
    }
    class_of_group[group] = entry->second;
  }
  retire_classes(std::move(used));

  std::map<std::uint32_t, EndpointPolicy> stand_of_class;
  for (const auto& [number, group] : example_of_class) stand_of_class[number] = pass.emit(number, group, result.rows);
  for (std::size_t i = 0; i < input.endpoints.size(); ++i)
    result.endpoints[input.endpoints[i].pod] = stand_of_class[class_of_group[pass.world().group_of(i)]];
  return result;
}

}  // namespace weft::control
