// Weft's objects on a cluster: made of the chart with values, in the order they are to be made in. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weft::chart {

inline constexpr std::string_view weft_namespace = "weft-system";

// The version of this program, of the chart and of its image.
std::string_view version();

// What values.yaml says.
nlohmann::json default_values();

// "tunnel=none", "agent.resources.limits.memory=1Gi", "podCIDRs=[10.0.0.0/16]": as --set gives it. The value is YAML; a
// text for what is a list stands for a list of what is between its commas. A key that values.yaml does not have is an
// error.
Result<void> set_value(nlohmann::json& values, std::string_view assignment);

// Held against values.schema.json and what no schema says.
Result<void> check_values(const nlohmann::json& values);

// With default values `text` is deploy/kubernetes/weft.yaml.
struct Manifests {
  std::string text;
  std::vector<nlohmann::json> objects;
};
// `values` are checked.
Result<Manifests> render(const nlohmann::json& values);

// The CustomResourceDefinitions alone.
const std::vector<nlohmann::json>& resource_definitions();

// The image that the values name.
std::string image_of(const nlohmann::json& values);

// "ConfigMap weft-system/weft-config", "ClusterRole weft"
std::string name_of(const nlohmann::json& object);

// Documents of YAML as the Kubernetes API reads them.
Result<std::vector<nlohmann::json>> documents(std::string_view name, std::string_view text);

}  // namespace weft::chart
