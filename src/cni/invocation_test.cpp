#include "cni/invocation.h"

#include <gmock/gmock.h>

namespace weft::cni {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

Environment full_environment(const std::string& command) {
  return {{"CNI_COMMAND", command},
          {"CNI_CONTAINERID", "c0ffee"},
          {"CNI_NETNS", "/run/netns/blue"},
          {"CNI_IFNAME", "eth0"},
          {"CNI_PATH", "/opt/cni/bin"}};
}

constexpr std::string_view plain = R"({"cniVersion":"1.0.0","name":"weft","type":"weft-cni"})";

ErrorNumber refusal(const Environment& environment, std::string_view input) {
  const auto parsed = parse_invocation(environment, input);
  EXPECT_FALSE(parsed.has_value());
  if (parsed) return ErrorNumber{0};
  EXPECT_FALSE(parsed.error().message.empty());
  return parsed.error().number;
}

TEST(Invocation, AddCarriesEverything) {
  auto environment = full_environment("ADD");
  environment["CNI_ARGS"] = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;IP=10.244.0.7";
  const auto parsed = parse_invocation(
      environment,
      R"({"cniVersion":"0.4.0","name":"weft","socket":"/tmp/a.sock","timeoutSeconds":0.5,"runtimeConfig":{"mac":"02:00:00:00:00:01"}})");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->command, Command::add);
  EXPECT_EQ(parsed->version, SpecVersion::v0_4_0);
  EXPECT_EQ(parsed->container_id, "c0ffee");
  EXPECT_EQ(parsed->netns, "/run/netns/blue");
  EXPECT_EQ(parsed->ifname, "eth0");
  EXPECT_EQ(parsed->network, "weft");
  EXPECT_EQ(parsed->socket, "/tmp/a.sock");
  EXPECT_EQ(parsed->timeout, std::chrono::milliseconds(500));
  EXPECT_THAT(parsed->args, ElementsAre(Pair("IP", "10.244.0.7"), Pair("IgnoreUnknown", "1"),
                                        Pair("K8S_POD_NAME", "web-0"), Pair("K8S_POD_NAMESPACE", "shop")));
  EXPECT_EQ(parsed->config["runtimeConfig"]["mac"], "02:00:00:00:00:01");
}

TEST(Invocation, DefaultsAreTheAgentsOwn) {
  const auto parsed = parse_invocation(full_environment("ADD"), plain);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->socket, "/run/weft/weft.sock");
  EXPECT_EQ(parsed->timeout, std::chrono::seconds(10));
}

TEST(Invocation, CommandsRefuseWhatTheyLack) {
  struct Case {
    const char* command;
    const char* variable;
    bool needed;
  };
  for (const auto& [command, variable, needed] :
       {Case{"ADD", "CNI_CONTAINERID", true}, Case{"ADD", "CNI_NETNS", true}, Case{"ADD", "CNI_IFNAME", true},
        Case{"DEL", "CNI_CONTAINERID", true}, Case{"DEL", "CNI_IFNAME", true}, Case{"DEL", "CNI_NETNS", false},
        Case{"DEL", "CNI_PATH", false}, Case{"ADD", "CNI_PATH", false}}) {
    auto environment = full_environment(command);
    environment.erase(variable);
    const auto parsed = parse_invocation(environment, plain);
    EXPECT_EQ(parsed.has_value(), !needed) << command << " without " << variable;
    if (parsed) continue;
    EXPECT_EQ(parsed.error().number, ErrorNumber::bad_environment);
    EXPECT_THAT(parsed.error().message, HasSubstr(variable));
  }
}

TEST(Invocation, StatusAndGcNeedNoContainer) {
  EXPECT_TRUE(parse_invocation({{"CNI_COMMAND", "STATUS"}}, R"({"cniVersion":"1.1.0","name":"weft"})"));
  const auto parsed = parse_invocation(
      {{"CNI_COMMAND", "GC"}},
      R"({"cniVersion":"1.1.0","name":"weft","cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"},{"containerID":"b","ifname":"net1"}]})");
  ASSERT_TRUE(parsed);
  EXPECT_THAT(parsed->valid_attachments, ElementsAre(Attachment{"a", "eth0"}, Attachment{"b", "net1"}));
}

