#include "agent/cni_install.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sys/system.h"

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::string first_plugin =
    "\x7f"
    "ELF one /run/weft/weft.sock";
const std::string second_plugin =
    "\x7f"
    "ELF two /run/weft/weft.sock";

class CniInstallTest : public ::testing::Test {
 protected:
  CniInstallTest() {
    std::string pattern = ::testing::TempDir() + "weft-cni-XXXXXX";
    directory = ::mkdtemp(pattern.data());
    options = {.bin_dir = directory + "/opt/bin",
               .conf_dir = directory + "/etc/net.d",
               .conf_name = "05-weft.conflist",
               .socket = "/run/here/weft.sock",
               .plugin = directory + "/weft-cni"};
    write(options.plugin, first_plugin);
  }
  ~CniInstallTest() override { std::filesystem::remove_all(directory); }

  static void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::trunc) << text;
  }
  static std::string read(const std::string& path) { return sys::read_file(path).value_or("none"); }
  static std::string fault(const CniInstall& install, const std::string& about) {
    const auto found = install.faults().find(about);
    return found == install.faults().end() ? "none" : found->second.text;
  }
  std::vector<std::string> removed() {
    std::vector<std::string> told;
    EXPECT_TRUE(remove_cni(options, [&](const std::string& line) { told.push_back(line); }));
    return told;
  }

  std::string directory;
  CniInstall::Options options;
};

TEST_F(CniInstallTest, ThePluginComesAtOnceAndTheListWhenPodsCanBeAttached) {
  CniInstall install(options);
  EXPECT_THAT(install.check(false), IsEmpty());
  EXPECT_EQ(read(options.binary()), first_plugin);
  struct stat status {};
  ASSERT_EQ(::stat(options.binary().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0755U);
  EXPECT_EQ(read(options.list()), "none");
  EXPECT_FALSE(install.list_installed());
  EXPECT_THAT(install.check(true), IsEmpty());
  EXPECT_TRUE(install.list_installed());
  const auto list = nlohmann::json::parse(read(options.list()));
  EXPECT_EQ(list["cniVersion"], "1.0.0");
  EXPECT_EQ(list["plugins"][0]["type"], "weft-cni");
  EXPECT_EQ(list["plugins"][0]["socket"], "/run/here/weft.sock");
  EXPECT_EQ(list["plugins"][0]["capabilities"]["portMappings"], true);
  // A node that cannot for a while keeps it.
  EXPECT_THAT(install.check(false), IsEmpty());
  EXPECT_NE(read(options.list()), "none");
  EXPECT_THAT(install.faults(), IsEmpty());
}

// containerd asks for it beside the pod's network, and finds none where nobody installed the reference plugins.
TEST_F(CniInstallTest, ANodeWithoutThePluginLoopbackGetsOneAndAnothersIsLeftAlone) {
  CniInstall install(options);
  EXPECT_THAT(install.check(false), IsEmpty());
  EXPECT_EQ(read(options.loopback()), first_plugin);
  std::filesystem::remove(options.loopback());
  EXPECT_THAT(install.check(false), ElementsAre(HasSubstr("loopback was gone")));
  write(options.loopback(), "another's");
  EXPECT_THAT(install.check(false), IsEmpty());
  EXPECT_EQ(read(options.loopback()), "another's");
  EXPECT_THAT(install.faults(), IsEmpty());
  removed();
  EXPECT_EQ(read(options.loopback()), "another's");
  std::filesystem::remove(options.loopback());
  CniInstall(options).check(false);
  removed();
  EXPECT_EQ(read(options.loopback()), "none");
}

TEST_F(CniInstallTest, WhatSomebodyTakesAwayOrChangesIsPutBack) {
  CniInstall install(options);
  install.check(true);
  std::filesystem::remove(options.list());
  EXPECT_THAT(install.check(false), ElementsAre(HasSubstr("05-weft.conflist was gone or changed and is there again")));
  EXPECT_NE(read(options.list()), "none");
  for (const auto* damage : {"", "{", R"({"plugins": [{"type": "weft-cni", "socket": "/elsewhere"}]})"}) {
    write(options.list(), damage);
    EXPECT_THAT(install.check(true), SizeIs(1)) << damage;
    EXPECT_EQ(read(options.list()), cni_list(options.socket)) << damage;
  }
  std::filesystem::remove_all(options.conf_dir);
  EXPECT_THAT(install.check(true), SizeIs(1));
  std::filesystem::remove(options.binary());
  EXPECT_THAT(install.check(true), ElementsAre(HasSubstr("weft-cni was gone or changed")));
  ::chmod(options.binary().c_str(), 0644);
  EXPECT_THAT(install.check(true), SizeIs(1));
  EXPECT_EQ(read(options.binary()), first_plugin);
  write(options.binary(), second_plugin);
  EXPECT_THAT(install.check(true), SizeIs(1));
  EXPECT_EQ(read(options.binary()), first_plugin);
  EXPECT_THAT(install.check(true), IsEmpty());
}

TEST_F(CniInstallTest, AnotherVersionReplacesThePluginUnderWhoRunsIt) {
  CniInstall(options).check(true);
  std::ifstream held(options.binary());
  write(options.plugin, second_plugin);
  CniInstall install(options);
  EXPECT_THAT(install.check(true), IsEmpty()) << "an update is no repair";
  EXPECT_EQ(read(options.binary()), second_plugin);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(held), {}), first_plugin);
}

