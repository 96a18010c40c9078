#include "agent/checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>
#include <list>

namespace weft::agent {
namespace {

using asio::ip::tcp;
using ::testing::HasSubstr;

// A backend on loopback that answers each request with the same bytes, or not at all.
class Backend {
 public:
  Backend(asio::io_context& loop, std::string answer)
      : acceptor_(loop, tcp::endpoint(asio::ip::address_v4::loopback(), 0)), answer_(std::move(answer)) {
    accept();
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  void answer(std::string text) { answer_ = std::move(text); }
  void stop() {
    acceptor_.close();
    clients_.clear();
  }
  std::size_t connections = 0;
  std::size_t open = 0;
  std::size_t most_open = 0;
  std::string request;

 private:
  struct Client {
    explicit Client(tcp::socket taken) : socket(std::move(taken)) {}
    tcp::socket socket;
    std::array<char, 1024> buffer{};
    std::string answer;
  };
  void accept() {
    acceptor_.async_accept([this](const std::error_code& error, tcp::socket socket) {
      if (error) return;
      ++connections;
      most_open = std::max(most_open, ++open);
      clients_.emplace_back(std::move(socket));
      read(clients_.back());
      accept();
    });
  }
  void read(Client& client) {
    client.socket.async_read_some(
        asio::buffer(client.buffer), [this, &client](const std::error_code& error, std::size_t size) {
          if (error == asio::error::operation_aborted) return;
          if (error) {
            --open;
            return;
          }
          request.assign(client.buffer.data(), size);
          client.answer = answer_;
          if (!client.answer.empty())
            asio::async_write(client.socket, asio::buffer(client.answer), [](const std::error_code&, std::size_t) {});
          read(client);
        });
  }
  tcp::acceptor acceptor_;
  std::uint16_t port_ = acceptor_.local_endpoint().port();
  std::string answer_;
  std::list<Client> clients_;
};

const IpAddress loopback = IpAddress::v4(0x7f000001);

class CheckerTest : public ::testing::Test {
 protected:
  explicit CheckerTest(std::size_t in_flight = 256)
      : checker_(loop_,
                 [this](const CheckedBackend& backend, bool healthy) { verdicts_.emplace_back(backend.port, healthy); },
                 {in_flight, 1}) {}

  static CheckTarget target(std::uint16_t port, model::HealthCheck::Kind kind) {
    CheckTarget target{loopback, port, {}};
    target.check.kind = kind;
    target.check.interval = std::chrono::milliseconds(10);
    target.check.timeout = std::chrono::milliseconds(1000);
    return target;
  }
  static CheckTargets targets_of(const CheckTarget& target) {
    return {{target, {{loopback, target.port, Protocol::tcp}}}};
  }
  template <class Condition>
  bool run_until(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition() && std::chrono::steady_clock::now() < end) loop_.run_one_for(std::chrono::milliseconds(20));
    return condition();
  }
  Checker::State state_of(std::uint16_t port) {
    return checker_.state({loopback, port, Protocol::tcp}).value_or(Checker::State{});
  }
  bool run_until_verdict(bool healthy) {
    return run_until([&] { return !verdicts_.empty() && verdicts_.back().second == healthy; });
  }

