// The real programs, in a network of their own: a configuration that is brought to a running one is the one that a
// fresh start has.
#include "speaker/speaker.h"

#include <gmock/gmock.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>
#include <thread>

#include "speaker/bird.h"
#include "speaker/conversation.h"
#include "speaker/frr.h"
#include "sys/system.h"

namespace weft::speaker {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

control::BgpPlan plan(const std::string& prefix, std::uint32_t community, std::uint32_t peer_as = 65000) {
  control::BgpPlan made;
  made.local_as = 65001;
  made.router_id = ip("192.0.2.2");
  auto& group = made.groups["tor"];
  model::BgpPeer peer;
  peer.address = ip("192.0.2.1");
  peer.as = peer_as;
  peer.families = {Family::v4, Family::v6};
  peer.password_file = "/p";
  group.peers = {peer};
  group.advertised[Cidr::parse(prefix).value()].communities = {{65000, static_cast<std::uint16_t>(community)}};
  group.advertised[Cidr::parse("fd00::/64").value()];
  return made;
}

class SpeakerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || ::unshare(CLONE_NEWNET) < 0) GTEST_SKIP() << "needs root";
    char name[] = "/tmp/weft-speaker-test.XXXXXX";
    directory_ = ::mkdtemp(name);
    ::chmod(directory_.c_str(), 0755);
  }
  void TearDown() override {
    end_speakers(directory_);
    std::filesystem::remove_all(directory_);
  }
  void open(Choice choice) {
    auto opened = open_speaker(choice, directory_, {});
    if (!opened) GTEST_SKIP() << opened.error().message;
    speaker_ = std::move(*opened);
  }
  void start(bool imports = false) {
    for (const auto& program : speaker_->programs(imports)) {
      const auto started = supervise::start_program(program);
      ASSERT_TRUE(started) << started.error().message;
    }
    const auto end = std::chrono::steady_clock::now() + 10s;
    Result<std::vector<Peer>> peers = speaker_->peers();
    while (!peers && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(20ms);
      peers = speaker_->peers();
    }
    ASSERT_TRUE(peers) << peers.error().message;
  }
  void stop() {
    for (const auto* file : {"/bird/bird.pid", "/frr/bgpd.kept", "/frr/zebra.kept"})
      if (const auto process = supervise::read_pid_file(directory_ + file))
        supervise::terminate({*process}, 5s, SIGKILL);
  }
  // What bgpd has, in its own words.
  std::string running() {
    auto conversation = Conversation::connect(directory_ + "/frr/vty/bgpd.vty", 5s);
    EXPECT_TRUE(conversation);
    std::string text;
    for (const std::string command : {"enable", "show running-config"}) {
      EXPECT_TRUE(conversation->send(std::string_view(command.c_str(), command.size() + 1)));
      text.clear();
      while (text.size() < 4 || text.substr(text.size() - 4, 3) != std::string(3, '\0')) {
        const auto bytes = conversation->receive();
        if (!bytes) return bytes.error().message;
        text += *bytes;
      }
    }
    return text;
  }

  // The lines in no order and without the numbers bgpd gives to those of lists.
  std::multiset<std::string> running_lines() {
    std::multiset<std::string> lines;
    std::istringstream text(running());
    for (std::string line; std::getline(text, line);) {
      if (const auto at = line.find(" seq "); at != std::string::npos)
        line.erase(at, line.find(' ', at + std::string_view(" seq ").size()) - at);
      lines.insert(line);
    }
    return lines;
  }

  std::string directory_;
  std::unique_ptr<Speaker> speaker_;
};

const control::BgpPasswords passwords{{"/p", "s3cret"}};

TEST_F(SpeakerTest, BirdIsBroughtFromPlanToPlan) {
  ASSERT_NO_FATAL_FAILURE(open(Choice::bird));
  if (!speaker_) return;
  EXPECT_FALSE(speaker_->earlier());
  EXPECT_FALSE(speaker_->peers()) << "it does not run";
  ASSERT_TRUE(speaker_->configure(plan("10.1.0.0/24", 1), passwords));
  EXPECT_TRUE(speaker_->earlier());
  ASSERT_NO_FATAL_FAILURE(start());
  const auto before = supervise::read_pid_file(directory_ + "/bird/bird.pid")->pid;
  auto two = plan("10.2.0.0/24", 2);
  two.groups["tor"].peers.push_back(two.groups["tor"].peers[0]);
  two.groups["tor"].peers.back().address = ip("192.0.2.9");
  const auto done = speaker_->configure(two, passwords);
  ASSERT_TRUE(done) << done.error().message;
  const auto peers = speaker_->peers();
  ASSERT_TRUE(peers);
  ASSERT_EQ(peers->size(), 2U);
  EXPECT_FALSE(peers->at(0).since.empty());
  const auto routes = speaker_->routes({peers->at(0).address, peers->at(1).address});
  ASSERT_TRUE(routes) << routes.error().message;
  EXPECT_TRUE(routes->empty()) << "there is no session";
  EXPECT_EQ(supervise::read_pid_file(directory_ + "/bird/bird.pid")->pid, before);
  const auto conf = sys::read_file(directory_ + "/bird/bird.conf");
  ASSERT_TRUE(conf);
  EXPECT_THAT(*conf, HasSubstr("10.2.0.0/24"));
  struct stat found {};
  ASSERT_EQ(::stat((directory_ + "/bird/bird.conf").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0007, 0U) << "it has passwords";
  // One that was started and not written down is ended before another is.
  ::unlink((directory_ + "/bird/bird.pid").c_str());
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_NE(supervise::read_pid_file(directory_ + "/bird/bird.pid")->pid, before);
  EXPECT_FALSE(supervise::identify(before));
  EXPECT_EQ(end_speakers(directory_), 1U);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/bird"));
}

TEST_F(SpeakerTest, WhatBirdRefusesChangesNothing) {
  ASSERT_NO_FATAL_FAILURE(open(Choice::bird));
  if (!speaker_) return;
  ASSERT_TRUE(speaker_->configure(plan("10.1.0.0/24", 1), passwords));
  // Checked text never has it; here it stands for whatever a writer may get wrong.
  const auto refused = speaker_->configure(plan("10.2.0.0/24", 1), {{"/p", "a\"b"}});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("BIRD does not take its configuration"));
  EXPECT_THAT(*sys::read_file(directory_ + "/bird/bird.conf"), HasSubstr("10.1.0.0/24"));
}

