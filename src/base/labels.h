// Labels: source-prefixed key/value pairs ("k8s:app=web", "container:name=db", "reserved:host").
// Kept sorted by key, so equal label sets compare equal and print the same.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace weft {

using LabelMap = std::map<std::string, std::string>;  // plain Kubernetes labels, no source prefix

// "k8s:app=web,k8s:tier=front"; a label without a value prints as its key.
std::string to_string(const LabelMap& labels);
// The same, a text each.
std::vector<std::string> to_texts(const LabelMap& labels);

}  // namespace weft
