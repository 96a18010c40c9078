#include "agent/label_limit.h"

#include <fmt/format.h>

#include "agent/compile.h"
#include "control/identity/identity.h"
#include "sources/cluster/keys.h"

namespace weft::agent {
namespace {

// What an identity is known by: the labels with their source, the namespace, named ports.
Result<void> check(const char* field, const std::string& namespace_, const LabelMap& labels, const model::Pod& ports) {
  const auto text = cluster::canonical(control::identity_labels(namespace_, labels, ports_of(ports)));
  if (text) return {};
  return fail(ErrorCode::invalid,
              fmt::format("{}: with the namespace and the names of ports {}", field, text.error().message),
              text.error().hint);
}

}  // namespace

Result<void> check_labels(const model::Object& object) {
  if (const auto* pod = std::get_if<model::Pod>(&object))
    return check("metadata.labels", pod->meta.namespace_, pod->meta.labels, *pod);
  const auto* deployment = std::get_if<model::Deployment>(&object);
  if (deployment == nullptr) return {};
  model::Pod pod;
  pod.spec = deployment->template_spec;
  return check("spec.template.metadata.labels", deployment->meta.namespace_, deployment->template_labels, pod);
}

}  // namespace weft::agent
