#include "agent/health_port.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <asio/connect.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>

namespace weft::agent {
namespace {

using asio::ip::tcp;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

class HealthPortTest : public ::testing::Test {
 protected:
  HealthPortTest() {
    ports_.emplace(
        loop_, [this] { return healthy_; }, HealthPorts::Options{4, std::chrono::milliseconds(300)});
  }
  ~HealthPortTest() override {
    ports_.reset();
    loop_.run_for(std::chrono::seconds(5));
  }

  // A port free in both families.
  std::uint16_t free_port() {
    tcp::acceptor probe(loop_, tcp::endpoint(tcp::v4(), 0));
    return probe.local_endpoint().port();
  }
  tcp::socket connect(std::uint16_t port, bool v6 = false) {
    tcp::socket socket(loop_);
    if (v6)
      socket.connect({asio::ip::address_v6::loopback(), port});
    else
      socket.connect({asio::ip::address_v4::loopback(), port});
    return socket;
  }
  // What the port answers until it closes; the loop runs meanwhile.
  std::string answer_to(tcp::socket& socket, const std::string& request) {
    if (!request.empty()) asio::write(socket, asio::buffer(request));
    std::string answer;
    bool ended = false;
    std::array<char, 512> buffer{};
    std::function<void()> read = [&] {
      socket.async_read_some(asio::buffer(buffer), [&](const std::error_code& error, std::size_t size) {
        answer.append(buffer.data(), size);
        ended = static_cast<bool>(error);
        if (!error) read();
      });
    };
    read();
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!ended && std::chrono::steady_clock::now() < end) loop_.run_one_for(std::chrono::milliseconds(50));
    EXPECT_TRUE(ended) << "it was left open";
    socket.close();
    return answer;
  }
  std::string ask(std::uint16_t port, const std::string& request, bool v6 = false) {
    auto socket = connect(port, v6);
    return answer_to(socket, request);
  }

  asio::io_context loop_;
  bool healthy_ = true;
  std::optional<HealthPorts> ports_;
};

const std::string get = "GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n";

TEST_F(HealthPortTest, AnswersAsKubeProxyDoes) {
  const auto port = free_port();
  ports_->want({{port, {{"shop", "web"}, 2}}});
  ASSERT_THAT(ports_->problems(), SizeIs(0));
  for (const bool v6 : {false, true})
    EXPECT_THAT(
        ask(port, get, v6),
        AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("X-Load-Balancing-Endpoint-Weight: 2\r\n"),
              HasSubstr("Content-Type: application/json\r\n"),
              HasSubstr(
                  R"({"service":{"namespace":"shop","name":"web"},"localEndpoints":2,"serviceProxyHealthy":true})")));
  ports_->want({{port, {{"shop", "web"}, 0}}});
  EXPECT_THAT(ask(port, get), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("\"localEndpoints\":0")));
  ports_->want({{port, {{"shop", "web"}, 1}}});
  healthy_ = false;
  EXPECT_THAT(ask(port, get), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("\"serviceProxyHealthy\":false")));
  healthy_ = true;
  const auto head = ask(port, "HEAD / HTTP/1.0\n\n");
  EXPECT_THAT(head, AllOf(StartsWith("HTTP/1.1 200 "), ::testing::EndsWith("\r\n\r\n")));
}

TEST_F(HealthPortTest, PortsOpenAndCloseAsServicesChange) {
  const auto first = free_port();
  ports_->want({{first, {{"shop", "web"}, 1}}});
  const auto second = free_port();
  ports_->want({{second, {{"shop", "api"}, 1}}});
  EXPECT_THAT(ask(second, get), HasSubstr("\"name\":\"api\""));
  EXPECT_THROW((void)connect(first), std::system_error);
}

TEST_F(HealthPortTest, BrokenAndSlowClientsHarmNobody) {
  const auto port = free_port();
  ports_->want({{port, {{"shop", "web"}, 1}}});
  EXPECT_THAT(ask(port, "NONSENSE\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(ask(port, "GET / HTTP/1.1\r\n" + std::string(9000, 'x') + "\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_EQ(ask(port, ""), "") << "who says nothing is shown the door";
  EXPECT_EQ(ask(port, "GET / HT"), "");
  // More silent connections than it takes: the newest is served all the same.
  std::vector<tcp::socket> silent;
  for (int i = 0; i < 12; ++i) silent.push_back(connect(port));
  EXPECT_THAT(ask(port, get), StartsWith("HTTP/1.1 200 "));
  for (auto& socket : silent) {
    socket.set_option(asio::socket_base::linger(true, 0));
    socket.close();
  }
  EXPECT_THAT(ask(port, get), StartsWith("HTTP/1.1 200 "));
}

TEST_F(HealthPortTest, ATakenPortIsAProblemUntilItIsFree) {
  std::optional<tcp::acceptor> other;
  other.emplace(loop_, tcp::endpoint(tcp::v4(), 0));
  const auto port = other->local_endpoint().port();
  ports_->want({{port, {{"shop", "web"}, 1}}});
  ASSERT_THAT(ports_->problems(), SizeIs(1));
  EXPECT_EQ(ports_->problems().front(),
            fmt::format("healthCheckNodePort {} of Service shop/web: another program has the port", port));
  EXPECT_FALSE(ports_->settled());
  other.reset();
  ports_->want({{port, {{"shop", "web"}, 1}}});
  EXPECT_TRUE(ports_->settled());
  EXPECT_THAT(ask(port, get), StartsWith("HTTP/1.1 200 "));
}

}  // namespace
}  // namespace weft::agent
