#include "model/expand.h"

#include <nlohmann/json.hpp>

#include "model/parse.h"

namespace weft::model {

std::string pod_name(std::string_view deployment, int ordinal) {
  return std::string(deployment) + "-" + std::to_string(ordinal);
}

std::vector<Pod> expand(const Deployment& deployment) {
  std::vector<Pod> pods;
  pods.reserve(static_cast<std::size_t>(deployment.replicas > 0 ? deployment.replicas : 0));
  for (int ordinal = 0; ordinal < deployment.replicas; ++ordinal) {
    Pod pod;
    pod.meta.namespace_ = deployment.meta.namespace_;
    pod.meta.name = pod_name(deployment.meta.name, ordinal);
    pod.meta.labels = deployment.template_labels;
    pod.meta.annotations = deployment.template_annotations;
    pod.meta.location = deployment.meta.location;
    pod.spec = deployment.template_spec;
    pod.workload = deployment.meta.name;
    pod.weight = deployment.template_weight;
    pod.addresses = deployment.template_addresses;
    pods.push_back(std::move(pod));
  }
  return pods;
}

Result<std::string> pod_json(std::string_view deployment_json, int ordinal) {
  using nlohmann::json;
  const json deployment = json::parse(deployment_json, nullptr, false);
  try {
    const json& meta = deployment.at("metadata");
    const json& pod_template = deployment.at("spec").at("template");
    json pod{{"apiVersion", "v1"}, {"kind", "Pod"}, {"spec", pod_template.at("spec")}};
    json& pod_meta = pod["metadata"];
    const json template_meta = pod_template.value("metadata", json::object());
    for (const char* key : {"labels", "annotations"})
      if (template_meta.contains(key)) pod_meta[key] = template_meta.at(key);
    const auto name = meta.at("name").get<std::string>();
    pod_meta["name"] = pod_name(name, ordinal);
    pod_meta["namespace"] = meta.at("namespace");
    json owner{{"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"name", name}, {"controller", true}};
    if (const auto uid = uid_of(deployment_json); !uid.empty()) owner["uid"] = uid;
    pod_meta["ownerReferences"] = json::array({owner});
    if (deployment.contains("x-weft-location")) pod["x-weft-location"] = deployment.at("x-weft-location");
    if (pod.contains("x-weft-location")) pod["x-weft-location"].erase("uid");
    return pod.dump(-1, ' ', false, json::error_handler_t::replace);
  } catch (const json::exception& error) {
    return fail(ErrorCode::invalid, std::string("not the stored JSON of a Deployment: ") + error.what());
  }
}

}  // namespace weft::model
