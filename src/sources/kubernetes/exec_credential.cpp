#include "sources/kubernetes/exec_credential.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/json_depth.h"

namespace weft::kubernetes {
namespace {

using nlohmann::json;

constexpr std::size_t most_bytes = 1UL << 20;
constexpr std::size_t most_depth = 32;

Result<std::string> text(const json& status, const char* key) {
  const auto found = status.find(key);
  if (found == status.end() || found->is_null()) return std::string();
  if (!found->is_string()) return fail(ErrorCode::invalid, fmt::format("status.{}: expected text", key));
  return found->get<std::string>();
}

Result<std::string> pem(const json& status, const char* key) {
  WEFT_TRY(auto value, text(status, key));
  if (!value.empty() && value.find("-----BEGIN ") == std::string::npos)
    return fail(ErrorCode::invalid, fmt::format("status.{}: this is not PEM, there is no \"-----BEGIN\"", key));
  return value;
}

Result<void> take(std::string_view printed, Access& access) {
  if (printed.size() > most_bytes) return fail(ErrorCode::invalid, "an ExecCredential is at most 1 MiB");
  if (nests_deeper(printed, most_depth)) return fail(ErrorCode::invalid, "this nests too deep");
  const auto object = json::parse(printed, nullptr, false);
  if (!object.is_object()) return fail(ErrorCode::invalid, "expected an ExecCredential, a JSON object");
  if (object.value("kind", json()) != "ExecCredential")
    return fail(ErrorCode::invalid, "kind: expected ExecCredential");
  if (object.value("apiVersion", json()) != access.login->api_version)
    return fail(ErrorCode::invalid,
                fmt::format("apiVersion: expected {}, as the kubeconfig says", access.login->api_version));
  const auto status = object.value("status", json());
  if (!status.is_object()) return fail(ErrorCode::invalid, "there is no status");
  WEFT_TRY(auto token, text(status, "token"));
  WEFT_TRY(auto certificate, pem(status, "clientCertificateData"));
  WEFT_TRY(auto key, pem(status, "clientKeyData"));
  if (token.find_first_of(std::string_view("\r\n\0 ", 4)) != std::string::npos)
    return fail(ErrorCode::invalid, "status.token: a token has neither spaces nor line breaks");
  if (certificate.empty() != key.empty())
    return fail(ErrorCode::invalid, "status: clientCertificateData and clientKeyData come together");
  if (token.empty() && key.empty())
    return fail(ErrorCode::invalid, "status: there is neither a token nor a certificate");
  access.token = std::move(token);
  access.certificate_pem = std::move(certificate);
  access.key_pem = std::move(key);
  access.login.reset();
  return {};
}

}  // namespace

std::string exec_info(const Access& access) {
  json spec{{"interactive", false}};
  if (access.login->cluster_info) {
    json cluster{{"server", access.servers.empty() ? "" : access.servers.front()}};
    if (!access.ca_pem.empty()) cluster["certificate-authority-data"] = encode_base64(access.ca_pem);
    if (!access.tls_server_name.empty()) cluster["tls-server-name"] = access.tls_server_name;
    if (access.insecure) cluster["insecure-skip-tls-verify"] = true;
    spec["cluster"] = std::move(cluster);
  }
  return json{{"apiVersion", access.login->api_version}, {"kind", "ExecCredential"}, {"spec", std::move(spec)}}.dump();
}

Result<void> take_exec_credential(std::string_view printed, Access& access) {
  auto taken = take(printed, access);
  if (taken) return taken;
  return fail(
      taken.error().in(fmt::format("{}: what {} printed", access.login->origin, access.login->command.front())));
}

}  // namespace weft::kubernetes
