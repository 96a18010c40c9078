// Kubeconfigs: no text crashes the parser; what it accepts is usable; what it refuses names the file.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sources/kubernetes/exec_credential.h"
#include "sources/kubernetes/kubeconfig.h"

namespace {

namespace kubernetes = weft::kubernetes;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto access = kubernetes::parse_kubeconfig(
      "/etc/fuzz.conf", text, {.context = "", .servers = {}, .programs = true},
      [](const std::string& path) -> weft::Result<std::string> {
        if (path.ends_with(".pem")) return std::string("-----BEGIN CERTIFICATE-----\n");
        return weft::fail(weft::ErrorCode::not_found, path + ": No such file or directory");
      });
  if (!access) {
    require(access.error().message.find("/etc/fuzz.conf") != std::string::npos, "a refusal names the file");
  } else {
    require(!access->servers.empty(), "there is a server");
    for (const auto& server : access->servers)
      require(kubernetes::parse_server(server).value_or("") == server, "an address is understood the same way again");
    require(access->certificate_pem.empty() == access->key_pem.empty(), "a certificate has a key");
    require(access->token.find('\n') == std::string::npos, "a token is one line");
    require(!access->insecure || access->ca_pem.empty(), "who looks at no certificate has no authority");
  }
  if (const auto bytes = kubernetes::decode_base64(text))
    require(kubernetes::decode_base64(kubernetes::encode_base64(*bytes)).value_or("") == *bytes,
            "base64 goes both ways");
  kubernetes::Access who;
  who.login = kubernetes::LoginProgram{.api_version = "client.authentication.k8s.io/v1", .command = {"login"}};
  if (kubernetes::take_exec_credential(text, who)) {
    require(who.token.find('\n') == std::string::npos, "a token of a program is one line");
    require(who.certificate_pem.empty() == who.key_pem.empty(), "a certificate of a program has a key");
    require(!who.token.empty() || !who.key_pem.empty(), "there is something to show");
  }
  if (const auto server = kubernetes::parse_server(text))
    require(kubernetes::parse_server(*server).value_or("") == *server, "an address is understood the same way again");
  return 0;
}
