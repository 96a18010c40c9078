// What a start would refuse of a configuration, without asking etcd; so that checking it and starting say the same.
#pragma once

#include "base/result.h"
#include "config/cluster_access.h"

namespace weft::cluster {

// The cluster's name, the endpoints, and that certificates and the password can be read. Errors name the
// configuration's keys.
Result<void> check_access(const config::ClusterAccess& access);

}  // namespace weft::cluster