TEST(Invocation, GcWithoutItsListRemovesNothing) {
  const Environment gc{{"CNI_COMMAND", "GC"}};
  EXPECT_EQ(refusal(gc, R"({"cniVersion":"1.1.0","name":"weft"})"), ErrorNumber::bad_configuration);
  EXPECT_EQ(refusal(gc, R"({"cniVersion":"1.1.0","name":"weft","cni.dev/valid-attachments":[{"containerID":"a"}]})"),
            ErrorNumber::bad_configuration);
  EXPECT_EQ(refusal(gc, R"({"cniVersion":"1.1.0","name":"weft","cni.dev/valid-attachments":{"a":1}})"),
            ErrorNumber::bad_configuration);
  // A Go runtime writes an empty list as null.
  const auto empty = parse_invocation(gc, R"({"cniVersion":"1.1.0","name":"weft","cni.dev/valid-attachments":null})");
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->valid_attachments.empty());
}

TEST(Invocation, ContainerIdSyntax) {
  for (const char* good : {"a", "0", "A-b_c.9"}) {
    auto environment = full_environment("ADD");
    environment["CNI_CONTAINERID"] = good;
    EXPECT_TRUE(parse_invocation(environment, plain)) << good;
  }
  for (const char* bad : {"-a", "_a", ".a", "a/b", "a b", "a\n", "\xc3\xa4"}) {
    auto environment = full_environment("DEL");
    environment["CNI_CONTAINERID"] = bad;
    EXPECT_EQ(refusal(environment, plain), ErrorNumber::bad_environment) << bad;
  }
}

TEST(Invocation, InterfaceNameSyntax) {
  for (const char* bad : {".", "..", "a/b", "a:b", "a b", "a\tb", "sixteen-letters1"}) {
    auto environment = full_environment("ADD");
    environment["CNI_IFNAME"] = bad;
    EXPECT_EQ(refusal(environment, plain), ErrorNumber::bad_environment) << bad;
  }
  auto environment = full_environment("ADD");
  environment["CNI_IFNAME"] = "fifteen-letters";
  EXPECT_TRUE(parse_invocation(environment, plain));
}

TEST(Invocation, UnknownCommandsAreBadEnvironment) {
  EXPECT_EQ(refusal({}, plain), ErrorNumber::bad_environment);
  EXPECT_EQ(refusal({{"CNI_COMMAND", "add"}}, plain), ErrorNumber::bad_environment);
  EXPECT_EQ(refusal({{"CNI_COMMAND", "UPDATE"}}, plain), ErrorNumber::bad_environment);
}

TEST(Invocation, Versions) {
  const auto with = [](const std::string& version) { return R"({"name":"weft","cniVersion":")" + version + "\"}"; };
  for (const char* good : {"0.3.1", "0.4.0", "1.0.0", "1.1.0"})
    EXPECT_TRUE(parse_invocation(full_environment("ADD"), with(good))) << good;
  for (const char* bad : {"", "0.1.0", "0.2.0", "0.3.0", "1.2.0", "2.0.0", "1.0", "abc"})
    EXPECT_EQ(refusal(full_environment("ADD"), with(bad)), ErrorNumber::incompatible_version) << bad;
  EXPECT_EQ(refusal(full_environment("ADD"), R"({"name":"weft"})"), ErrorNumber::incompatible_version);
  EXPECT_EQ(refusal(full_environment("ADD"), R"({"name":"weft","cniVersion":1})"), ErrorNumber::bad_configuration);
}

TEST(Invocation, CommandsNewerThanTheConfigurationAreIncompatible) {
  const char* old = R"({"name":"weft","cniVersion":"0.3.1","prevResult":{}})";
  EXPECT_EQ(refusal(full_environment("CHECK"), old), ErrorNumber::incompatible_version);
  const char* newer = R"({"name":"weft","cniVersion":"1.0.0","cni.dev/valid-attachments":[]})";
  EXPECT_EQ(refusal(full_environment("STATUS"), newer), ErrorNumber::incompatible_version);
  EXPECT_EQ(refusal(full_environment("GC"), newer), ErrorNumber::incompatible_version);
}

