#include "sources/etcd/options.h"

#include <fmt/format.h>

#include <cerrno>
#include <fstream>
#include <iterator>

#include "sources/etcd/endpoint.h"

namespace weft::etcd {
namespace {

Result<void> validate_endpoints(const Options& options) {
  if (options.endpoints.empty()) return fail(ErrorCode::invalid, "endpoints: at least one is needed");
  bool first_tls = false;
  for (std::size_t i = 0; i < options.endpoints.size(); ++i) {
    const std::string field = fmt::format("endpoints[{}]", i);
    const auto endpoint = parse_endpoint(options.endpoints[i]);
    if (!endpoint) return fail(endpoint.error().in(field));
    if (i == 0) first_tls = endpoint->tls;
    if (endpoint->tls != first_tls)
      return fail(ErrorCode::invalid, field + ": http and https are mixed", "use one scheme for all endpoints");
  }
  const auto& tls = options.tls;
  const bool wants_tls =
      !(tls.ca_file.empty() && tls.cert_file.empty() && tls.key_file.empty() && tls.server_name.empty());
  if (wants_tls && !first_tls)
    return fail(ErrorCode::invalid, "tls: the endpoints are http, so it would not be used",
                "write the endpoints with https://");
  return {};
}

Result<void> validate_tls(const TlsOptions& tls) {
  if (tls.cert_file.empty() != tls.key_file.empty())
    return fail(ErrorCode::invalid, fmt::format("tls.{}: is missing; a certificate and its key belong together",
                                                tls.cert_file.empty() ? "cert_file" : "key_file"));
  if (!tls.ca_file.empty()) WEFT_CHECK(read_pem("tls.ca_file", tls.ca_file));
  if (!tls.cert_file.empty()) WEFT_CHECK(read_pem("tls.cert_file", tls.cert_file));
  if (!tls.key_file.empty()) WEFT_CHECK(read_pem("tls.key_file", tls.key_file));
  return {};
}

Result<void> positive(const char* field, std::chrono::milliseconds value, std::chrono::milliseconds least) {
  if (value >= least) return {};
  return fail(ErrorCode::invalid, fmt::format("{}: {} ms is less than {} ms", field, value.count(), least.count()));
}

}  // namespace

Result<void> validate(const Options& options) {
  using std::chrono::milliseconds;
  WEFT_CHECK(validate_endpoints(options));
  WEFT_CHECK(validate_tls(options.tls));
  if (options.user.empty() && !options.password.empty())
    return fail(ErrorCode::invalid, "user: is missing; a password is given");
  if (!options.user.empty() && options.password.empty())
    return fail(ErrorCode::invalid, "password: is missing; a user is given");
  WEFT_CHECK(positive("connect_timeout", options.connect_timeout, milliseconds(1)));
  WEFT_CHECK(positive("call_timeout", options.call_timeout, milliseconds(1)));
  WEFT_CHECK(positive("keepalive", options.keepalive, milliseconds(5000)));
  WEFT_CHECK(positive("keepalive_timeout", options.keepalive_timeout, milliseconds(1)));
  WEFT_CHECK(positive("backoff.base", options.backoff.base, milliseconds(1)));
  return positive("backoff.cap", options.backoff.cap, options.backoff.base);
}

Result<std::string> read_pem(const std::string& field, const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(errno_error(path, errno).in(field));
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) return fail(ErrorCode::io, fmt::format("{}: {}: cannot be read", field, path));
  if (text.find("-----BEGIN ") == std::string::npos)
    return fail(ErrorCode::invalid, fmt::format("{}: {}: holds no PEM block", field, path));
  return text;
}

}  // namespace weft::etcd
