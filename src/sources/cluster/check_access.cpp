#include "sources/cluster/check_access.h"

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "sources/cluster/access.h"
#include "sources/cluster/keys.h"

namespace weft::cluster {
namespace {

// The client's names of what it is told, and the keys it is configured by. Longer ones first.
constexpr std::array<std::pair<std::string_view, std::string_view>, 7> keys = {{
    {"endpoints", "etcd_endpoints"},
    {"tls.ca_file", "etcd_ca_file"},
    {"tls.cert_file", "etcd_certificate_file"},
    {"tls.key_file", "etcd_key_file"},
    {"tls", "etcd_ca_file and etcd_certificate_file"},
    {"user", "etcd_user"},
    {"password", "etcd_password_file"},
}};

Error with_key(Error error) {
  for (const auto& [field, key] : keys)
    if (std::string_view(error.message).starts_with(field)) {
      error.message.replace(0, field.size(), key);
      break;
    }
  return error;
}

}  // namespace

Result<void> check_access(const config::ClusterAccess& access) {
  WEFT_TRY(const auto keyspace, Keyspace::make(access.cluster));
  const auto options = etcd_options(access);
  if (!options) return fail(options.error().in("etcd_password_file"));
  if (auto valid = etcd::validate(*options); !valid) return fail(with_key(valid.error()));
  return {};
}

}  // namespace weft::cluster
