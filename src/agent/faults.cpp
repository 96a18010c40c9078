#include "agent/faults.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace weft::agent {
namespace {

constexpr std::string_view in_the_log = "it is tried again by itself; weftd's log says more";

// By how a subject begins, the longest first where one begins as another does. Empty: the text says it.
constexpr std::array<std::pair<std::string_view, std::string_view>, 20> usual = {{
    {"announced", in_the_log},
    {"bgp peer ",
     "see the router's side: its address, AS number and password, and that TCP port 179 passes; weft bgp peers"},
    {"bgp ", "weft bgp status and weftd's log say more"},
    {"cluster objects", "it is tried again; make room where a table or the disk is full, then see weft status"},
    {"devices", "it is tried again by itself; see whether netlink works on this node (ip addr)"},
    {"egress address", "it is tried again by itself; see whether something else has the address or the device"},
    {"encryption device ", "it is started again by itself; weftd's log has what it said"},
    {"encryption keys", "make room in state_dir, or put wireguard.json there right; it is tried again"},
    {"encryption programs", in_the_log},
    {"encryption routes", in_the_log},
    {"node route", "it is tried again by itself; see who else sets routes on this node: ip monitor route"},
    {"node", "it is tried again by itself; see who else changes the node's devices and sysctls"},
    {"overlay",
     "it is tried again by itself; see whether the kernel has this tunnel, and who else has its port or device"},
    {"path MTU", in_the_log},
    {"pod ", "it is tried again by itself; if it lasts, create the pod again"},
    {"publish",
     "what runs goes on as it was, and it is tried again; make room for what does not fit (weftd.yaml), or see "
     "weftd's log"},
    {"services", "raise the table's entries in weftd.yaml and restart weftd, or delete Services"},
    {"socket hook",
     "see that the unified cgroup hierarchy is mounted, or set cgroup_root; Services are translated per "
     "packet meanwhile"},
    {"store file", ""},
    {"store", "make room on the disk of state_dir, or mount it for writing; what runs goes on"},
}};

}  // namespace

std::string_view usual_remedy(std::string_view about) {
  const auto found = std::ranges::find_if(usual, [&](const auto& entry) { return about.starts_with(entry.first); });
  return found == usual.end() ? std::string_view() : found->second;
}

void Faults::set(const std::string& about, const std::string& text, const std::string& remedy) {
  if (remedy.empty())
    remedies_.erase(about);
  else
    remedies_[about] = remedy;
  auto& kept = texts_[about];
  if (kept == text) return;
  kept = text;
  spdlog::warn("{}{}{}", text, remedy.empty() ? "" : ": ", remedy);
}

void Faults::clear(const std::string& about) {
  const auto found = texts_.find(about);
  if (found == texts_.end()) return;
  spdlog::info("over: {}", found->second);
  texts_.erase(found);
  remedies_.erase(about);
}

void Faults::replace(const std::string& group, const std::map<std::string, std::string>& texts) {
  std::map<std::string, Fault> faults;
  for (const auto& [about, text] : texts) faults.emplace(about, Fault{text, {}});
  replace(group, faults);
}

void Faults::replace(const std::string& group, const std::map<std::string, Fault>& faults) {
  std::vector<std::string> over;
  for (const auto& [about, text] : texts_)
    if (about.starts_with(group) && !faults.contains(about)) over.push_back(about);
  for (const auto& about : over) clear(about);
  for (const auto& [about, fault] : faults) set(about, fault.text, fault.remedy);
}

std::string Faults::remedy(const std::string& about) const {
  const auto own = remedies_.find(about);
  return own == remedies_.end() ? std::string(usual_remedy(about)) : own->second;
}

}  // namespace weft::agent
