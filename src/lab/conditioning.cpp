#include "lab/conditioning.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "api/answer.h"
#include "api/client.h"
#include "lab/lifecycle.h"

namespace weft::lab {
namespace {

using nlohmann::json;

Result<json> ask_supervisor(const Layout& layout, const std::string& method, const json& params) {
  auto client = api::Client::connect(layout.supervisor_socket());
  if (!client)
    return fail(ErrorCode::unavailable, fmt::format("the supervisor of lab {} does not answer", layout.name()),
                "bring it back with: weft lab up --name " + layout.name());
  auto answer = client->call(method, params);
  if (!answer) return fail(answer.error().error);
  return std::move(*answer);
}

// A lab that is up, with all of these nodes.
Result<Layout> layout_with(const Machine& machine, const std::string& lab, const std::vector<std::string>& nodes) {
  WEFT_CHECK(check_root());
  WEFT_CHECK(check_lab_name(lab));
  Layout layout = machine.layout(lab);
  WEFT_CHECK(check_lab_exists(layout));
  for (const auto& node : nodes) WEFT_CHECK(layout.need_node(node));
  return layout;
}

Result<void> give_another_address(const Layout& layout, const NodeLayout& node) {
  const auto conditions = load_conditions(layout.conditions_file());
  const auto found = conditions.find(node.name);
  if (found == conditions.end() || found->second.down != Condition::Down::node)
    return fail(ErrorCode::invalid, fmt::format("--new-address: {} is up, and keeps its address", node.name),
                "take it down first with: weft lab crash " + node.name);
  Settings settings = layout.settings();
  if (settings.renumbered.erase(node.number) == 0) settings.renumbered.insert(node.number);
  WEFT_CHECK(save_settings(layout.settings_file(), settings));
  WEFT_CHECK(ask_supervisor(layout, "lab.reload", json::object()));
  return {};
}

}  // namespace

std::vector<std::string> names_in(const Layout& layout) {
  std::vector<std::string> names;
  for (const auto& node : layout.nodes()) names.push_back(node.name);
  for (const auto& member : layout.etcd()) names.push_back(member.name);
  for (const auto& one : layout.operators()) names.push_back(one.name);
  return names;
}

Result<Conditions> change_net(const Machine& machine, const std::string& lab, const std::string& action,
                              const std::vector<std::string>& nodes, std::int64_t value) {
  WEFT_TRY(const Layout layout, layout_with(machine, lab, nodes));
  WEFT_CHECK(ask_supervisor(layout, "lab.net", {{"action", action}, {"nodes", nodes}, {"value", value}}));
  return load_conditions(layout.conditions_file());
}

Result<void> change_node(const Machine& machine, const std::string& lab, const std::string& action,
                         const std::string& node, bool new_address) {
  const auto present = machine.layout(lab);
  const bool beside = present.find_etcd(node) != nullptr || present.has_operator(node);
  if (!beside && check_lab_exists(present) && present.find_node(node) == nullptr)
    return fail(ErrorCode::not_found, fmt::format("lab {} has nothing named \"{}\"", lab, node),
                "there is " + fmt::format("{}", fmt::join(names_in(present), ", ")));
  WEFT_TRY(const Layout layout, layout_with(machine, lab, beside ? std::vector<std::string>{} : std::vector{node}));
  if (beside && new_address) return fail(ErrorCode::invalid, "--new-address: " + node + " keeps its address");
  WEFT_TRY(const auto lock, LabLock::take(layout, [](const std::string&) {}));
  if (new_address) WEFT_CHECK(give_another_address(layout, *layout.find_node(node)));
  WEFT_CHECK(ask_supervisor(layout, "lab.node", {{"action", action}, {"node", node}}));
  return {};
}

}  // namespace weft::lab