TEST_F(CniInstallTest, AnothersFilesAreLeftAlone) {
  const std::string others = R"({"cniVersion": "0.3.1", "name": "theirs", "plugins": [{"type": "bridge"}]})";
  write(options.list(), others);
  write(options.binary(), "#!/bin/sh\n");
  CniInstall install(options);
  EXPECT_THAT(install.check(true), IsEmpty());
  EXPECT_THAT(fault(install, "cni plugin"), HasSubstr("is there already and is not Weft's plugin: it is left alone"));
  EXPECT_EQ(read(options.list()), others) << "without the plugin no list is written anyway";
  std::filesystem::remove(options.binary());
  install.check(true);
  EXPECT_EQ(fault(install, "cni plugin"), "none");
  EXPECT_THAT(fault(install, "cni list"), HasSubstr("is not Weft's list: it is left alone"));
  EXPECT_EQ(read(options.list()), others);
  EXPECT_THAT(removed(), ElementsAre(HasSubstr("left " + options.list() + " alone: it is not Weft's"),
                                     "removed " + options.binary(), "removed " + options.loopback()));
  EXPECT_EQ(read(options.list()), others);
  // What no run of this one wrote is somebody's, though nobody can read it.
  write(options.list(), "half of a li");
  install.check(true);
  EXPECT_THAT(fault(install, "cni list"), HasSubstr("is left alone"));
}

TEST_F(CniInstallTest, WithoutThePluginThereIsNoList) {
  std::filesystem::remove(options.plugin);
  CniInstall install(options);
  install.check(true);
  EXPECT_THAT(fault(install, "cni plugin"), HasSubstr("there is no plugin to install"));
  EXPECT_EQ(read(options.list()), "none");
  write(options.plugin, first_plugin);
  install.check(true);
  EXPECT_THAT(install.faults(), IsEmpty());
  EXPECT_NE(read(options.list()), "none");
}

TEST_F(CniInstallTest, CleaningUpTakesBothAndWhatAKilledWriteLeft) {
  CniInstall(options).check(true);
  write(options.list() + ".tmp.7.0", "half");
  write(options.binary() + ".tmp.7.0", "half");
  EXPECT_THAT(removed(),
              ElementsAre("removed " + options.list(), "removed " + options.binary(), "removed " + options.loopback()));
  EXPECT_TRUE(std::filesystem::is_empty(options.conf_dir));
  EXPECT_TRUE(std::filesystem::is_empty(options.bin_dir));
  EXPECT_THAT(removed(), IsEmpty()) << "repeating it is no error";
}

TEST_F(CniInstallTest, EitherAloneIsInstalledAlone) {
  options.bin_dir.clear();
  CniInstall lists(options);
  lists.check(true);
  EXPECT_NE(read(options.list()), "none");
  std::filesystem::remove(options.list());
  options = {
      .bin_dir = directory + "/opt/bin", .conf_dir = {}, .conf_name = {}, .socket = {}, .plugin = options.plugin};
  CniInstall plugins(options);
  plugins.check(true);
  EXPECT_EQ(read(options.binary()), first_plugin);
  EXPECT_THAT(plugins.faults(), IsEmpty());
}

}  // namespace
}  // namespace weft::agent