  asio::io_context loop_;
  std::vector<std::pair<std::uint16_t, bool>> verdicts_;
  Checker checker_;
};

constexpr auto http = model::HealthCheck::Kind::http;

TEST_F(CheckerTest, TcpTellsWhetherAnybodyListens) {
  Backend backend(loop_, "");
  const auto target = CheckerTest::target(backend.port(), model::HealthCheck::Kind::tcp);
  checker_.want(targets_of(target));
  ASSERT_TRUE(run_until([&] { return state_of(backend.port()).successes >= 3; }));
  EXPECT_TRUE(verdicts_.empty()) << "it was taken for healthy all the time";
  backend.stop();
  ASSERT_TRUE(run_until_verdict(false));
  EXPECT_FALSE(state_of(target.port).healthy);
  EXPECT_GE(state_of(target.port).failures, 3U) << "as many as fall says";
  EXPECT_THAT(state_of(target.port).last_error, HasSubstr("refused"));
}

TEST_F(CheckerTest, HttpGoesByTheStatusAndRecoversAfterRiseSuccesses) {
  Backend backend(loop_, "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n");
  auto target = CheckerTest::target(backend.port(), http);
  target.check.path = "/ready?x=1";
  target.check.host = "web.example";
  target.check.rise = 4;
  checker_.want(targets_of(target));
  ASSERT_TRUE(run_until([&] { return state_of(backend.port()).successes >= 2; }));
  EXPECT_THAT(backend.request, ::testing::StartsWith("GET /ready?x=1 HTTP/1.1\r\nHost: web.example\r\n"));
  backend.answer("HTTP/1.0 503 no\r\n\r\n");
  ASSERT_TRUE(run_until_verdict(false));
  EXPECT_EQ(state_of(backend.port()).last_error, "it answered 503");
  backend.answer("HTTP/1.1 200 OK\r\n\r\n");
  ASSERT_TRUE(run_until_verdict(true));
  EXPECT_GE(state_of(backend.port()).successes, 4U);
  EXPECT_EQ(verdicts_.size(), 2U);
}

TEST_F(CheckerTest, WhatIsNoAnswerIsAFailureThatSaysWhy) {
  struct Case {
    const char* answer;
    const char* error;
  };
  for (const auto& [answer, error] :
       {Case{"SSH-2.0-x\r\n", "not HTTP"}, Case{"HTTP/1.1 200 OK\r\n", "no answer within"},
        Case{"", "no answer within"}, Case{"HTTP/1.1 404 x\r\n\r\n", "it answered 404"}}) {
    Backend backend(loop_, answer);
    auto target = CheckerTest::target(backend.port(), http);
    target.check.timeout = std::chrono::milliseconds(30);
    target.check.fall = 1;
    verdicts_.clear();
    checker_.want(targets_of(target));
    ASSERT_TRUE(run_until_verdict(false)) << answer;
    EXPECT_THAT(state_of(backend.port()).last_error, HasSubstr(error));
    checker_.want({});
    ASSERT_TRUE(run_until_verdict(true)) << "nobody checks it any more";
    backend.stop();
  }
}

TEST_F(CheckerTest, ABackendIsHealthyWhileAllItsChecksAreAndSharedChecksAreMadeOnce) {
  Backend good(loop_, "HTTP/1.1 200 OK\r\n\r\n");
  Backend bad(loop_, "HTTP/1.1 500 no\r\n\r\n");
  const CheckedBackend one{loopback, 80, Protocol::tcp};
  const CheckedBackend two{loopback, 443, Protocol::tcp};
  checker_.want({{target(good.port(), http), {one, two}}, {target(bad.port(), http), {one}}});
  EXPECT_EQ(checker_.targets(), 2U);
  ASSERT_TRUE(run_until_verdict(false));
  EXPECT_EQ(verdicts_.front().first, 80);
  EXPECT_TRUE(checker_.state(two)->healthy);
  EXPECT_FALSE(checker_.state(one)->healthy);
  checker_.want({{target(good.port(), http), {one, two}}});
  ASSERT_TRUE(run_until_verdict(true));
  EXPECT_EQ(verdicts_.size(), 2U);
}

class FewProbesTest : public CheckerTest {
 protected:
  FewProbesTest() : CheckerTest(3) {}
};

TEST_F(FewProbesTest, NoMoreThanSoManyAreUnderWayAndEverybodyGetsATurn) {
  std::list<Backend> backends;
  CheckTargets targets;
  for (int i = 0; i < 40; ++i) {
    auto& backend = backends.emplace_back(loop_, i % 2 == 0 ? "HTTP/1.1 200 OK\r\n\r\n" : "");
    auto target = CheckerTest::target(backend.port(), http);
    target.check.timeout = std::chrono::milliseconds(20);
    targets[target] = {{loopback, backend.port(), Protocol::tcp}};
  }
  checker_.want(targets);
  ASSERT_TRUE(run_until([&] {
    return std::ranges::all_of(backends, [&](const Backend& backend) { return state_of(backend.port()).probes >= 3; });
  }));
  int even = 0;
  for (const auto& backend : backends) EXPECT_EQ(state_of(backend.port()).healthy, even++ % 2 == 0);
  std::size_t open = 0;
  for (const auto& backend : backends) open += backend.most_open;
  EXPECT_LE(open, 40U * 3U);
}

TEST_F(CheckerTest, MayGoWhileProbesAreUnderWay) {
  Backend silent(loop_, "");
  {
    Checker other(loop_, [](const CheckedBackend&, bool) { FAIL(); }, {256, 1});
    other.want(targets_of(target(silent.port(), http)));
    ASSERT_TRUE(run_until([&] { return silent.connections > 0; }));
  }
  loop_.run_for(std::chrono::milliseconds(20));
}

}  // namespace
}  // namespace weft::agent