TEST(Invocation, ErrorsCarryTheAskedVersion) {
  auto environment = full_environment("ADD");
  environment.erase("CNI_NETNS");
  const auto parsed = parse_invocation(environment, R"({"name":"weft","cniVersion":"0.3.1"})");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().version, SpecVersion::v0_3_1);
}

TEST(Invocation, BrokenConfigurations) {
  const auto add = full_environment("ADD");
  EXPECT_EQ(refusal(add, ""), ErrorNumber::decoding_failure);
  EXPECT_EQ(refusal(add, "{"), ErrorNumber::decoding_failure);
  EXPECT_EQ(refusal(add, "[]"), ErrorNumber::decoding_failure);
  EXPECT_EQ(refusal(add, "null"), ErrorNumber::decoding_failure);
  EXPECT_EQ(refusal(add, "{\"name\":\"\xff\"}"), ErrorNumber::decoding_failure);
  EXPECT_EQ(refusal(add, std::string(100'000, '[')), ErrorNumber::decoding_failure);
  const std::string deep =
      R"({"cniVersion":"1.0.0","name":"weft","x":)" + std::string(1000, '[') + std::string(1000, ']') + "}";
  EXPECT_EQ(refusal(add, deep), ErrorNumber::decoding_failure);
  EXPECT_EQ(refusal(add, std::string(largest_configuration + 1, ' ')), ErrorNumber::decoding_failure);
  for (const char* config :
       {R"({"cniVersion":"1.0.0"})", R"({"cniVersion":"1.0.0","name":""})", R"({"cniVersion":"1.0.0","name":"a/b"})",
        R"({"cniVersion":"1.0.0","name":7})", R"({"cniVersion":"1.0.0","name":"w","socket":"weft.sock"})",
        R"({"cniVersion":"1.0.0","name":"w","timeoutSeconds":0})",
        R"({"cniVersion":"1.0.0","name":"w","timeoutSeconds":"1"})",
        R"({"cniVersion":"1.0.0","name":"w","timeoutSeconds":1e300})",
        R"({"cniVersion":"1.0.0","name":"w","prevResult":7})",
        R"({"cniVersion":"1.0.0","name":"w","prevResult":{"ips":[1]}})",
        R"({"cniVersion":"1.0.0","name":"w","prevResult":{"interfaces":{}}})"})
    EXPECT_EQ(refusal(add, config), ErrorNumber::bad_configuration) << config;
}

TEST(Invocation, CheckNeedsThePreviousResult) {
  EXPECT_EQ(refusal(full_environment("CHECK"), plain), ErrorNumber::bad_configuration);
  EXPECT_TRUE(parse_invocation(full_environment("CHECK"), R"({"cniVersion":"0.4.0","name":"w","prevResult":{}})"));
}

TEST(Invocation, VersionAsksForNothing) {
  EXPECT_TRUE(parse_invocation({{"CNI_COMMAND", "VERSION"}}, ""));
  EXPECT_TRUE(parse_invocation({{"CNI_COMMAND", "VERSION"}}, R"({"cniVersion":"9.9.9"})"));
  EXPECT_EQ(refusal({{"CNI_COMMAND", "VERSION"}}, "{"), ErrorNumber::decoding_failure);
}

TEST(Args, ForgivesSeparatorsOnly) {
  EXPECT_THAT(*parse_args(";A=1;;B=;C=x=y;"), ElementsAre(Pair("A", "1"), Pair("B", ""), Pair("C", "x=y")));
  EXPECT_TRUE(parse_args("")->empty());
  EXPECT_FALSE(parse_args("A"));
  EXPECT_FALSE(parse_args("=1"));
  EXPECT_EQ(parse_args("A=1;B").error().number, ErrorNumber::bad_environment);
}

}  // namespace
}  // namespace weft::cni
