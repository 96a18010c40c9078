#include "lab/pod_plan.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace weft::lab {
namespace {

using nlohmann::json;

const json& member(const json& object, const char* name) {
  static const json nothing;
  if (!object.is_object()) return nothing;
  const auto found = object.find(name);
  return found == object.end() ? nothing : *found;
}

std::string text(const json& object, const char* name) {
  const json& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

// Iterating null or a scalar would visit the scalar itself.
const json& array(const json& object, const char* name) {
  static const json empty = json::array();
  const json& value = member(object, name);
  return value.is_array() ? value : empty;
}

std::vector<ResponderPort> ports_of(const json& container) {
  std::vector<ResponderPort> ports;
  for (const auto& port : array(container, "ports")) {
    const json& number = member(port, "containerPort");
    if (!number.is_number_integer() || number < 1 || number > 65535) continue;
    const std::string protocol = text(port, "protocol");
    const auto parsed = parse_protocol(protocol.empty() ? "TCP" : protocol);
    if (!parsed) continue;
    ports.push_back(
        {number.get<std::uint16_t>(), *parsed, speaks_http(text(port, "name"), number.get<std::uint16_t>(), *parsed)});
  }
  return ports;
}

std::vector<std::string> texts(const json& object, const char* name) {
  std::vector<std::string> list;
  for (const auto& item : array(object, name))
    if (item.is_string()) list.push_back(item.get<std::string>());
  return list;
}

CommandPlan command_of(const json& container) {
  CommandPlan command;
  command.container = text(container, "name");
  command.arguments = texts(container, "command");
  for (auto& argument : texts(container, "args")) command.arguments.push_back(std::move(argument));
  for (const auto& variable : array(container, "env"))
    if (const auto name = text(variable, "name"); !name.empty()) command.environment[name] = text(variable, "value");
  return command;
}

// One listener for each port, even when two containers declare it; HTTP wins over echo.
void tidy(std::vector<ResponderPort>& ports) {
  std::ranges::sort(ports, [](const auto& a, const auto& b) {
    return std::tuple(a.port, a.protocol, !a.http) < std::tuple(b.port, b.protocol, !b.http);
  });
  const auto repeated = std::ranges::unique(
      ports, [](const auto& a, const auto& b) { return a.port == b.port && a.protocol == b.protocol; });
  ports.erase(repeated.begin(), repeated.end());
}

}  // namespace

Result<PodPlan> pod_plan_from_json(const json& pod) {
  const json& meta = member(pod, "metadata");
  const json& spec = member(pod, "spec");
  PodPlan plan;
  plan.name = text(meta, "name");
  plan.namespace_ = text(meta, "namespace");
  if (plan.name.empty()) return fail(ErrorCode::invalid, "a pod without metadata.name");
  if (plan.namespace_.empty()) plan.namespace_ = "default";
  plan.uid = text(meta, "uid");
  for (const auto& owner : array(meta, "ownerReferences"))
    if (text(owner, "kind") == "Deployment") plan.workload = text(owner, "name");
  plan.node_name = text(spec, "nodeName");
  plan.host_network = member(spec, "hostNetwork") == true;
  for (const auto& entry : array(member(pod, "status"), "podIPs"))
    if (const auto address = IpAddress::parse(text(entry, "ip"))) plan.addresses.push_back(*address);
  const bool runs_commands = text(member(meta, "annotations"), run_annotation) == "true";
  for (const auto& container : array(spec, "containers")) {
    const auto ports = ports_of(container);
    plan.ports.insert(plan.ports.end(), ports.begin(), ports.end());
    auto command = command_of(container);
    if (runs_commands && !command.arguments.empty())
      plan.commands.push_back(std::move(command));
    else
      plan.responders.insert(plan.responders.end(), ports.begin(), ports.end());
  }
  tidy(plan.ports);
  tidy(plan.responders);
  return plan;
}

}  // namespace weft::lab