TEST_F(SpeakerTest, FrrIsBroughtFromPlanToPlan) {
  ASSERT_NO_FATAL_FAILURE(open(Choice::frr));
  if (!speaker_) return;
  ASSERT_TRUE(speaker_->configure(plan("10.1.0.0/24", 1), passwords));
  ASSERT_NO_FATAL_FAILURE(start());
  auto wider = plan("10.2.0.0/24", 2);
  auto& group = wider.groups["tor"];
  group.peers.push_back(group.peers[0]);
  group.peers.back().address = ip("2001:db8::9");
  group.peers.back().families = {Family::v6};
  group.imports = {Cidr::parse("10.0.0.0/8").value()};
  wider.groups["second"].peers = {group.peers[0]};
  wider.groups["second"].peers[0].address = ip("192.0.2.77");
  wider.groups["second"].peers[0].graceful_restart = false;
  auto narrow = plan("10.3.0.0/24", 3, 65009);
  narrow.groups["tor"].peers[0].families = {Family::v4};
  auto other = plan("10.3.0.0/24", 3);
  other.local_as = 65003;
  for (const auto& next : {wider, plan("10.1.0.0/24", 7), narrow, wider, other, narrow, wider}) {
    const auto done = speaker_->configure(next, passwords);
    ASSERT_TRUE(done) << done.error().message << sys::read_file(directory_ + "/frr/bgpd.log").value_or("");
    if (!supervise::read_pid_file(directory_ + "/frr/bgpd.kept")) {
      ASSERT_NO_FATAL_FAILURE(start());
    }
    EXPECT_THAT(running(), HasSubstr(next.advertised().begin()->to_string()));
    const auto brought = running_lines();
    stop();
    ASSERT_NO_FATAL_FAILURE(start());
    EXPECT_EQ(brought, running_lines());
  }
}

// Some of the lines had been sent when the agent was killed: the next one does not know which.
TEST_F(SpeakerTest, FrrIsBroughtOnFromHalfAChange) {
  ASSERT_NO_FATAL_FAILURE(open(Choice::frr));
  if (!speaker_) return;
  ASSERT_TRUE(speaker_->configure(plan("10.1.0.0/24", 1), passwords));
  ASSERT_NO_FATAL_FAILURE(start());
  const auto first = sys::read_file(directory_ + "/frr/frr.applied");
  ASSERT_TRUE(first);
  ASSERT_TRUE(speaker_->configure(plan("10.2.0.0/24", 2), passwords));
  const auto second = sys::read_file(directory_ + "/frr/frr.applied");
  ASSERT_TRUE(second);
  // All of it was done, and none of it was noted.
  ASSERT_TRUE(write_private(directory_ + "/frr/frr.applying", *second, {}));
  ASSERT_TRUE(write_private(directory_ + "/frr/frr.applied", *first, {}));
  const auto done = speaker_->configure(plan("10.3.0.0/24", 3), passwords);
  ASSERT_TRUE(done) << done.error().message;
  const auto text = running();
  EXPECT_THAT(text, HasSubstr("network 10.3.0.0/24"));
  EXPECT_THAT(text, Not(HasSubstr("10.1.0.0/24")));
  EXPECT_THAT(text, Not(HasSubstr("10.2.0.0/24")));
}

TEST_F(SpeakerTest, FrrWithImportsHasAZebra) {
  ASSERT_NO_FATAL_FAILURE(open(Choice::frr));
  if (!speaker_) return;
  auto with = plan("10.1.0.0/24", 1);
  with.groups["tor"].imports = {Cidr::parse("10.0.0.0/8").value()};
  ASSERT_TRUE(speaker_->configure(with, passwords));
  EXPECT_EQ(speaker_->earlier(), std::optional(true));
  EXPECT_EQ(speaker_->programs(true).size(), 2U);
  ASSERT_NO_FATAL_FAILURE(start(true));
  EXPECT_TRUE(supervise::read_pid_file(directory_ + "/frr/zebra.kept"));
  ASSERT_TRUE(speaker_->configure(plan("10.1.0.0/24", 1), passwords));
  EXPECT_EQ(speaker_->earlier(), std::optional(false));
  EXPECT_EQ(end_speakers(directory_), 2U);
}

}  // namespace
}  // namespace weft::speaker
