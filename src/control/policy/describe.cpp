#include "control/policy/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

namespace weft::control::policy_internal {
namespace {

using Operator = model::LabelRequirement::Operator;

// A YAML scalar that is a string whatever its text looks like.
std::string scalar(std::string_view text) {
  static constexpr std::array words{"true", "false", "yes", "no", "on", "off", "y", "n", "null"};
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  const bool starts_well = !lower.empty() && lower.front() >= 'a' && lower.front() <= 'z';
  const bool plain = std::ranges::all_of(lower, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == '/';
  });
  if (starts_well && plain && std::ranges::find(words, lower) == words.end()) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

std::string_view operator_name(Operator op) {
  switch (op) {
    case Operator::in:
      return "In";
    case Operator::not_in:
      return "NotIn";
    case Operator::exists:
      return "Exists";
    case Operator::does_not_exist:
      return "DoesNotExist";
  }
  return "Exists";
}

// Lines with their indentation in spaces.
class YamlWriter {
 public:
  void line(unsigned indent, std::string_view text) { lines_.push_back(std::string(indent, ' ').append(text)); }

  // `key: <selector>`, where `key` may begin with "- ".
  void selector(unsigned indent, std::string_view key, const model::LabelSelector& selector) {
    if (selector.empty()) return line(indent, fmt::format("{}: {{}}", key));
    line(indent, fmt::format("{}:", key));
    const unsigned inner = indent + 2 + (key.starts_with("- ") ? 2 : 0);
    std::map<std::string, std::string> labels;
    std::vector<model::LabelRequirement> expressions;
    for (const auto& requirement : selector.requirements) {
      const bool simple = requirement.op == Operator::in && requirement.values.size() == 1;
      if (!simple || !labels.try_emplace(requirement.key, requirement.values.front()).second)
        expressions.push_back(requirement);
    }
    if (!labels.empty()) line(inner, "matchLabels:");
    for (const auto& [label, value] : labels) line(inner + 2, fmt::format("{}: {}", scalar(label), scalar(value)));
    if (!expressions.empty()) line(inner, "matchExpressions:");
    for (const auto& requirement : expressions) {
      line(inner, fmt::format("- key: {}", scalar(requirement.key)));
      line(inner + 2, fmt::format("operator: {}", operator_name(requirement.op)));
      if (!requirement.values.empty()) line(inner + 2, "values:");
      for (const auto& value : requirement.values) line(inner + 2, fmt::format("- {}", scalar(value)));
    }
  }

  void peer(unsigned indent, const model::PolicyPeer& peer) {
    if (peer.ip_block) {
      line(indent, "- ipBlock:");
      line(indent + 4, fmt::format("cidr: {}", scalar(peer.ip_block->cidr.to_string())));
      if (!peer.ip_block->except.empty()) line(indent + 4, "except:");
      for (const auto& except : peer.ip_block->except)
        line(indent + 4, fmt::format("- {}", scalar(except.to_string())));
      return;
    }
    if (peer.namespace_selector) selector(indent, "- namespaceSelector", *peer.namespace_selector);
    if (peer.pod_selector) {
      if (peer.namespace_selector)
        selector(indent + 2, "podSelector", *peer.pod_selector);
      else
        selector(indent, "- podSelector", *peer.pod_selector);
    }
  }

  void port(unsigned indent, const model::PolicyPort& port) {
    line(indent, fmt::format("- protocol: {}", to_string(port.protocol)));
    if (!port.port) return;
    if (const auto* number = std::get_if<std::uint16_t>(&*port.port))
      line(indent + 2, fmt::format("port: {}", *number));
    else
      line(indent + 2, fmt::format("port: {}", scalar(std::get<std::string>(*port.port))));
    if (port.end_port != 0) line(indent + 2, fmt::format("endPort: {}", port.end_port));
  }

  void rules(std::string_view key, std::string_view peers_key, const std::vector<model::PolicyRule>& rules) {
    if (rules.empty()) return;
    line(2, fmt::format("{}:", key));
    for (const auto& rule : rules) {
      if (rule.peers.empty() && rule.ports.empty()) {
        line(2, "- {}");
        continue;
      }
      if (!rule.peers.empty()) line(2, fmt::format("- {}:", peers_key));
      for (const auto& each : rule.peers) peer(4, each);
      if (!rule.ports.empty()) line(2, rule.peers.empty() ? "- ports:" : "  ports:");
      for (const auto& each : rule.ports) port(4, each);
    }
  }

