#include "agent/node_settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace weft::agent {
namespace {

constexpr std::size_t longest_shown = 200;

// Of these, one that differs makes nodes pass over each other's packets.
constexpr std::array<std::string_view, 4> losing_keys = {"encryption", "encryption_node_to_node", "tunnel",
                                                         "tunnel_port"};

std::string list_of(std::vector<Cidr> cidrs) {
  std::ranges::sort(cidrs);
  std::vector<std::string> texts;
  for (const auto& cidr : cidrs) texts.push_back(cidr.to_string());
  return fmt::format("[{}]", fmt::join(texts, ", "));
}

// Another node wrote it: what is no plain text would garble a terminal.
std::string shown(std::string text) {
  if (text.size() > longest_shown) text = text.substr(0, longest_shown) + "...";
  std::ranges::replace_if(
      text, [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

}  // namespace

std::map<std::string, std::string> shared_settings(const Config& config) {
  std::map<std::string, std::string> settings;
  settings["pod_cidrs"] = list_of(config.pod_cidrs);
  settings["service_cidrs"] = list_of(config.service_cidrs);
  for (const auto& cidr : config.pod_cidrs)
    settings[cidr.is_v4() ? "pod_block_length_v4" : "pod_block_length_v6"] =
        std::to_string(cidr.is_v4() ? config.pod_block_length_v4 : config.pod_block_length_v6);
  settings["node_cidrs"] = config.node_cidrs == Config::NodeCidrs::kubernetes ? "kubernetes" : "pools";
  settings["tunnel"] = to_string(config.tunnel);
  if (config.tunnel != Config::Tunnel::none)
    settings["tunnel_scope"] = config.tunnel_scope == Config::TunnelScope::always ? "always" : "cross-subnet";
  if (config.tunnel == Config::Tunnel::vxlan) settings["tunnel_port"] = std::to_string(config.tunnel_port);
  settings["encryption"] = config.encrypts() ? "wireguard" : "none";
  if (config.encrypts()) settings["encryption_node_to_node"] = config.encryption_node_to_node ? "true" : "false";
  return settings;
}

std::vector<SettingDifference> differences(const std::map<std::string, std::string>& here,
                                           const cluster::NodeRecord& there) {
  auto theirs = there.settings;
  if (!there.mode.empty()) theirs.try_emplace("tunnel", there.mode);
  std::vector<SettingDifference> all;
  for (const auto& [key, value] : here)
    if (const auto other = theirs.find(key); other != theirs.end() && other->second != value)
      all.push_back({key, value, shown(other->second)});
  return all;
}

std::string in_words(const std::vector<SettingDifference>& differences) {
  std::string text;
  for (const auto& one : differences)
    text += fmt::format("{}{}: {} there, {} here", text.empty() ? "" : ", ", one.key, one.there, one.here);
  return text;
}

std::string losing(const std::vector<SettingDifference>& differences) {
  auto lost = differences;
  std::erase_if(lost, [](const auto& one) { return std::ranges::find(losing_keys, one.key) == losing_keys.end(); });
  return in_words(lost);
}

}  // namespace weft::agent
