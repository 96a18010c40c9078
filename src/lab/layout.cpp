#include "lab/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <set>

namespace weft::lab {
namespace {

constexpr std::string_view prefix = "weft-";
constexpr std::string_view node_name = "node1";
constexpr std::size_t longest_netns_name = 200;  // a file name, and /proc shows it

// FNV-1a: names must be the same in every process and every build, which std::hash does not promise.
std::uint64_t stable_hash(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash;
}

bool is_lab_name(std::string_view name) {
  const auto is_inner = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  return !name.empty() && name.size() <= longest_lab_name && name.front() != '-' && name.back() != '-' &&
         std::ranges::all_of(name, is_inner);
}

std::vector<std::string> entries_of(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error))
    names.push_back(entry->path().filename().string());
  std::ranges::sort(names);
  return names;
}

}  // namespace

Result<void> check_lab_name(std::string_view name) {
  if (is_lab_name(name)) return {};
  return fail(ErrorCode::invalid,
              fmt::format("\"{}\" is not a lab's name: expected 1 to {} lower-case letters, digits and '-'", name,
                          longest_lab_name));
}

Layout::Layout(std::string name, Roots roots) : name_(std::move(name)), roots_(std::move(roots)) {
  const std::string instance = fmt::format("lab-{}-{}", name_, node_name);
  nodes_.push_back({.name = std::string(node_name),
                    .instance = instance,
                    .netns = fmt::format("{}{}-{}", prefix, name_, node_name),
                    .run_dir = fmt::format("{}/{}/{}", roots_.run, name_, node_name),
                    .state_dir = fmt::format("{}/{}/{}", roots_.state, name_, node_name),
                    .bpffs = fmt::format("{}/{}", roots_.bpffs, instance)});
}

// Dots separate, because neither lab names nor Kubernetes namespaces have any: "a" with "b-c/d" and
// "a-b" with "c/d" stay apart.
std::string Layout::pod_netns(std::string_view namespace_, std::string_view pod) const {
  std::string name = fmt::format("{}{}.{}.{}", prefix, name_, namespace_, pod);
  if (name.size() <= longest_netns_name) return name;
  return fmt::format("{}~{:016x}", name.substr(0, longest_netns_name - 17), stable_hash(name));
}

std::string Layout::container_id(std::string_view namespace_, std::string_view pod) const {
  const std::string name = fmt::format("{}/{}/{}", name_, namespace_, pod);
  return fmt::format("lab{:016x}{:016x}", stable_hash(name), stable_hash(name + "/container"));
}

std::optional<std::string> lab_of_netns(std::string_view netns_name) {
  if (!netns_name.starts_with(prefix)) return std::nullopt;
  std::string_view rest = netns_name.substr(prefix.size());
  if (const auto dot = rest.find('.'); dot != std::string_view::npos) {
    rest = rest.substr(0, dot);
  } else if (const auto dash = rest.rfind('-'); dash != std::string_view::npos) {
    const auto role = rest.substr(dash + 1);
    const bool numbered = (role.starts_with("node") || role.starts_with("host")) && role.size() > 4 &&
                          std::ranges::all_of(role.substr(4), [](char c) { return c >= '0' && c <= '9'; });
    if (!numbered && role != "world") return std::nullopt;
    rest = rest.substr(0, dash);
  } else {
    return std::nullopt;
  }
  if (!is_lab_name(rest)) return std::nullopt;
  return std::string(rest);
}

std::vector<std::string> namespaces_of(std::string_view lab) {
  std::vector<std::string> names;
  for (auto& name : entries_of("/run/netns"))
    if (lab_of_netns(name) == lab) names.push_back(std::move(name));
  return names;
}

std::vector<std::string> find_labs(const Roots& roots) {
  std::set<std::string> labs;
  for (const auto& directory : {roots.run, roots.state})
    for (const auto& name : entries_of(directory))
      if (is_lab_name(name)) labs.insert(name);
  for (const auto& name : entries_of("/run/netns"))
    if (const auto lab = lab_of_netns(name)) labs.insert(*lab);
  constexpr std::string_view instance_prefix = "lab-";
  const std::string instance_suffix = fmt::format("-{}", node_name);
  for (const std::string_view name : entries_of(roots.bpffs))
    if (name.starts_with(instance_prefix) && name.ends_with(instance_suffix) &&
        name.size() > instance_prefix.size() + instance_suffix.size()) {
      const auto lab =
          name.substr(instance_prefix.size(), name.size() - instance_prefix.size() - instance_suffix.size());
      if (is_lab_name(lab)) labs.emplace(lab);
    }
  return {labs.begin(), labs.end()};
}

}  // namespace weft::lab
