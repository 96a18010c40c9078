#include "model/digest.h"

#include <fmt/format.h>

#include <cstdint>

namespace weft::model {
namespace {

std::string text_of(const PolicyPeer& peer) {
  std::string text = "peer";
  if (peer.ip_block) {
    text += " block " + peer.ip_block->cidr.to_string();
    for (const auto& except : peer.ip_block->except) text += " but " + except.to_string();
  }
  if (peer.namespace_selector) text += " namespaces " + peer.namespace_selector->to_string();
  if (peer.pod_selector) text += " pods " + peer.pod_selector->to_string();
  return text + ";";
}

std::string text_of(const PolicyPort& port) {
  auto text = fmt::format("port {}", to_string(port.protocol));
  if (port.port) {
    if (const auto* number = std::get_if<std::uint16_t>(&*port.port))
      text += fmt::format(" {}", *number);
    else
      text += " named " + std::get<std::string>(*port.port);
  }
  return fmt::format("{} {};", text, port.end_port);
}

std::string text_of(const std::vector<PolicyRule>& rules) {
  std::string text;
  for (const auto& rule : rules) {
    text += "rule ";
    for (const auto& peer : rule.peers) text += text_of(peer);
    for (const auto& port : rule.ports) text += text_of(port);
  }
  return text;
}

}  // namespace

std::string digest_of(const NetworkPolicy& policy) {
  auto text = "pods " + policy.pod_selector.to_string() + ";";
  if (policy.applies_ingress) text += "ingress " + text_of(policy.ingress);
  if (policy.applies_egress) text += "egress " + text_of(policy.egress);
  // FNV-1a with a final mix.
  std::uint64_t value = 0xcbf29ce484222325;
  for (const char letter : text) value = (value ^ static_cast<unsigned char>(letter)) * 0x100000001b3;
  value = (value ^ (value >> 33)) * 0xff51afd7ed558ccd;
  return fmt::format("{:016x}", value ^ (value >> 33));
}

}  // namespace weft::model
