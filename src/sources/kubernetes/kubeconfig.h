// Where the API server is and who we are there: from a kubeconfig file, or from what a pod finds in itself.
//
// Of https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/ everything is understood that is plain data, and
// programs that log in (exec) where the caller is one that may start them (exec_credential.h). Auth-providers, proxies,
// user names with passwords and impersonation are refused by name, never ignored. Files are read at once, except the
// token's, which is read again (token.h).
// Blocking; errors say "<file>:<line>:<column>: ...".
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weft::kubernetes {

// A program that prints credentials, as a user's `exec` names it.
struct LoginProgram {
  std::string api_version;  // client.authentication.k8s.io/v1 or v1beta1
  std::vector<std::string> command;
  std::map<std::string, std::string> environment;  // besides its caller's
  std::string hint;                                // how to get the program
  bool cluster_info = false;                       // it wants to know the cluster
  std::string origin;                              // "/root/.kube/config:12:5: exec"
};

struct Access {
  std::vector<std::string> servers;  // "https://10.0.0.1:6443", in the order to try them; a path may follow
  std::string ca_pem;                // empty: the system's
  std::string certificate_pem;       // of the client; empty: none
  std::string key_pem;
  std::string token;            // empty: none
  std::string token_file;       // read again now and then; goes before `token`
  std::string tls_server_name;  // the name looked for in the server's certificate; empty: its address
  bool insecure = false;        // the server's certificate is not looked at
  std::string namespace_name;   // of the context, or the pod's own
  std::string origin;           // for messages: "/etc/kubernetes/admin.conf, context 'admin'"
  // To be run before the first request (AccessOptions::programs).
  std::optional<LoginProgram> login;
};

struct AccessOptions {
  std::string context;               // of a kubeconfig; empty: its current-context
  std::vector<std::string> servers;  // go before the one that is written there, for as long as Services do not work
  bool programs = false;             // false: a user who logs in by a program is refused
};

using FileReader = std::function<Result<std::string>(const std::string& path)>;

Result<Access> read_kubeconfig(const std::string& path, const AccessOptions& options);
Result<Access> parse_kubeconfig(const std::string& path, std::string_view text, const AccessOptions& options,
                                const FileReader& read);

// https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
struct InCluster {
  std::string host;  // KUBERNETES_SERVICE_HOST
  std::string port;  // KUBERNETES_SERVICE_PORT
  std::string directory = "/var/run/secrets/kubernetes.io/serviceaccount";
};
InCluster in_cluster_environment();
Result<Access> in_cluster(const InCluster& where, const AccessOptions& options);

// A URL of an API server as it is used: scheme and host, port if it is not the scheme's, no slash at the end.
// "10.0.0.1:6443" and "[2001:db8::1]" are taken for https.
Result<std::string> parse_server(std::string_view text);

Result<std::string> decode_base64(std::string_view text);
std::string encode_base64(std::string_view bytes);

}  // namespace weft::kubernetes
