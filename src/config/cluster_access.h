// The part of a configuration that weftd and weft-operator have in common: where the cluster's etcd is, and how long
// who is silent counts as there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/keys.h"

namespace weft::config {

struct ClusterAccess {
  std::string cluster = "default";          // nodes of one cluster share what lies below this name
  std::vector<std::string> etcd_endpoints;  // "https://10.0.0.1:2379"
  std::string etcd_ca_file;
  std::string etcd_certificate_file;
  std::string etcd_key_file;
  std::string etcd_user;
  std::string etcd_password_file;
  std::uint32_t lease_seconds = 30;
  std::uint32_t reclaim_seconds = 600;
};

// A key for each field, named as it is.
const Keys<ClusterAccess>& cluster_access_keys();
// The times fit each other.
Result<void> check_times(const ClusterAccess& access);
// Endpoints are there, and the times fit each other.
Result<void> check(const ClusterAccess& access);
Result<void> check_times(const ClusterAccess& access);
// The text of `etcd_password_file`; empty where there is none.
Result<std::string> read_password(const ClusterAccess& access);

}  // namespace weft::config
