// weft-operator's configuration file: YAML, every key known, documented in deploy/weft-operator.yaml. Those about etcd
// and the cluster are weftd's.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "config/cluster_access.h"

namespace weft::op {

struct Config : config::ClusterAccess {
  std::string name;                // among the cluster's operators; the host name when empty
  std::string log_level = "info";  // error, warn, info, debug
  std::string log_file;            // standard error when empty
};

// An unknown key, a wrong type or value is an error "<file>:<line>:<column>: <key>: ...".
Result<Config> parse_config(const std::string& file, std::string_view text);
Result<Config> load_config(const std::string& path);

}  // namespace weft::op
