#include "agent/other_networks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "agent/cni_install.h"
#include "bpfrt/link.h"
#include "sys/system.h"

namespace weft::agent {
namespace {

using nlohmann::json;

constexpr std::size_t most_named = 6;

// By how names of devices, programs and chains begin. "=" before it: the whole name.
struct Sign {
  std::string_view begins;
  std::string_view of;
};
constexpr std::array<Sign, 17> device_signs = {{{"cilium_", "Cilium"},
                                                {"=lxc_health", "Cilium"},
                                                {"cali", "Calico"},
                                                {"=vxlan.calico", "Calico"},
                                                {"=vxlan-v6.calico", "Calico"},
                                                {"=wireguard.cali", "Calico"},
                                                {"flannel.", "Flannel"},
                                                {"flannel-", "Flannel"},
                                                {"=cni0", "the bridge plugin (Flannel and others)"},
                                                {"=kube-bridge", "kube-router"},
                                                {"=weave", "Weave Net"},
                                                {"vethwepl", "Weave Net"},
                                                {"=antrea-gw0", "Antrea"},
                                                {"antrea-", "Antrea"},
                                                {"ovn-k8s-", "OVN-Kubernetes"},
                                                {"=ovn0", "Kube-OVN"},
                                                {"=kube-ipvs0", "kube-proxy"}}};
constexpr std::array<Sign, 6> program_signs = {{{"cil_", "Cilium"},
                                                {"bpf_netdev", "Cilium"},
                                                {"bpf_host", "Cilium"},
                                                {"cali_", "Calico"},
                                                {"calico_", "Calico"},
                                                {"antrea_", "Antrea"}}};
constexpr std::array<Sign, 9> chain_signs = {{{"=KUBE-SERVICES", "kube-proxy"},
                                              {"=KUBE-NODEPORTS", "kube-proxy"},
                                              {"=KUBE-NODE-PORT", "kube-proxy"},
                                              {"=KUBE-PROXY-CANARY", "kube-proxy"},
                                              {"CILIUM_", "Cilium"},
                                              {"cali-", "Calico"},
                                              {"FLANNEL-", "Flannel"},
                                              {"KUBE-ROUTER-", "kube-router"},
                                              {"WEAVE-", "Weave Net"}}};

template <std::size_t Count>
std::string_view owner(const std::array<Sign, Count>& signs, std::string_view name) {
  for (const auto& [begins, of] : signs)
    if (begins.front() == '=' ? name == begins.substr(1) : name.starts_with(begins)) return of;
  return {};
}

// "a, b, and 7 more".
std::string listed(std::vector<std::string> names) {
  const auto count = names.size();
  if (count > most_named) {
    names.resize(most_named);
    names.push_back(fmt::format("and {} more", count - most_named));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string how_to_remove(std::string_view of) {
  if (of == "kube-proxy")
    return "Weft does what it does: delete it (kubectl -n kube-system delete daemonset kube-proxy), then run "
           "`kube-proxy --cleanup` here, or restart the machine";
  return fmt::format("uninstall {} from the cluster; what then is left here goes with a restart of the machine", of);
}

std::vector<Fault> faults_of(const std::map<std::string_view, std::vector<std::string>>& found, std::string_view what) {
  std::vector<Fault> faults;
  for (const auto& [of, names] : found)
    faults.push_back({fmt::format("there are {} of {} on this node: {}", what, of, listed(names)), how_to_remove(of)});
  return faults;
}

// "calico of calico, portmap"; empty: no network.
std::string network_of(const std::string& text) {
  const auto list = json::parse(text, nullptr, false);
  if (!list.is_object()) return {};
  const auto word = [](const json& object, const char* key) {
    return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>()
                                                                                 : std::string("?");
  };
  std::vector<std::string> types;
  if (list.contains("plugins") && list["plugins"].is_array())
    for (const auto& plugin : list["plugins"]) types.push_back(word(plugin, "type"));
  else
    types.push_back(word(list, "type"));
  return fmt::format("\"{}\", by {}", word(list, "name"), fmt::join(types, ", "));
}

bool is_list(const std::filesystem::path& path) {
  const auto extension = path.extension();
  return extension == ".conf" || extension == ".conflist" || extension == ".json";
}

}  // namespace

OtherNetworks judge_lists(const std::string& directory, const std::string& own, const std::vector<NamedText>& lists) {
  OtherNetworks found;
  for (const auto& [name, text] : lists) {
    if (name == own || is_weft_list(text)) continue;
    const auto network = network_of(text);
    if (network.empty()) continue;
    const auto path = fmt::format("{}/{} (network {})", directory, name, network);
    if (name < own)
      found.harmful.push_back(
          {fmt::format("{} comes before {}: the container runtime attaches pods by it, not by Weft", path, own),
           "uninstall that network, or move the file away, then create the pods again; or set "
           "cni_conf_name in weftd.yaml to a name that comes first"});
    else
      found.left.push_back({fmt::format("{} lies beside {}, which comes first: it is not used", path, own),
                            "uninstall that network, or move the file away: it would be used if Weft's were gone"});
  }
  return found;
}

std::vector<Fault> judge_devices(const std::vector<std::string>& devices) {
  std::map<std::string_view, std::vector<std::string>> found;
  for (const auto& name : devices)
    if (const auto of = owner(device_signs, name); !of.empty()) found[of].push_back(name);
  return faults_of(found, "devices");
}

std::vector<Fault> judge_programs(const std::string& uplink, const std::vector<std::string>& programs) {
  std::map<std::string_view, std::vector<std::string>> found;
  for (const auto& name : programs)
    if (const auto of = owner(program_signs, name); !of.empty()) found[of].push_back(name);
  return faults_of(found, "BPF programs at " + uplink);
}

std::vector<Fault> judge_rules(const std::vector<sys::FilterChain>& chains) {
  std::map<std::string_view, std::vector<std::string>> found;
  for (const auto& chain : chains)
    if (const auto of = chain.table == "kube-proxy" ? "kube-proxy" : owner(chain_signs, chain.chain); !of.empty())
      found[of].push_back(fmt::format("{} {} {}", chain.by, chain.table, chain.chain));
  return faults_of(found, "netfilter rules");
}

OtherNetworks find_other_networks(sys::Netlink& netlink, const Config& config, const Node& node) {
  OtherNetworks found;
  if (!config.cni_conf_dir.empty()) {
    std::vector<NamedText> lists;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(config.cni_conf_dir, error))
      if (is_list(entry.path()))
        if (auto text = sys::read_file(entry.path())) lists.push_back({entry.path().filename(), std::move(*text)});
    std::ranges::sort(lists, {}, &NamedText::name);
    found = judge_lists(config.cni_conf_dir, config.cni_conf_name, lists);
  }
  const auto add = [&](std::vector<Fault> faults) { std::ranges::move(faults, std::back_inserter(found.left)); };
  if (const auto devices = netlink.devices()) {
    std::vector<std::string> names;
    for (const auto& device : *devices) names.push_back(device.name);
    std::ranges::sort(names);
    add(judge_devices(names));
  }
  for (const auto& [index, uplink] : node.uplinks) {
    auto programs = sys::filter_programs(static_cast<int>(index)).value_or(std::vector<std::string>());
    for (const auto hook : {bpfrt::Hook::ingress, bpfrt::Hook::egress})
      for (const auto& program : bpfrt::tcx_programs(static_cast<int>(index), hook)) programs.push_back(program.name);
    add(judge_programs(uplink.name, programs));
  }
  if (const auto chains = sys::filter_chains()) add(judge_rules(*chains));
  return found;
}

}  // namespace weft::agent
