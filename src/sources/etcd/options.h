// How to reach an etcd cluster. Plain values; validate() names the field that is wrong.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"
#include "sources/etcd/backoff.h"

namespace weft::etcd {

// Files in PEM, read again for every connection, so that renewed certificates need no restart.
struct TlsOptions {
  std::string ca_file;    // whom to believe; empty: the system's
  std::string cert_file;  // ours, with key_file; empty: none is shown
  std::string key_file;
  std::string server_name;  // what the server's certificate must name; empty: the endpoint's host
};

struct Options {
  std::vector<std::string> endpoints;  // "https://10.0.0.1:2379"; all http or all https
  TlsOptions tls;
  std::string user;  // empty: no authentication by password
  std::string password;
  std::chrono::milliseconds connect_timeout{3000};  // for one endpoint
  std::chrono::milliseconds call_timeout{5000};     // for a request, all its tries included
  // An idle connection is asked for a sign of life this often; etcd refuses less than 5 s.
  std::chrono::milliseconds keepalive{10000};
  std::chrono::milliseconds keepalive_timeout{5000};
  BackoffOptions backoff{};  // once every endpoint has failed
};

Result<void> validate(const Options& options);

// The file's text; `invalid` when it holds no PEM block. `field` names it in the error.
Result<std::string> read_pem(const std::string& field, const std::string& path);

}  // namespace weft::etcd
