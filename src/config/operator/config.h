// weft-operator's configuration file: YAML, every key known, documented in deploy/weft-operator.yaml. Those about etcd,
// the cluster and the Kubernetes API server are weftd's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "base/result.h"
#include "config/cluster_access.h"
#include "config/kubernetes_access.h"

namespace weft::op {

struct Config : config::ClusterAccess, config::KubernetesAccess {
  // Where nodes keep what they know of each other: as weftd's. `embedded`: they know nothing of each other.
  enum class Store { etcd, kubernetes, embedded };
  Store store = Store::etcd;
  // Where Services and pools come from: as weftd's.
  enum class ObjectSource { applied, kubernetes };
  ObjectSource objects = ObjectSource::applied;
  std::string crds;                // a directory with the CustomResourceDefinitions to keep installed; empty: none
  std::string health_address;      // "127.0.0.1:9441": where /healthz and /readyz answer; empty: nowhere
  std::string name;                // among the cluster's operators; the host name when empty
  std::string log_level = "info";  // error, warn, info, debug
  std::string log_file;            // standard error when empty
  [[nodiscard]] bool on_kubernetes() const { return objects == ObjectSource::kubernetes; }
};

struct HealthAddress {
  IpAddress address;
  std::uint16_t port = 0;
};
// "127.0.0.1:9441", "[::]:9441".
Result<HealthAddress> parse_health_address(std::string_view text);

// An unknown key, a wrong type or value is an error "<file>:<line>:<column>: <key>: ...".
Result<Config> parse_config(const std::string& file, std::string_view text);
Result<Config> load_config(const std::string& path);

}  // namespace weft::op
