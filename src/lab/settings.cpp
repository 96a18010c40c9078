#include "lab/settings.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "sys/system.h"

namespace weft::lab {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<Underlay, std::string_view>, 3> underlay_words = {
    {{Underlay::flat, "flat"}, {Underlay::routed, "routed"}, {Underlay::mixed, "mixed"}}};

Error cannot_change(std::string_view option, std::string_view from, std::string_view to) {
  return {ErrorCode::invalid, fmt::format("--{} {}: the lab was made with {}, which stays", option, to, from),
          "take the lab down first, or give the new one another --name"};
}

// Takes a word of the command line unless the lab has another already.
Result<void> take(std::string& slot, const std::string& wanted, std::string_view option, bool exists) {
  if (wanted.empty() || wanted == slot) return {};
  if (exists) return fail(cannot_change(option, slot, wanted));
  slot = wanted;
  return {};
}

Result<void> take_operators(Settings& settings, const SettingsRequest& request, const Settings& present, bool exists) {
  // One acts and one stands by.
  if (!exists && settings.nodes > 1 && settings.shared()) settings.operators = 2;
  if (!request.operators) return {};
  const auto wanted = *request.operators;
  if (wanted > most_operators)
    return fail(ErrorCode::invalid, fmt::format("--operators {}: a lab has at most {}", wanted, most_operators));
  if (exists && wanted < present.operators)
    return fail(cannot_change("operators", std::to_string(present.operators), std::to_string(wanted)));
  if (wanted != 0 && !settings.shared())
    return fail(ErrorCode::invalid, fmt::format("--operators {}: nodes by themselves share no etcd", wanted),
                "make the lab with --nodes or with --store etcd");
  settings.operators = wanted;
  return {};
}

}  // namespace

std::string_view to_string(Underlay underlay) {
  for (const auto& [value, word] : underlay_words)
    if (value == underlay) return word;
  return "flat";
}

Result<Underlay> parse_underlay(std::string_view text) {
  for (const auto& [value, word] : underlay_words)
    if (word == text) return value;
  return fail(ErrorCode::invalid, fmt::format("expected flat, routed or mixed, found \"{}\"", text));
}

std::string settings_to_json(const Settings& settings) {
  return json{{"nodes", settings.nodes},
              {"store", settings.store},
              {"etcd_members", settings.etcd_members},
              {"tunnel", settings.tunnel},
              {"tunnel_scope", settings.tunnel_scope},
              {"encryption", settings.encryption},
              {"underlay", to_string(settings.underlay)},
              {"underlay_family", settings.underlay_family},
              {"edge", settings.edge},
              {"operators", settings.operators},
              {"renumbered", settings.renumbered}}
      .dump();
}

Result<Settings> settings_from_json(std::string_view text) {
  const json value = json::parse(text, nullptr, false);
  if (!value.is_object()) return fail(ErrorCode::invalid, "not a JSON object");
  Settings settings;
  const auto word = [&value](const char* key, std::string& slot) {
    if (const auto found = value.find(key); found != value.end() && found->is_string())
      slot = found->get<std::string>();
  };
  const auto nodes = value.find("nodes");
  if (nodes == value.end() || !nodes->is_number_unsigned() || *nodes < 1U || *nodes > most_nodes)
    return fail(ErrorCode::invalid, fmt::format("nodes: expected a number from 1 to {}", most_nodes));
  settings.nodes = nodes->get<unsigned>();
  if (const auto found = value.find("operators"); found != value.end()) {
    if (!found->is_number_unsigned() || *found > most_operators)
      return fail(ErrorCode::invalid, fmt::format("operators: expected a number from 0 to {}", most_operators));
    settings.operators = found->get<unsigned>();
  }
  if (const auto members = value.find("etcd_members"); members != value.end()) {
    if (!members->is_number_unsigned() || *members < 1U || *members > most_etcd_members)
      return fail(ErrorCode::invalid, fmt::format("etcd_members: expected a number from 1 to {}", most_etcd_members));
    settings.etcd_members = members->get<unsigned>();
  }
  std::string underlay = "flat";
  word("store", settings.store);
  word("tunnel", settings.tunnel);
  word("tunnel_scope", settings.tunnel_scope);
  word("encryption", settings.encryption);
  word("underlay", underlay);
  word("underlay_family", settings.underlay_family);
  WEFT_TRY(settings.underlay, parse_underlay(underlay));
  for (const auto& [key, slot] : {std::pair{"renumbered", &settings.renumbered}, {"edge", &settings.edge}})
    if (const auto found = value.find(key); found != value.end() && found->is_array())
      for (const auto& number : *found)
        if (number.is_number_unsigned()) slot->insert(number.get<unsigned>());
  return settings;
}

