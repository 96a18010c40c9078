#include "sources/kubernetes/kubeconfig.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "sources/kubernetes/token.h"

namespace weft::kubernetes {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* whole = R"(apiVersion: v1
kind: Config
current-context: admin@prod
clusters:
- name: prod
  cluster:
    server: https://10.0.0.1:6443/
    certificate-authority: pki/ca.crt
    tls-server-name: kubernetes
- name: lab
  cluster: {server: "http://127.0.0.1:8080"}
contexts:
- name: admin@prod
  context: {cluster: prod, user: admin, namespace: weft}
- name: lab
  context: {cluster: lab}
users:
- name: admin
  user:
    client-certificate-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==
    client-key: /etc/admin.key
    token: secret
    tokenFile: token
)";

Result<std::string> from(const std::map<std::string, std::string>& files, const std::string& path) {
  const auto found = files.find(path);
  if (found == files.end()) return fail(ErrorCode::not_found, path + ": No such file or directory");
  return found->second;
}

Result<Access> parse(const std::string& text, const AccessOptions& options = {}) {
  return parse_kubeconfig("/etc/k/config", text, options, [](const std::string& path) {
    return from({{"/etc/k/pki/ca.crt", "-----BEGIN CERTIFICATE-----\n"}, {"/etc/admin.key", "-----BEGIN KEY-----\n"}},
                path);
  });
}

std::string with(const std::string& was, const std::string& becomes) {
  std::string text = whole;
  const auto at = text.find(was);
  EXPECT_NE(at, std::string::npos) << was;
  return text.replace(at, was.size(), becomes);
}

TEST(Kubeconfig, TheCurrentContextIsUnderstood) {
  const auto access = parse(whole);
  ASSERT_TRUE(access) << access.error().text();
  EXPECT_THAT(access->servers, ElementsAre("https://10.0.0.1:6443"));
  EXPECT_EQ(access->ca_pem, "-----BEGIN CERTIFICATE-----\n");
  EXPECT_EQ(access->certificate_pem, "-----BEGIN CERTIFICATE-----\n");
  EXPECT_EQ(access->key_pem, "-----BEGIN KEY-----\n");
  EXPECT_EQ(access->token, "secret");
  EXPECT_EQ(access->token_file, "/etc/k/token");
  EXPECT_EQ(access->tls_server_name, "kubernetes");
  EXPECT_EQ(access->namespace_name, "weft");
  EXPECT_FALSE(access->insecure);
  EXPECT_EQ(access->origin, "/etc/k/config, context 'admin@prod'");
}

TEST(Kubeconfig, AnotherContextAndOtherAddressesCanBeNamed) {
  const auto access = parse(whole, {.context = "lab", .servers = {"10.0.0.7:6443", "http://127.0.0.1:8080/"}});
  ASSERT_TRUE(access) << access.error().text();
  EXPECT_THAT(access->servers, ElementsAre("https://10.0.0.7:6443", "http://127.0.0.1:8080"));
  EXPECT_EQ(access->token, "");
}

TEST(Kubeconfig, WhatIsWrongIsNamedWithItsPlace) {
  const auto message = [](const std::string& text, const AccessOptions& options = {}) {
    const auto access = parse(text, options);
    return access ? std::string("accepted") : access.error().text();
  };
  EXPECT_EQ(
      message(with("current-context: admin@prod\n", "")),
      "/etc/k/config: there is no current-context; set it with \"kubectl config use-context NAME\", or name a context");
  EXPECT_EQ(message(whole, {.context = "other"}),
            "/etc/k/config: there is no context 'other' among contexts; there are: admin@prod, lab");
  EXPECT_THAT(message(with("user: admin,", "user: nobody,")), HasSubstr("there is no user 'nobody' among users"));
  EXPECT_THAT(message(with("cluster: prod, user", "cluster: gone, user")), HasSubstr("there are: prod, lab"));
  EXPECT_THAT(message(with("pki/ca.crt", "pki/none.crt")),
              HasSubstr("/etc/k/config:8:28: certificate-authority: /etc/k/pki/none.crt: No such file"));
  EXPECT_THAT(message(with("tls-server-name: kubernetes", "proxy-url: http://proxy:3128")),
              HasSubstr("/etc/k/config:9:16: proxy-url: API servers behind a proxy are not supported; take it out"));
  EXPECT_THAT(message(with("    token: secret", "    exec: {command: aws}")),
              HasSubstr("exec: credentials got by running a program are for people, not for services"));
  EXPECT_THAT(message(with("    token: secret", "    auth-provider: {name: gcp}")), HasSubstr("auth-provider: "));
  EXPECT_THAT(message(with("    token: secret", "    password: x")), HasSubstr("do not take passwords"));
  EXPECT_THAT(message(with("    token: secret", "    as: root")), HasSubstr("acting as another user"));
  EXPECT_THAT(message(with("    token: secret", "    token: \"a\\nb\"")), HasSubstr("neither spaces nor line breaks"));
  EXPECT_THAT(message(with("tls-server-name: kubernetes", "insecure-skip-tls-verify: true")),
              HasSubstr("exclude each other"));
  EXPECT_THAT(message(with("    client-key: /etc/admin.key\n", "")), HasSubstr("add client-key"));
  EXPECT_THAT(message(with("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==", "bm90IHBlbQ==")), HasSubstr("not PEM"));
  EXPECT_THAT(message(with("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==", "\"*%\"")), HasSubstr("not base64"));
  EXPECT_THAT(message(with("https://10.0.0.1:6443/", "ftp://x")), HasSubstr("/etc/k/config:7:13: server: \"ftp://x\""));
  EXPECT_THAT(message("a: [b"), HasSubstr("/etc/k/config:1:"));
  EXPECT_THAT(message("- a"), HasSubstr("expected a kubeconfig"));
  EXPECT_THAT(message("contexts: {}\ncurrent-context: a"), HasSubstr("expected a list"));
}

