// A Deployment (or whatever was read as one) as the pods it stands for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/objects.h"

namespace weft::model {

// "<deployment>-<ordinal>", ordinals from 0.
std::string pod_name(std::string_view deployment, int ordinal);

// One pod for each replica. Labels and annotations come from the template, the location is the
// Deployment's, and `workload` is its name.
std::vector<Pod> expand(const Deployment& deployment);

// The Pod's Kubernetes JSON text, made from the stored JSON text of its Deployment: the template's
// metadata and spec, plus the ownerReference.
Result<std::string> pod_json(std::string_view deployment_json, int ordinal);

}  // namespace weft::model
