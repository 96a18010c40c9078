#include "config/cluster_access.h"

#include "sys/system.h"

namespace weft::config {

const Keys<ClusterAccess>& cluster_access_keys() {
  static const Keys<ClusterAccess> keys{
      {"cluster", text(&ClusterAccess::cluster)},
      {"etcd_endpoints", texts(&ClusterAccess::etcd_endpoints)},
      {"etcd_ca_file", text(&ClusterAccess::etcd_ca_file)},
      {"etcd_certificate_file", text(&ClusterAccess::etcd_certificate_file)},
      {"etcd_key_file", text(&ClusterAccess::etcd_key_file)},
      {"etcd_user", text(&ClusterAccess::etcd_user)},
      {"etcd_password_file", text(&ClusterAccess::etcd_password_file)},
      {"lease_seconds", number(&ClusterAccess::lease_seconds, 2, 3600)},
      {"reclaim_seconds", number(&ClusterAccess::reclaim_seconds, 4, 604800)},
  };
  return keys;
}

Result<void> check(const ClusterAccess& access) {
  if (access.etcd_endpoints.empty())
    return fail(ErrorCode::invalid, "etcd_endpoints is empty",
                "list the URLs of the cluster's members, for example [\"http://10.0.0.1:2379\"]");
  return check_times(access);
}

Result<void> check_times(const ClusterAccess& access) {
  if (access.reclaim_seconds < 2 * access.lease_seconds)
    return fail(ErrorCode::invalid, fmt::format("reclaim_seconds: {} is less than twice lease_seconds, {}",
                                                access.reclaim_seconds, access.lease_seconds));
  return {};
}

Result<std::string> read_password(const ClusterAccess& access) {
  if (access.etcd_password_file.empty()) return std::string();
  WEFT_TRY(auto text, sys::read_file(access.etcd_password_file));
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ' || text.back() == '\r')) text.pop_back();
  return text;
}

}  // namespace weft::config
