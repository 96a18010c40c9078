#include "flow/filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "abi/endpoint.h"
#include "api/params.h"
#include "api/request.h"
#include "flow/event.h"

namespace weft::flow {
namespace {

const std::vector<std::string>& known_keys() {
  static const std::vector<std::string> keys{
      "pod",        "from_pod", "to_pod",   "namespace",     "from_namespace", "to_namespace", "label",
      "from_label", "to_label", "identity", "from_identity", "to_identity",    "ip",           "port",
      "protocol",   "verdict",  "type",     "drop_reason",   "service"};
  return keys;
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::unexpected<Error> wrong(const std::string& key, const std::string& entry, std::string_view expected) {
  return fail(ErrorCode::invalid,
              fmt::format("filters.{}: \"{}\" is not {}", key, std::string_view(entry).substr(0, 100), expected));
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (auto& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

// One of `words` whatever the case; words are matched by their lower-case form.
Result<std::string> one_of(const std::string& key, const std::string& entry, const std::vector<std::string>& words) {
  for (const auto& word : words)
    if (lower(word) == lower(entry)) return word;
  const auto near = api::nearest(lower(entry), words);
  auto error = wrong(key, entry, "known").error();
  error.hint = (near.empty() ? "it is one of " : "did you mean ") + join(near.empty() ? words : near);
  return fail(std::move(error));
}

Result<std::uint32_t> parse_identity(const std::string& key, const std::string& entry) {
  const auto name = lower(entry.starts_with("reserved:") ? entry.substr(9) : entry);
  if (name == "host") return WEFT_IDENTITY_HOST;
  if (name == "world") return WEFT_IDENTITY_WORLD;
  if (name == "unmanaged") return WEFT_IDENTITY_UNMANAGED;
  if (name == "init") return WEFT_IDENTITY_INIT;
  if (name == "remote-node") return WEFT_IDENTITY_REMOTE_NODE;
  std::uint32_t number = 0;
  const auto* end = entry.data() + entry.size();
  if (const auto [at, error] = std::from_chars(entry.data(), end, number); error != std::errc{} || at != end)
    return wrong(key, entry, "an identity: a number, host, world, unmanaged or init");
  return number;
}

Result<Cidr> parse_address(const std::string& key, const std::string& entry) {
  if (auto cidr = Cidr::parse(entry)) return *cidr;
  auto address = IpAddress::parse(entry);
  if (!address) return wrong(key, entry, "an address or a CIDR");
  return Cidr(*address, address->is_v4() ? 32 : 128);
}

bool equal_label(std::string_view label, std::string_view key, std::string_view value, bool any_value) {
  const auto equals = label.find('=');
  const auto name = label.substr(0, equals);
  if (name != key) return false;
  return any_value || (equals == std::string_view::npos ? value.empty() : label.substr(equals + 1) == value);
}

template <class Match>
bool at_end(End end, const Flow& flow, Match&& match) {
  return (end != End::destination && match(flow.source)) || (end != End::source && match(flow.destination));
}

std::uint16_t host_order(__be16 port) { return static_cast<std::uint16_t>(__builtin_bswap16(port)); }

bool has_ports(std::uint8_t protocol) {
  return protocol != static_cast<std::uint8_t>(Protocol::icmp) &&
         protocol != static_cast<std::uint8_t>(Protocol::icmpv6);
}

}  // namespace

Result<FlowFilter> FlowFilter::parse(const nlohmann::json& filters) {
  FlowFilter filter;
  if (filters.is_null()) return filter;
  if (!filters.is_object())
    return fail(ErrorCode::invalid, fmt::format("filters: expected an object, found {}", filters.type_name()));
  for (const auto& [key, value] : filters.items()) {
    if (std::ranges::find(known_keys(), key) == known_keys().end()) {
      const auto near = api::nearest(key, known_keys());
      return fail(ErrorCode::invalid, fmt::format("filters: there is no filter \"{}\"", key.substr(0, 100)),
                  (near.empty() ? "the filters are " : "did you mean ") + join(near.empty() ? known_keys() : near));
    }
    auto entries = api::optional_texts(filters, key.c_str());
    if (!entries) return fail(ErrorCode::invalid, fmt::format("filters.{}: expected text or an array of text", key));
    if (entries->empty()) continue;
    WEFT_CHECK(filter.add(key, *entries));
  }
  return filter;
}

Result<bool> FlowFilter::add_ends(const std::string& key, const std::vector<std::string>& entries) {
  const auto end = key.starts_with("from_") ? End::source : key.starts_with("to_") ? End::destination : End::either;
  const auto what = end == End::source ? key.substr(5) : end == End::destination ? key.substr(3) : key;
  if (what == "pod") {
    Condition<Pod> condition{end, {}};
    for (const auto& entry : entries) {
      if (entry.empty() || entry == "/") return wrong(key, entry, "a pod: NAME, NAMESPACE/NAME or NAMESPACE/");
      const auto slash = entry.find('/');
      condition.any_of.push_back(slash == std::string::npos ? Pod{"", entry}
                                                            : Pod{entry.substr(0, slash), entry.substr(slash + 1)});
    }
    pods_.push_back(std::move(condition));
  } else if (what == "namespace") {
    namespaces_.push_back({end, entries});
  } else if (what == "label") {
    Condition<LabelSet> condition{end, {}};
    for (const auto& entry : entries) {
      LabelSet labels;
      for (std::size_t at = 0; at <= entry.size();) {
        const auto comma = std::min(entry.find(',', at), entry.size());
        const auto text = entry.substr(at, comma - at);
        const auto equals = text.find('=');
        if (text.empty() || equals == 0)
          return wrong(key, entry, "a label: KEY=VALUE or KEY, several joined by commas");
        labels.push_back(equals == std::string::npos ? Label{text, "", true}
                                                     : Label{text.substr(0, equals), text.substr(equals + 1), false});
        at = comma + 1;
      }
      condition.any_of.push_back(std::move(labels));
    }
    labels_.push_back(std::move(condition));
  } else if (what == "identity") {
    Condition<std::uint32_t> condition{end, {}};
    for (const auto& entry : entries) {
      WEFT_TRY(const auto identity, parse_identity(key, entry));
      condition.any_of.push_back(identity);
    }
    identities_.push_back(std::move(condition));
  } else {
    return false;
  }
  return true;
}

Result<void> FlowFilter::add(const std::string& key, const std::vector<std::string>& entries) {
  WEFT_TRY(const bool done, add_ends(key, entries));
  if (done) return {};
  for (const auto& entry : entries) {
    if (key == "ip") {
      WEFT_TRY(auto cidr, parse_address(key, entry));
      addresses_.push_back(cidr);
    } else if (key == "port") {
      auto port = PortProtocol::parse(entry);
      if (!port || port->port == 0) return wrong(key, entry, "a port: 80 or 80/TCP");
      ports_.push_back({port->port, entry.contains('/') ? port->protocol : Protocol::any});
    } else if (key == "protocol") {
      auto protocol = parse_protocol(entry);
      if (!protocol) return wrong(key, entry, "a protocol: TCP, UDP, SCTP, ICMP, ICMPv6 or a number");
      protocols_.push_back(*protocol);
    } else if (key == "verdict") {
      WEFT_TRY(auto verdict, one_of(key, entry, {"FORWARDED", "DROPPED", "TRANSLATED", "allow", "deny"}));
      verdicts_.push_back(verdict == "allow" ? "FORWARDED" : verdict == "deny" ? "DROPPED" : verdict);
    } else if (key == "type") {
      WEFT_TRY(auto type, one_of(key, entry, {"new", "denied", "closed", "translated"}));
      types_.push_back(std::move(type));
    } else if (key == "drop_reason") {
      std::vector<std::string> names;
      for (unsigned i = 1; i < WEFT_DROP_REASON_COUNT; ++i) names.emplace_back(drop_reason_name(i));
      WEFT_TRY(const auto name, one_of(key, entry, names));
      drop_reasons_.push_back(static_cast<std::uint8_t>(std::ranges::find(names, name) - names.begin() + 1));
    } else if (key == "service") {
      if (entry.empty() || entry == "/") return wrong(key, entry, "a service: NAME, NAMESPACE/NAME or NAMESPACE/");
      const auto text = entry.starts_with("svc/") ? entry.substr(4) : entry;
      const auto slash = text.find('/');
      services_.push_back(slash == std::string::npos ? Pod{"", text}
                                                     : Pod{text.substr(0, slash), text.substr(slash + 1)});
    }
  }
  return {};
}

bool FlowFilter::matches(const Pod& pod, const Party* party) {
  if (party == nullptr || party->pod.empty()) return false;
  if (!pod.namespace_.empty() && pod.namespace_ != party->namespace_) return false;
  return pod.name.empty() || pod.name == party->pod || pod.name == party->workload;
}

bool FlowFilter::matches(const LabelSet& wanted, const Side& side) {
  if (!side.labels) return false;
  return std::ranges::all_of(wanted, [&](const Label& label) {
    return std::ranges::any_of(side.labels->labels, [&](std::string_view text) {
      if (equal_label(text, label.key, label.value, label.any_value)) return true;
      return text.starts_with("k8s:") && equal_label(text.substr(4), label.key, label.value, label.any_value);
    });
  });
}

bool FlowFilter::matches_packet(const Flow& flow) const {
  const auto& event = flow.event;
  if (!addresses_.empty()) {
    const std::array addresses{address_of(event.saddr), address_of(event.daddr), address_of(event.backend_addr)};
    const std::size_t count = is_zero(event.backend_addr) ? 2 : 3;
    if (std::ranges::none_of(addresses_, [&](const Cidr& cidr) {
          return std::any_of(addresses.begin(), addresses.begin() + static_cast<std::ptrdiff_t>(count),
                             [&](const IpAddress& address) { return cidr.contains(address); });
        }))
      return false;
  }
  if (!ports_.empty() && std::ranges::none_of(ports_, [&](const Port& port) {
        return has_ports(event.protocol) &&
               (port.protocol == Protocol::any || port.protocol == Protocol{event.protocol}) &&
               (port.port == host_order(event.sport) || port.port == host_order(event.dport) ||
                port.port == host_order(event.backend_port));
      }))
    return false;
  return protocols_.empty() || std::ranges::find(protocols_, Protocol{event.protocol}) != protocols_.end();
}

bool FlowFilter::matches_outcome(const Flow& flow) const {
  auto among = [](const auto& wanted, const auto& value) {
    return wanted.empty() || std::ranges::find(wanted, value) != wanted.end();
  };
  if (!among(verdicts_, verdict_name(flow.event)) || !among(types_, type_name(flow.event))) return false;
  if (!drop_reasons_.empty() && (flow.event.type != WEFT_EVENT_DENIED || !among(drop_reasons_, flow.event.drop_reason)))
    return false;
  return services_.empty() || (flow.service && std::ranges::any_of(services_, [&](const Pod& wanted) {
                                 return (wanted.namespace_.empty() || wanted.namespace_ == flow.service->namespace_) &&
                                        (wanted.name.empty() || wanted.name == flow.service->name);
                               }));
}

bool FlowFilter::matches(const Flow& flow) const {
  auto all = [&](const auto& conditions, auto&& match) {
    return std::ranges::all_of(conditions, [&](const auto& condition) {
      return std::ranges::any_of(condition.any_of, [&](const auto& wanted) {
        return at_end(condition.end, flow, [&](const Side& side) { return match(wanted, side); });
      });
    });
  };
  return matches_outcome(flow) && matches_packet(flow) &&
         all(identities_, [](std::uint32_t wanted, const Side& side) { return side.identity == wanted; }) &&
         all(namespaces_, [](const std::string& wanted,
                             const Side& side) { return side.party && side.party->namespace_ == wanted; }) &&
         all(pods_, [](const Pod& wanted, const Side& side) { return matches(wanted, side.party.get()); }) &&
         all(labels_, [](const LabelSet& wanted, const Side& side) { return matches(wanted, side); });
}

}  // namespace weft::flow
