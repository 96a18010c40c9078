#include "agent/start_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace weft::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class StartCheckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "weft-start-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string file(const std::string& name, const std::string& text) {
    std::ofstream(directory_ + "/" + name) << text;
    return directory_ + "/" + name;
  }
  // Of a node of a cluster; what reading the file refuses already is no matter of the start.
  static std::string problem(const std::string& text) {
    const auto config = parse_config("weftd.yaml", "store: etcd\n" + text);
    if (!config) return "not read: " + config.error().message;
    const auto good = check_start(*config);
    return good ? "accepted" : good.error().message;
  }

  std::string directory_;
};

TEST_F(StartCheckTest, NamesAndEndpointsAreThoseThatTheStartTakes) {
  const std::string plain = "etcd_endpoints: ['http://10.0.0.1:2379']\n";
  EXPECT_EQ(problem(plain), "accepted");
  EXPECT_TRUE(check_start(parse_config("weftd.yaml", "node: Bad Name").value())) << "it tells nobody its name";
  EXPECT_THAT(problem(plain + "node: Bad Name"), StartsWith("node: 'Bad Name' is not a name"));
  EXPECT_THAT(problem(plain + "cluster: We st"), StartsWith("cluster: 'We st' is not a name"));
  EXPECT_THAT(problem("etcd_endpoints: ['10.0.0.1:2379']"),
              StartsWith("etcd_endpoints[0]: '10.0.0.1:2379' does not begin with http:// or https://"));
  EXPECT_THAT(problem("etcd_endpoints: ['http://a:1', 'http://b']"), StartsWith("etcd_endpoints[1]: "));
  EXPECT_THAT(problem("etcd_endpoints: ['http://a:1', 'https://b:1']"), HasSubstr("http and https are mixed"));
  EXPECT_THAT(problem(plain + "etcd_user: root"), StartsWith("etcd_password_file: is missing"));
}

TEST_F(StartCheckTest, FilesThatAreNamedAreThereAndHoldWhatTheyShould) {
  const std::string safe = "etcd_endpoints: ['https://10.0.0.1:2379']\n";
  const auto pem = file("a.pem", "-----BEGIN CERTIFICATE-----\n");
  EXPECT_EQ(problem(safe + "etcd_ca_file: " + pem), "accepted");
  EXPECT_THAT(problem(safe + "etcd_ca_file: /etc/nope.pem"), StartsWith("etcd_ca_file: /etc/nope.pem: "));
  EXPECT_THAT(problem(safe + "etcd_ca_file: " + file("b.pem", "text")), HasSubstr("holds no PEM block"));
  EXPECT_THAT(problem(safe + "etcd_certificate_file: " + pem), StartsWith("etcd_key_file: is missing"));
  EXPECT_THAT(problem(safe + "etcd_certificate_file: " + pem + "\netcd_key_file: /etc/nope"),
              StartsWith("etcd_key_file: /etc/nope: "));
  EXPECT_THAT(problem("etcd_endpoints: ['http://a:1']\netcd_ca_file: " + pem), StartsWith("etcd_ca_file and "));
  EXPECT_THAT(problem(safe + "etcd_user: x\netcd_password_file: /etc/nope"),
              StartsWith("etcd_password_file: read /etc/nope: "));
  EXPECT_EQ(problem(safe + "etcd_user: x\netcd_password_file: " + file("p", "secret\n")), "accepted");
}

TEST(CheckMachine, PodsAreNotGivenAddressesOfTheNodesNetwork) {
  Config config;
  config.pod_cidrs = {*Cidr::parse("192.0.2.0/24")};
  Node node;
  node.uplinks[2] = {.name = "eth0", .v4 = *IpAddress::parse("192.0.2.11")};
  const auto refused = check_machine(config, node);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "pod_cidrs: 192.0.2.0/24 has 192.0.2.11, the address of this node on eth0");
  node.uplinks.clear();
  EXPECT_TRUE(check_machine(config, node));
  node.next_hops = {*IpAddress::parse("192.0.2.1")};
  EXPECT_FALSE(check_machine(config, node));
  // A network that pods' range is a part of is no harm: their routes are the longer ones.
  config.pod_cidrs = {*Cidr::parse("192.0.2.128/25")};
  EXPECT_TRUE(check_machine(config, node));
}

}  // namespace
}  // namespace weft::agent