Result<Settings> load_settings(const std::string& path) {
  auto text = sys::read_file(path);
  if (!text) return text.error().code == ErrorCode::not_found ? Result<Settings>() : fail(std::move(text.error()));
  auto settings = settings_from_json(*text);
  if (!settings) return fail(settings.error().in(path));
  return settings;
}

Result<void> save_settings(const std::string& path, const Settings& settings) {
  if (settings != Settings{}) return sys::write_file_atomically(path, settings_to_json(settings) + "\n", 0644);
  ::unlink(path.c_str());
  return {};
}

Result<Settings> settle(const SettingsRequest& request, const Settings& present, bool exists) {
  Settings settings = exists ? present : Settings{};
  if (request.nodes > most_nodes)
    return fail(ErrorCode::invalid, fmt::format("--nodes {}: a lab has at most {}", request.nodes, most_nodes));
  if (request.nodes != 0) {
    if (exists && request.nodes < present.nodes)
      return fail(cannot_change("nodes", fmt::format("{} nodes", present.nodes), std::to_string(request.nodes)));
    settings.nodes = request.nodes;
  }
  // One node needs nobody to agree with.
  if (!exists && settings.nodes > 1) settings.store = "etcd";
  WEFT_CHECK(take(settings.store, request.store, "store", exists));
  WEFT_CHECK(take_operators(settings, request, present, exists));
  if (request.etcd_members != 0 && request.etcd_members != settings.etcd_members) {
    if (exists)
      return fail(
          cannot_change("etcd-members", fmt::format("{}", present.etcd_members), std::to_string(request.etcd_members)));
    if (!settings.shared())
      return fail(ErrorCode::invalid, fmt::format("--etcd-members {}: the lab has no etcd", request.etcd_members),
                  "give it --nodes 2 or more, or --store etcd");
    settings.etcd_members = request.etcd_members;
  }
  WEFT_CHECK(take(settings.tunnel, request.tunnel, "tunnel", exists));
  WEFT_CHECK(take(settings.tunnel_scope, request.tunnel_scope, "tunnel-scope", exists));
  for (const auto number : request.edge)
    if (!settings.shared() || number > settings.nodes)
      return fail(ErrorCode::invalid,
                  fmt::format("--edge node{}: {}", number,
                              settings.shared() ? "the lab has no such node" : "the lab's nodes share nothing"));
  settings.edge.insert(request.edge.begin(), request.edge.end());
  WEFT_CHECK(take(settings.encryption, request.encryption, "encryption", exists));
  std::string underlay(to_string(settings.underlay));
  WEFT_CHECK(take(underlay, request.underlay, "underlay", exists));
  WEFT_TRY(settings.underlay, parse_underlay(underlay));
  WEFT_CHECK(take(settings.underlay_family, request.underlay_family, "underlay-family", exists));
  if (exists && present.nodes == 1 && settings.nodes > 1 && !settings.shared())
    return fail(ErrorCode::invalid,
                fmt::format("--nodes {}: the lab was made with one node by itself, which keeps its objects and "
                            "addresses to itself",
                            settings.nodes),
                "take the lab down and make it with --nodes, or begin with --nodes 1 --store etcd");
  if (settings.tunnel != "none" && !settings.shared())
    return fail(ErrorCode::invalid,
                fmt::format("--tunnel {} leads to other nodes, of which the lab has none or its agents know none",
                            settings.tunnel),
                "give it --nodes 2 or more, and no --store embedded");
  if (settings.encryption != "none" && !settings.shared())
    return fail(ErrorCode::invalid,
                fmt::format("--encryption {} is between nodes, of which the lab has one or whose agents know no others",
                            settings.encryption),
                "give it --nodes 2 or more, and no --store embedded");
  return settings;
}

}  // namespace weft::lab
