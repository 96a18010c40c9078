#include "chart/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "chart/embedded.h"
#include "chart/schema.h"
#include "chart/template.h"
#include "model/documents.h"
#include "model/tree.h"

namespace weft::chart {
namespace {

using nlohmann::json;

constexpr std::string_view templates = "chart/weft/templates/";
// Before whom they are for: rights before what needs them, the agents before the operator.
constexpr std::array order{"rbac.yaml", "admission.yaml", "config.yaml", "agent.yaml", "operator.yaml"};

std::string_view file(std::string_view name) {
  const auto& files = embedded_files();
  const auto found = std::ranges::find(files, name, &EmbeddedFile::name);
  return found == files.end() ? std::string_view() : found->text;
}

Result<json> yaml(std::string_view name, std::string_view text) {
  WEFT_TRY(const auto all, documents(name, text));
  if (all.size() == 1) return all.front();
  return fail(ErrorCode::invalid, fmt::format("{}: expected one document, found {}", name, all.size()));
}

const json& schema_of_values() {
  static const json schema = json::parse(file("chart/weft/values.schema.json"));
  return schema;
}

// The operator looks whose definitions these are before it puts its own in their place.
std::string with_version(std::string_view definition) {
  constexpr std::string_view metadata = "\nmetadata:\n";
  const auto at = definition.find(metadata) + metadata.size();
  return fmt::format("{}  annotations:\n    weft.io/version: {}\n{}", definition.substr(0, at), version(),
                     definition.substr(at));
}

// Of what the schema says of a value; null where it leaves it open.
json schema_of_value(std::string_view key) {
  const json* at = &schema_of_values();
  for (auto rest = key; !rest.empty();) {
    const auto dot = std::min(rest.find('.'), rest.size());
    const std::string name(rest.substr(0, dot));
    rest.remove_prefix(std::min(dot + 1, rest.size()));
    if (!at->contains("properties") || !(*at)["properties"].contains(name)) return nullptr;
    at = &(*at)["properties"][name];
    if (const auto reference = at->find("$ref"); reference != at->end())
      at = &schema_of_values().at(json::json_pointer(reference->get<std::string>().substr(1)));
  }
  return *at;
}

Result<json> parse_value(std::string_view key, std::string_view text) {
  const auto schema = schema_of_value(key);
  const auto type = schema.is_object() ? schema.value("type", json("string")) : json();
  WEFT_TRY(const auto all, documents("--set", text));
  if (all.size() > 1) return fail(ErrorCode::invalid, fmt::format("--set {}: expected one value", key));
  auto value = all.empty() ? json() : all.front();
  // "1.20" is no number where a text is asked for, and nothing is an empty one.
  if (!value.is_structured() && !value.is_string() && (type == "string" || text.empty()) && type != "array")
    return json(std::string(text));
  if (type != "array" || value.is_structured()) return value;
  json list = json::array();
  for (auto rest = text; !rest.empty();) {
    const auto comma = std::min(rest.find(','), rest.size());
    if (comma > 0) list.push_back(std::string(rest.substr(0, comma)));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return list;
}

}  // namespace

std::string_view version() { return WEFT_VERSION; }

Result<std::vector<json>> documents(std::string_view name, std::string_view text) {
  std::vector<json> all;
  for (const auto& part : model::split_documents(text)) {
    const auto tree = model::tree_from_yaml(part.text, part.first_line);
    if (!tree)
      return fail(ErrorCode::invalid,
                  fmt::format("{}:{}:{}: {}", name, tree.error().line, tree.error().column, tree.error().message));
    if (auto object = model::json_from_tree(*tree, tree->root); !object.is_null()) all.push_back(std::move(object));
  }
  return all;
}

json default_values() {
  // What is in the program has been parsed by its tests.
  return yaml("values.yaml", file("chart/weft/values.yaml")).value_or(json::object());
}

Result<void> set_value(json& values, std::string_view assignment) {
  const auto equal = assignment.find('=');
  if (equal == std::string_view::npos || equal == 0)
    return fail(ErrorCode::invalid, fmt::format("--set {}: expected KEY=VALUE", assignment));
  json* at = &values;
  json* parent = nullptr;
  const auto key = assignment.substr(0, equal);
  // Keys of weftd.yaml and of resources are not the chart's.
  const bool open = key.starts_with("agentConfig.") || key.starts_with("operatorConfig.") ||
                    key.find(".resources.") != std::string_view::npos;
  for (auto rest = key; !rest.empty();) {
    const auto dot = std::min(rest.find('.'), rest.size());
    const std::string name(rest.substr(0, dot));
    rest.remove_prefix(std::min(dot + 1, rest.size()));
    if (!at->is_object() || (!at->contains(name) && !open))
      return fail(
          ErrorCode::invalid, fmt::format("--set {}: there is no \"{}\"", assignment, key),
          "deploy/kubernetes/chart/weft/values.yaml says what there is; `weft install --print-values` shows it");
    parent = at;
    at = &(*at)[name];
  }
  WEFT_TRY(*at, parse_value(key, assignment.substr(equal + 1)));
  if (at->is_null() && open) parent->erase(std::string(key.substr(key.rfind('.') + 1)));
  return {};
}

Result<void> check_values(const json& values) {
  std::string all;
  for (const auto& problem : check_schema(schema_of_values(), values)) all += (all.empty() ? "" : "; ") + problem;
  if (!all.empty()) return fail(ErrorCode::invalid, all);
  if (values["store"] == "etcd" && values["etcd"]["endpoints"].empty())
    return fail(ErrorCode::invalid, "store: etcd needs etcd.endpoints",
                "--set etcd.endpoints=https://192.0.2.10:2379, and --set etcd.secret=NAME for its certificates");
  for (const auto& endpoint : values["etcd"]["endpoints"])
    if (endpoint.get<std::string>().starts_with("https:") &&
        values["etcd"]["secret"].get_ref<const std::string&>().empty())
      return fail(ErrorCode::invalid, "etcd.endpoints are https, and there are no certificates for them",
                  "make a Secret with ca.crt, tls.crt and tls.key in weft-system and name it: --set etcd.secret=NAME");
  return {};
}

Result<Manifests> render(const json& values) {
  WEFT_CHECK(check_values(values));
  Templates all;
  for (const auto& [name, text] : embedded_files())
    if (name.starts_with(templates)) WEFT_CHECK(all.add(std::string(name.substr(templates.size())), text));
  const json data{{"Values", values},
                  {"Chart", {{"AppVersion", version()}}},
                  {"Release", {{"Namespace", weft_namespace}}},
                  // Values leave out what a cluster does not know yet.
                  {"Capabilities", {{"KubeVersion", {{"Version", "v1.30.0"}}}}}};
  Manifests result;
  result.text = fmt::format(
      "# Weft {} on Kubernetes, as `weft install --print` makes it of deploy/kubernetes/chart. What a cluster needs "
      "otherwise\n"
      "# (ranges of addresses, kubernetes_servers, a tunnel) is in the ConfigMap weft-config. "
      "docs/kubernetes-install.md\n",
      version());
  const auto add = [&](std::string_view name, std::string_view text) -> Result<void> {
    result.text += fmt::format("---\n{}", text);
    WEFT_TRY(auto objects, documents(name, text));
    std::ranges::move(objects, std::back_inserter(result.objects));
    return {};
  };
  for (const auto& [name, text] : embedded_files())
    if (name == "namespace.yaml") WEFT_CHECK(add(name, text));
  for (const auto& [name, text] : embedded_files())
    if (name.starts_with("crds/")) WEFT_CHECK(add(name, with_version(text)));
  for (const auto* name : order) {
    WEFT_TRY(const auto text, all.render(name, data));
    WEFT_CHECK(add(name, text));
  }
  return result;
}

const std::vector<json>& resource_definitions() {
  static const auto all = [] {
    std::vector<json> definitions;
    for (const auto& [name, text] : embedded_files())
      if (name.starts_with("crds/"))
        if (auto one = yaml(name, text)) definitions.push_back(std::move(*one));
    return definitions;
  }();
  return all;
}

std::string image_of(const json& values) {
  const auto image = values.value("image", "");
  return image.empty() ? fmt::format("weft:{}", version()) : image;
}

std::string name_of(const json& object) {
  const auto& meta = object["metadata"];
  const auto space = meta.value("namespace", "");
  return fmt::format("{} {}{}{}", object.value("kind", ""), space, space.empty() ? "" : "/", meta.value("name", ""));
}

}  // namespace weft::chart
