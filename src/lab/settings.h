// What `weft lab up` was told about a lab's nodes, kept in the lab's state directory, so that a second
// `up`, a restarted supervisor, `list` and `down` know it.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"

namespace weft::lab {

inline constexpr unsigned most_nodes = 32;
inline constexpr unsigned most_operators = 5;
inline constexpr unsigned most_etcd_members = 5;

// How the nodes are joined. flat: one network; routed: each node a network of its own behind the world
// as router; mixed: two networks, odd nodes on one, even ones on the other.
enum class Underlay { flat, routed, mixed };
std::string_view to_string(Underlay underlay);
Result<Underlay> parse_underlay(std::string_view text);

struct Settings {
  unsigned nodes = 1;
  // Where the agents keep objects: "embedded", each its own, or "etcd", one for the lab.
  std::string store = "embedded";
  unsigned etcd_members = 1;    // where the store is etcd
  std::string tunnel = "none";  // these two as in weftd.yaml
  std::string tunnel_scope = "always";
  // none, wireguard, or that and no more in clear to pods (wireguard-strict) or to nodes (wireguard-nodes)
  std::string encryption = "none";
  Underlay underlay = Underlay::flat;
  std::string underlay_family = "dual";  // "4", "6": nodes have no addresses of the other
  std::set<unsigned> edge;               // nodes at the edge (edge: true)
  unsigned operators = 0;                // weft-operators beside the nodes
  std::set<unsigned> renumbered;         // nodes that came back with another address

  [[nodiscard]] bool shared() const { return store == "etcd"; }
  // Whether what is applied at one agent is known to all.
  [[nodiscard]] bool shares_objects() const { return shared(); }
  [[nodiscard]] bool has_v4() const { return underlay_family != "6"; }
  [[nodiscard]] bool has_v6() const { return underlay_family != "4"; }
  bool operator==(const Settings&) const = default;
};

std::string settings_to_json(const Settings& settings);
Result<Settings> settings_from_json(std::string_view text);

// The defaults when the file is not there: a lab of one node keeps none.
Result<Settings> load_settings(const std::string& path);
// Removes the file when these are the defaults.
Result<void> save_settings(const std::string& path, const Settings& settings);

// What `up` gives on its command line; empty and 0: as the lab is, or the default.
struct SettingsRequest {
  unsigned nodes = 0;
  unsigned etcd_members = 0;
  std::string store;
  std::string tunnel;
  std::string tunnel_scope;
  std::string encryption;
  std::string underlay;
  std::string underlay_family;
  std::set<unsigned> edge;
  std::optional<unsigned> operators;
};

// The settings of a lab after this `up`. `exists` says whether the lab has been made with `present`:
// nodes and operators may be added then, and nothing else be changed.
Result<Settings> settle(const SettingsRequest& request, const Settings& present, bool exists);

}  // namespace weft::lab
