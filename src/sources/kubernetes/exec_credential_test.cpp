#include "sources/kubernetes/exec_credential.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace weft::kubernetes {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string head = R"(
current-context: a
contexts: [{name: a, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://192.0.2.1:6443", tls-server-name: kubernetes, certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==}}]
users: [{name: u, user: {)";

Result<Access> parse(const std::string& user, bool programs = true) {
  return parse_kubeconfig(
      "/root/.kube/config", head + user + "}}]\n", {.context = "", .servers = {}, .programs = programs},
      [](const std::string& path) -> Result<std::string> { return fail(ErrorCode::not_found, path); });
}

constexpr auto whole =
    "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [eks, get-token], env: [{name: "
    "AWS_PROFILE, "
    "value: work}], installHint: get aws, interactiveMode: IfAvailable, provideClusterInfo: true}";

std::string refused(const std::string& user) {
  const auto access = parse(user);
  return access ? "accepted" : access.error().text();
}

TEST(ExecCredential, AProgramIsReadAndToldOfTheCluster) {
  const auto access = parse(whole);
  ASSERT_TRUE(access) << access.error().text();
  ASSERT_TRUE(access->login);
  EXPECT_THAT(access->login->command, ElementsAre("aws", "eks", "get-token"));
  EXPECT_EQ(access->login->environment.at("AWS_PROFILE"), "work");
  EXPECT_EQ(access->login->hint, "get aws");
  EXPECT_EQ(access->login->origin, "/root/.kube/config:5:32: exec");
  const auto info = json::parse(exec_info(*access));
  EXPECT_EQ(info["apiVersion"], "client.authentication.k8s.io/v1");
  EXPECT_EQ(info["kind"], "ExecCredential");
  EXPECT_EQ(info["spec"]["interactive"], false);
  EXPECT_EQ(info["spec"]["cluster"]["server"], "https://192.0.2.1:6443");
  EXPECT_EQ(info["spec"]["cluster"]["certificate-authority-data"], "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==");
  EXPECT_EQ(info["spec"]["cluster"]["tls-server-name"], "kubernetes");
}

TEST(ExecCredential, WhatIsWrittenInTheFileGoesBeforeIt) {
  const auto access = parse(std::string("token: secret, ") + whole);
  ASSERT_TRUE(access) << access.error().text();
  EXPECT_FALSE(access->login);
  EXPECT_EQ(access->token, "secret");
}

TEST(ExecCredential, PathsCountFromTheFile) {
  const auto access = parse("exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: bin/login}");
  ASSERT_TRUE(access) << access.error().text();
  EXPECT_THAT(access->login->command, ElementsAre("/root/.kube/bin/login"));
}

TEST(ExecCredential, WhatIsWrongInTheFileIsNamed) {
  EXPECT_THAT(refused("exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x}"),
              HasSubstr("exec: apiVersion \"client.authentication.k8s.io/v1alpha1\" is not known"));
  EXPECT_THAT(refused("exec: {apiVersion: client.authentication.k8s.io/v1}"), HasSubstr("there is no command"));
  EXPECT_THAT(refused("exec: {apiVersion: client.authentication.k8s.io/v1, command: x, args: y}"),
              HasSubstr("args: expected a list"));
  EXPECT_THAT(refused("exec: {apiVersion: client.authentication.k8s.io/v1, command: x, env: [y]}"),
              HasSubstr("env: expected a name and a value"));
  EXPECT_THAT(refused("exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}"),
              HasSubstr("interactiveMode: Always"));
  EXPECT_THAT(refused("exec: [x]"), HasSubstr("expected a mapping"));
  EXPECT_FALSE(parse(whole, false)) << "a service runs no programs";
}

TEST(ExecCredential, TokensAndCertificatesAreTaken) {
  auto access = parse(whole).value();
  const json printed{{"apiVersion", "client.authentication.k8s.io/v1"},
                     {"kind", "ExecCredential"},
                     {"status",
                      {{"token", "one"},
                       {"expirationTimestamp", "2030-01-01T00:00:00Z"},
                       {"clientCertificateData", "-----BEGIN CERTIFICATE-----\n"},
                       {"clientKeyData", "-----BEGIN KEY-----\n"}}}};
  ASSERT_TRUE(take_exec_credential(printed.dump(), access));
  EXPECT_EQ(access.token, "one");
  EXPECT_EQ(access.certificate_pem, "-----BEGIN CERTIFICATE-----\n");
  EXPECT_EQ(access.key_pem, "-----BEGIN KEY-----\n");
  EXPECT_FALSE(access.login);
}

TEST(ExecCredential, WhatIsPrintedIsLookedAt) {
  auto access = parse(whole).value();
  const auto message = [&](const std::string& printed) {
    const auto taken = take_exec_credential(printed, access);
    EXPECT_TRUE(access.login) << printed;
    return taken ? std::string("accepted") : taken.error().text();
  };
  const auto with = [](const std::string& status) {
    return R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":)" + status + "}";
  };
  EXPECT_THAT(message("Please log in"), HasSubstr("config:5:32: exec: what aws printed: expected an ExecCredential"));
  EXPECT_THAT(message("{}"), HasSubstr("kind: expected ExecCredential"));
  EXPECT_THAT(message(R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1"})"),
              HasSubstr("apiVersion: expected client.authentication.k8s.io/v1"));
  EXPECT_THAT(message(with("null")), HasSubstr("there is no status"));
  EXPECT_THAT(message(with("{}")), HasSubstr("neither a token nor a certificate"));
  EXPECT_THAT(message(with(R"({"token":7})")), HasSubstr("status.token: expected text"));
  EXPECT_THAT(message(with(R"({"token":"a\nb"})")), HasSubstr("neither spaces nor line breaks"));
  EXPECT_THAT(message(with(R"({"clientKeyData":"x"})")), HasSubstr("clientKeyData: this is not PEM"));
  EXPECT_THAT(message(with(R"({"clientKeyData":"-----BEGIN KEY-----"})")), HasSubstr("come together"));
  EXPECT_THAT(message(std::string(100, '[')), HasSubstr("nests too deep"));
}

TEST(ExecCredential, Base64GoesBothWays) {
  for (const std::string text : {"", "f", "fo", "foo", "foob", "fooba", "foobar", "\xff\x00\x80"}) {
    EXPECT_EQ(decode_base64(encode_base64(text)).value_or("?"), text);
  }
  EXPECT_EQ(encode_base64("fooba"), "Zm9vYmE=");
  EXPECT_EQ(encode_base64("foob"), "Zm9vYg==");
}

}  // namespace
}  // namespace weft::kubernetes
