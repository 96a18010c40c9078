#include "agent/cleanup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace weft::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class RemoveFilesTest : public ::testing::Test {
 public:
  RemoveFilesTest(const RemoveFilesTest&) = delete;
  RemoveFilesTest& operator=(const RemoveFilesTest&) = delete;

 protected:
  RemoveFilesTest() {
    std::string pattern = ::testing::TempDir() + "weft-files-XXXXXX";
    directory = ::mkdtemp(pattern.data());
    config.state_dir = directory + "/state";
    config.run_dir = directory + "/run";
    for (const auto* name :
         {"state/weft.db", "state/weft.db-wal", "state/weft.db-shm", "state/wireguard.json",
          "state/wireguard.json.tmp.17", "run/weft.sock", "run/bgp/bird.conf", "run/wireguard/a.log"})
      make(name);
  }
  ~RemoveFilesTest() override { std::filesystem::remove_all(directory); }

  void make(const std::string& name) {
    const std::filesystem::path path = directory + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << "x";
  }
  std::string remove() {
    std::string told;
    const auto done = remove_files(config, [&](const std::string& line) { told += line + "\n"; });
    return done ? told : done.error().message;
  }

  std::string directory;
  Config config;
};

TEST_F(RemoveFilesTest, NothingIsLeft) {
  EXPECT_THAT(remove(), HasSubstr("removed " + config.state_dir + "/weft.db\n"));
  EXPECT_TRUE(std::filesystem::is_empty(directory));
  EXPECT_EQ(remove(), "");  // again
}

TEST_F(RemoveFilesTest, WhatIsSomebodyElsesStays) {
  make("state/notes.txt");
  const auto told = remove();
  EXPECT_THAT(told, HasSubstr(config.state_dir + " stays, for somebody else's files are in it: notes.txt"));
  EXPECT_THAT(told, Not(HasSubstr("removed " + config.state_dir + "\n")));
  EXPECT_TRUE(std::filesystem::exists(config.state_dir + "/notes.txt"));
  EXPECT_FALSE(std::filesystem::exists(config.store_path()));
  EXPECT_FALSE(std::filesystem::exists(config.run_dir));
}

}  // namespace
}  // namespace weft::agent
