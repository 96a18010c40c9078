// The keeping of a speaker, with one that is a sleeping process.
#include "agent/bgp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>

namespace weft::agent {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

// What the test tells it to say, and what it was told.
struct Script {
  std::mutex mutex;
  std::vector<control::BgpPlan> plans;
  std::vector<control::BgpPasswords> passwords;
  std::optional<Error> refuse;
  std::vector<speaker::Peer> peers;
  bool withdrawn = false;
  bool forgotten = false;
};

class FakeSpeaker : public speaker::Speaker {
 public:
  FakeSpeaker(std::string directory, std::shared_ptr<Script> script)
      : directory_(std::move(directory)), script_(std::move(script)) {}
  [[nodiscard]] std::string_view name() const override { return "fake"; }
  [[nodiscard]] std::vector<supervise::KeptProgram> programs(bool /*imports*/) const override {
    supervise::KeptProgram program;
    program.what = "sleeper";
    program.pid_file = directory_ + "/pid";
    program.log_file = directory_ + "/log";
    program.prepare = [] { return std::vector<std::string>{"sleep", "1000"}; };
    return {std::move(program)};
  }
  [[nodiscard]] std::optional<bool> earlier() const override {
    return std::filesystem::exists(directory_ + "/pid") ? std::optional(false) : std::nullopt;
  }
  Result<void> configure(const control::BgpPlan& plan, const control::BgpPasswords& passwords) override {
    const std::lock_guard lock(script_->mutex);
    if (script_->refuse) return fail(*script_->refuse);
    script_->plans.push_back(plan);
    script_->passwords.push_back(passwords);
    return {};
  }
  void withdraw() override {
    const std::lock_guard lock(script_->mutex);
    script_->withdrawn = true;
  }
  void forget() override {
    const std::lock_guard lock(script_->mutex);
    script_->forgotten = true;
    std::filesystem::remove(directory_ + "/pid");
  }
  Result<std::vector<speaker::Peer>> peers() override {
    const std::lock_guard lock(script_->mutex);
    return script_->peers;
  }
  Result<std::vector<speaker::Route>> routes(const std::vector<IpAddress>& peers) override {
    std::vector<speaker::Route> all;
    for (const auto& peer : peers) all.push_back({Cidr::parse("10.0.0.0/8").value(), peer, true, {}, "", {}, {}});
    return all;
  }

 private:
  std::string directory_;
  std::shared_ptr<Script> script_;
};

class BgpKeepTest : public ::testing::Test {
 protected:
  BgpKeepTest() {
    char name[] = "/tmp/weft-bgp-keep.XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  ~BgpKeepTest() override {
    bgp_.reset();
    if (const auto left = supervise::read_pid_file(directory_ + "/pid")) supervise::terminate({*left}, 1s, SIGKILL);
    std::filesystem::remove_all(directory_);
  }
  void start() {
    bgp_.emplace(loop_, faults_, [this]() -> Result<std::shared_ptr<speaker::Speaker>> {
      if (missing_) return fail(ErrorCode::not_found, "it is not installed");
      return std::make_shared<FakeSpeaker>(directory_, script_);
    });
  }
  void until(const std::function<bool()>& true_) {
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (!true_() && std::chrono::steady_clock::now() < end) {
      loop_.restart();
      loop_.run_for(10ms);
    }
    EXPECT_TRUE(true_());
  }
  control::BgpOutcome plan(const std::string& password_file = {}) {
    model::BgpPeer peer;
    peer.address = ip("192.0.2.1");
    peer.as = 65000;
    peer.password_file = password_file;
    control::BgpOutcome outcome;
    outcome.plan.local_as = 65001;
    outcome.plan.router_id = ip("192.0.2.2");
    outcome.plan.groups["tor"].peers = {peer};
    return outcome;
  }
  int pid() {
    return bgp_->status_json()["processes"].empty() ? 0 : bgp_->status_json()["processes"][0]["pid"].get<int>();
  }
  std::size_t times() {
    const std::lock_guard lock(script_->mutex);
    return script_->plans.size();
  }
  std::vector<std::string> faults() {
    std::vector<std::string> all;
    for (const auto& [about, text] : faults_.texts()) all.push_back(text);
    return all;
  }