TEST(Kubeconfig, Servers) {
  EXPECT_EQ(parse_server("10.0.0.1").value_or(""), "https://10.0.0.1");
  EXPECT_EQ(parse_server("https://[2001:db8::1]:6443//").value_or(""), "https://[2001:db8::1]:6443");
  EXPECT_EQ(parse_server("https://rancher/k8s/clusters/c-1").value_or(""), "https://rancher/k8s/clusters/c-1");
  for (const auto* bad : {"", "https://", "2001:db8::1", "https://a b", "https://user@host", "h:0", "h:65536", "h:x",
                          "[::1", "[::1]x", "[]:1", "https://h\nHost: x", "h:99999999999999999999"})
    EXPECT_FALSE(parse_server(bad)) << bad;
}

TEST(Kubeconfig, Base64) {
  EXPECT_EQ(decode_base64("").value_or("?"), "");
  EXPECT_EQ(decode_base64("Zg==").value_or("?"), "f");
  EXPECT_EQ(decode_base64("Zm8=").value_or("?"), "fo");
  EXPECT_EQ(decode_base64("Zm9v\nYmFy").value_or("?"), "foobar");
  EXPECT_EQ(decode_base64("Zm8").value_or("?"), "fo");
  for (const auto* bad : {"Z", "Zg=", "Z===", "Zg==Zg==", "Zm9v=", "Z g#"}) EXPECT_FALSE(decode_base64(bad)) << bad;
}

class ServiceAccount : public ::testing::Test {
 protected:
  ServiceAccount() {
    std::string name = (std::filesystem::temp_directory_path() / "weft-kubernetes.XXXXXX").string();
    directory_ = mkdtemp(name.data());
    write("token", "first\n");
    write("ca.crt", "-----BEGIN CERTIFICATE-----\n");
    write("namespace", "kube-system");
  }
  ~ServiceAccount() override { std::filesystem::remove_all(directory_); }
  void write(const std::string& name, const std::string& text) { std::ofstream(directory_ + "/" + name) << text; }

  std::string directory_;
};

TEST_F(ServiceAccount, APodFindsItsServer) {
  const auto access =
      in_cluster({.host = "fd00::1", .port = "443", .directory = directory_}, {.servers = {"10.0.0.1:6443"}});
  ASSERT_TRUE(access) << access.error().text();
  EXPECT_THAT(access->servers, ElementsAre("https://10.0.0.1:6443", "https://[fd00::1]:443"));
  EXPECT_EQ(access->token, "first");
  EXPECT_EQ(access->namespace_name, "kube-system");
}

TEST_F(ServiceAccount, WhatIsMissingIsNamed) {
  EXPECT_THAT(in_cluster({.directory = directory_}, {}).error().text(),
              HasSubstr("KUBERNETES_SERVICE_HOST is not set"));
  std::filesystem::remove(directory_ + "/ca.crt");
  EXPECT_THAT(in_cluster({.host = "10.96.0.1", .directory = directory_}, {}).error().text(),
              HasSubstr("automountServiceAccountToken"));
}

TEST_F(ServiceAccount, ATokenIsReadAgain) {
  Token token("", directory_ + "/token");
  const Token::Time start{};
  EXPECT_EQ(token.current(start), "first");
  write("token", "second");
  EXPECT_EQ(token.current(start + std::chrono::seconds(59)), "first");
  EXPECT_EQ(token.current(start + std::chrono::seconds(60)), "second");
  // The same again is of no use; what another request has found out meanwhile is.
  EXPECT_FALSE(token.refused("second", start + std::chrono::seconds(61)));
  write("token", "third");
  EXPECT_TRUE(token.refused("second", start + std::chrono::seconds(62)));
  EXPECT_TRUE(token.refused("second", start + std::chrono::seconds(62)));
  EXPECT_EQ(token.current(start + std::chrono::seconds(63)), "third");
}

TEST_F(ServiceAccount, ATokenStaysWhenItsFileIsBad) {
  Token token("", directory_ + "/token");
  const Token::Time start{};
  EXPECT_EQ(token.current(start), "first");
  write("token", "a\nX-Other: b");
  EXPECT_FALSE(token.refused("first", start));
  EXPECT_THAT(token.problem(), HasSubstr("this is no token"));
  std::filesystem::remove(directory_ + "/token");
  EXPECT_EQ(token.current(start + std::chrono::minutes(2)), "first");
  EXPECT_THAT(token.problem(), HasSubstr("No such file"));
}

}  // namespace
}  // namespace weft::kubernetes
