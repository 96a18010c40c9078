// What the nodes of a cluster are to be configured with alike, as they tell each other. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/agent/config.h"
#include "sources/cluster/values.h"

namespace weft::agent {

// By the keys of weftd.yaml; what has no effect on this node is left out.
std::map<std::string, std::string> shared_settings(const Config& config);

struct SettingDifference {
  std::string key;
  std::string here;
  std::string there;
  bool operator==(const SettingDifference&) const = default;
};

// Of what both tell. A node of an earlier version tells its tunnel only.
std::vector<SettingDifference> differences(const std::map<std::string, std::string>& here,
                                           const cluster::NodeRecord& there);
// "encryption: none there, wireguard here"; empty: none.
std::string in_words(const std::vector<SettingDifference>& differences);
// Only those that packets between the two are lost by, in words: "tunnel: geneve there, vxlan here"; empty: none.
std::string losing(const std::vector<SettingDifference>& differences);

}  // namespace weft::agent