  std::vector<std::string> take() { return std::move(lines_); }

 private:
  std::vector<std::string> lines_;
};

}  // namespace

std::string_view name_of(weft_direction direction) { return direction == WEFT_EGRESS ? "egress" : "ingress"; }

bool has_ports(Protocol protocol) {
  return protocol == Protocol::tcp || protocol == Protocol::udp || protocol == Protocol::sctp;
}

std::string describe_port(Protocol protocol, std::uint16_t port) {
  return has_ports(protocol) ? fmt::format("{}/{}", port, to_string(protocol)) : to_string(protocol);
}

std::string describe(const model::PolicyPort& port) {
  const auto protocol = to_string(port.protocol);
  if (!port.port) return fmt::format("every {} port", protocol);
  if (const auto* name = std::get_if<std::string>(&*port.port)) return fmt::format("port {}/{}", *name, protocol);
  const auto number = std::get<std::uint16_t>(*port.port);
  return port.end_port == 0 ? fmt::format("{}/{}", number, protocol)
                            : fmt::format("{}-{}/{}", number, port.end_port, protocol);
}

std::string describe_ports(const model::PolicyRule& rule) {
  if (rule.ports.empty()) return "every port";
  std::vector<std::string> texts;
  for (const auto& port : rule.ports) texts.push_back(describe(port));
  return fmt::format("{}", fmt::join(texts, " or "));
}

std::string describe(const model::PolicyPeer& peer, const std::string& namespace_) {
  if (peer.ip_block) {
    std::vector<std::string> exceptions;
    for (const auto& except : peer.ip_block->except) exceptions.push_back(except.to_string());
    return fmt::format("addresses in {}{}{}", peer.ip_block->cidr.to_string(), exceptions.empty() ? "" : " except ",
                       fmt::join(exceptions, ", "));
  }
  if (!peer.pod_selector && !peer.namespace_selector) return "nobody";
  const bool all_pods = !peer.pod_selector || peer.pod_selector->empty();
  const auto pods = all_pods ? std::string("all pods") : fmt::format("pods {}", peer.pod_selector->to_string());
  if (!peer.namespace_selector) return fmt::format("{} in namespace {}", pods, namespace_);
  if (peer.namespace_selector->empty()) return fmt::format("{} in all namespaces", pods);
  return fmt::format("{} in namespaces {}", pods, peer.namespace_selector->to_string());
}

std::string describe_peers(const model::PolicyRule& rule, const std::string& namespace_) {
  if (rule.peers.empty()) return "everybody";
  std::vector<std::string> texts;
  for (const auto& peer : rule.peers) texts.push_back(describe(peer, namespace_));
  return fmt::format("{}", fmt::join(texts, " or "));
}

std::string describe(const ExplainSide& side) {
  if (side.pod) return side.pod->to_string();
  if (side.is_host) return "the node";
  return side.address ? side.address->to_string() : "the world outside";
}

std::vector<std::string> to_yaml(const model::NetworkPolicy& policy) {
  YamlWriter writer;
  writer.line(0, "apiVersion: networking.k8s.io/v1");
  writer.line(0, "kind: NetworkPolicy");
  writer.line(0, "metadata:");
  writer.line(2, fmt::format("name: {}", scalar(policy.meta.name)));
  writer.line(2, fmt::format("namespace: {}", scalar(policy.meta.namespace_)));
  writer.line(0, "spec:");
  writer.selector(2, "podSelector", policy.pod_selector);
  writer.line(2, "policyTypes:");
  if (policy.applies_ingress) writer.line(2, "- Ingress");
  if (policy.applies_egress) writer.line(2, "- Egress");
  if (policy.applies_ingress) writer.rules("ingress", "from", policy.ingress);
  if (policy.applies_egress) writer.rules("egress", "to", policy.egress);
  return writer.take();
}

}  // namespace weft::control::policy_internal
