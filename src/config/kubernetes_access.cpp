#include "config/kubernetes_access.h"

#include <utility>

namespace weft::config {

const Keys<KubernetesAccess>& kubernetes_access_keys() {
  static const Keys<KubernetesAccess> keys{
      {"kubeconfig", text(&KubernetesAccess::kubeconfig)},
      {"kubernetes_context", text(&KubernetesAccess::kubernetes_context)},
      {"kubernetes_servers", texts(&KubernetesAccess::kubernetes_servers)},
      {"kubernetes_namespace", text(&KubernetesAccess::kubernetes_namespace)},
  };
  return keys;
}

Result<void> check_kubernetes(const KubernetesAccess& access) {
  if (access.kubeconfig.empty() && !access.kubernetes_context.empty())
    return fail(ErrorCode::invalid, "kubernetes_context is of a kubeconfig, and none is given", "set kubeconfig");
  // A label of DNS, as names of namespaces are.
  const auto& name = access.kubernetes_namespace;
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz0123456789-";
  if (name.find_first_not_of(letters) != std::string::npos || name.size() > 63 || name.starts_with('-') ||
      name.ends_with('-'))
    return fail(ErrorCode::invalid, fmt::format("kubernetes_namespace: \"{}\" is no name of a Namespace", name),
                "use lower-case letters, digits and \"-\", for example weft-system");
  return {};
}

Result<void> check_no_kubernetes(const KubernetesAccess& access, const std::string& where, const std::string& hint) {
  for (const auto& [key, given] : {std::pair{"kubeconfig", !access.kubeconfig.empty()},
                                   {"kubernetes_context", !access.kubernetes_context.empty()},
                                   {"kubernetes_servers", !access.kubernetes_servers.empty()},
                                   {"kubernetes_namespace", !access.kubernetes_namespace.empty()}})
    if (given) return fail(ErrorCode::invalid, fmt::format("{} is given, but {}", key, where), hint);
  return {};
}

}  // namespace weft::config