  asio::io_context loop_;
  Faults faults_;
  bool missing_ = false;
  std::shared_ptr<Script> script_ = std::make_shared<Script>();
  std::string directory_;
  std::optional<Bgp> bgp_;
};

TEST_F(BgpKeepTest, ASpeakerIsConfiguredThenStartedAndToldOnceMoreWhenItAnswers) {
  start();
  bgp_->want(plan());
  until([&] { return pid() != 0; });
  EXPECT_EQ(times(), 1U);
  bgp_->want(plan());
  bgp_->check();
  until([&] { return times() == 2; });
  EXPECT_TRUE(bgp_->status_json()["answers"].get<bool>());
}

TEST_F(BgpKeepTest, TheNextAgentTakesItOverAndAnEmptyPlanEndsIt) {
  start();
  bgp_->want(plan());
  until([&] { return pid() != 0; });
  const auto before = pid();
  start();
  bgp_->adopt();
  EXPECT_EQ(pid(), before);
  bgp_->want({});
  until([&] { return pid() == 0; });
  EXPECT_FALSE(supervise::read_pid_file(directory_ + "/pid"));
  EXPECT_TRUE(script_->withdrawn);
  until([&] {
    const std::lock_guard lock(script_->mutex);
    return script_->forgotten;
  });
}

TEST_F(BgpKeepTest, APlanThatComesWhileItEndsStartsItAgain) {
  start();
  bgp_->want(plan());
  until([&] { return pid() != 0; });
  const auto before = pid();
  bgp_->want({});
  bgp_->want(plan());
  until([&] { return pid() != 0 && pid() != before; });
  EXPECT_FALSE(supervise::identify(before));
}

TEST_F(BgpKeepTest, OneThatIsKilledIsStartedAgain) {
  start();
  bgp_->want(plan());
  until([&] { return pid() != 0; });
  const auto before = pid();
  ::kill(before, SIGKILL);
  until([&] { return pid() != 0 && pid() != before; });
}

TEST_F(BgpKeepTest, WhatIsRefusedIsSaidAndTriedAgain) {
  script_->refuse = Error{ErrorCode::invalid, "line 3: no", {}};
  start();
  bgp_->want(plan());
  until([&] { return !faults().empty(); });
  EXPECT_THAT(faults(), ElementsAre(HasSubstr("the speaker goes on as it was: line 3: no")));
  EXPECT_EQ(pid(), 0);
  {
    const std::lock_guard lock(script_->mutex);
    script_->refuse.reset();
  }
  for (int i = 0; i < 10; ++i) bgp_->check();
  until([&] { return pid() != 0; });
  EXPECT_THAT(faults(), IsEmpty());
}

TEST_F(BgpKeepTest, OneThatIsMissingIsSaidWhenItIsNeeded) {
  missing_ = true;
  start();
  bgp_->adopt();
  EXPECT_THAT(faults(), IsEmpty());
  bgp_->want(plan());
  EXPECT_THAT(faults(), ElementsAre(HasSubstr("nobody speaks it here: it is not installed")));
  missing_ = false;
  for (int i = 0; i < 10; ++i) bgp_->check();
  until([&] { return pid() != 0; });
}

TEST_F(BgpKeepTest, PasswordsAreReadFromPrivateFilesAndAgainWhenTheyChange) {
  const auto file = directory_ + "/password";
  std::ofstream(file) << "one\n";
  ::chmod(file.c_str(), 0644);
  start();
  bgp_->want(plan(file));
  until([&] { return pid() != 0; });
  EXPECT_THAT(faults(), Contains(HasSubstr("everybody may read it")));
  ::chmod(file.c_str(), 0600);
  for (int i = 0; i < 10; ++i) bgp_->check();
  until([&] {
    const std::lock_guard lock(script_->mutex);
    return script_->passwords.back() == control::BgpPasswords{{file, "one"}};
  });
  bgp_->check();
  until([&] { return faults().empty(); });
}

TEST_F(BgpKeepTest, PeersAreToldAsTheSpeakerSays) {
  script_->peers = {{ip("192.0.2.1"), "Established", true, "2026-01-01T00:00:00Z", {{Family::v4, {1, 2}}}, ""}};
  start();
  bgp_->want(plan());
  until([&] { return pid() != 0; });
  EXPECT_EQ(bgp_->peers_json()[0]["state"], "unknown");
  bgp_->check();
  until([&] { return bgp_->peers_json()[0]["established"].get<bool>(); });
  EXPECT_EQ(bgp_->peers_json()[0]["families"]["IPv4"]["advertised"], 2);
  EXPECT_EQ(bgp_->status_json()["established"], 1);
  std::optional<std::size_t> count;
  bgp_->routes({}, [&](const auto& routes) { count = routes->size(); });
  until([&] { return count == 1; });
  bool refused = false;
  bgp_->routes(ip("192.0.2.7"), [&](const auto& routes) { refused = !routes; });
  EXPECT_TRUE(refused);
}

}  // namespace
}  // namespace weft::agent
