// The program that logs in, run for real.
#include "install/access.h"

#include <gmock/gmock.h>

#include <unistd.h>

#include <filesystem>

#include "sys/system.h"

namespace weft::install {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class AccessTest : public ::testing::Test {
 public:
  AccessTest() { std::filesystem::create_directories(directory_); }
  ~AccessTest() override { std::filesystem::remove_all(directory_); }
  AccessTest(const AccessTest&) = delete;
  AccessTest& operator=(const AccessTest&) = delete;

 protected:
  Result<kubernetes::Access> with_program(const std::string& script, const std::string& more = {}) {
    const auto program = directory_ / "login";
    EXPECT_TRUE(sys::write_file_atomically(program, "#!/bin/sh\n" + script, 0700));
    return with_user(
        "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login, args: [one], env: [{name: WHO, "
        "value: me}]" +
        more + "}");
  }
  Result<kubernetes::Access> with_user(const std::string& user) {
    const auto path = directory_ / "config";
    EXPECT_TRUE(sys::write_file_atomically(path,
                                           "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
                                           "clusters: [{name: c, cluster: {server: https://192.0.2.1}}]\n"
                                           "users: [{name: u, user: {" +
                                               user + "}}]\n",
                                           0600));
    return find_access({.kubeconfig = path, .context = ""});
  }
  static std::string refused(const Result<kubernetes::Access>& access) {
    return access ? "accepted" : access.error().text();
  }

  std::filesystem::path directory_ =
      std::filesystem::temp_directory_path() / ("weft-access-" + std::to_string(::getpid()));
};

TEST_F(AccessTest, TheProgramSaysWhoWeAre) {
  const auto access = with_program(R"(
case $KUBERNETES_EXEC_INFO in *'"kind":"ExecCredential"'*) ;; *) exit 3;; esac
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s-%s"}}' "$WHO" "$1")");
  ASSERT_TRUE(access) << refused(access);
  EXPECT_EQ(access->token, "me-one");
  EXPECT_FALSE(access->login);
}

TEST_F(AccessTest, WhatDoesNotWorkSaysWhatToDo) {
  EXPECT_THAT(refused(with_program("exit 7")), AllOf(HasSubstr("exec: "), HasSubstr("/login ended with 7"),
                                                     HasSubstr("log in by hand: "), HasSubstr("/login one")));
  EXPECT_THAT(refused(with_program("echo hello")), HasSubstr("expected an ExecCredential"));
  EXPECT_THAT(refused(with_user("exec: {apiVersion: client.authentication.k8s.io/v1, command: weft-no-such-program, "
                                "installHint: get it at example.com}")),
              AllOf(HasSubstr("weft-no-such-program"), HasSubstr("get it at example.com")));
}

}  // namespace
}  // namespace weft::install
