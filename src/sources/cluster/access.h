// From a configuration to etcd.
#pragma once

#include "base/result.h"
#include "config/cluster_access.h"
#include "sources/etcd/options.h"

namespace weft::cluster {

// Reads the password's file.
inline Result<etcd::Options> etcd_options(const config::ClusterAccess& access) {
  etcd::Options options;
  options.endpoints = access.etcd_endpoints;
  options.tls.ca_file = access.etcd_ca_file;
  options.tls.cert_file = access.etcd_certificate_file;
  options.tls.key_file = access.etcd_key_file;
  options.user = access.etcd_user;
  WEFT_TRY(options.password, config::read_password(access));
  return options;
}

}  // namespace weft::cluster
