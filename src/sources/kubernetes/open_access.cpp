#include "sources/kubernetes/open_access.h"

namespace weft::kubernetes {

Result<Access> open_access(const config::KubernetesAccess& config) {
  const AccessOptions options{.context = config.kubernetes_context, .servers = config.kubernetes_servers};
  return config.kubeconfig.empty() ? in_cluster(in_cluster_environment(), options)
                                   : read_kubeconfig(config.kubeconfig, options);
}

Result<void> check_servers(const config::KubernetesAccess& config) {
  for (const auto& server : config.kubernetes_servers)
    if (const auto parsed = parse_server(server); !parsed) return fail(parsed.error().in("kubernetes_servers"));
  return {};
}

std::string namespace_of(const config::KubernetesAccess& config, const Access& access) {
  if (!config.kubernetes_namespace.empty()) return config.kubernetes_namespace;
  // A pod's own. A context's is where its user works, which is mostly another matter.
  if (config.kubeconfig.empty() && !access.namespace_name.empty()) return access.namespace_name;
  return "weft-system";
}

}  // namespace weft::kubernetes
