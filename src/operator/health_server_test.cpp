#include "operator/health_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <asio/connect.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>
#include <thread>

namespace weft::op {
namespace {

using ::testing::HasSubstr;

class HealthServerTest : public ::testing::Test {
 protected:
  std::string ask(const std::string& request) {
    std::string answer;
    std::thread client([&] {
      asio::io_context own;
      asio::ip::tcp::socket socket(own);
      std::error_code error;
      socket.connect({asio::ip::make_address("127.0.0.1"), server->port()}, error);
      asio::write(socket, asio::buffer(request), error);
      asio::read(socket, asio::dynamic_buffer(answer), error);
      asio::post(loop, [this] { loop.stop(); });
    });
    loop.restart();
    loop.run_for(std::chrono::seconds(10));
    client.join();
    return answer;
  }
  asio::io_context loop{1};
  std::string why;
  std::unique_ptr<HealthServer> server = HealthServer::listen(loop, "127.0.0.1:0", [this] { return why; }).value();
};

TEST_F(HealthServerTest, AnswersProbes) {
  EXPECT_THAT(ask("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"), HasSubstr("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(ask("GET /readyz?verbose HTTP/1.1\r\n\r\n"), HasSubstr("200 OK"));
  why = "no answer yet";
  EXPECT_THAT(ask("GET /readyz HTTP/1.1\r\n\r\n"), HasSubstr("503 Service Unavailable"));
  EXPECT_THAT(ask("GET /readyz HTTP/1.1\r\n\r\n"), HasSubstr("\r\n\r\nno answer yet\n"));
  EXPECT_THAT(ask("GET /healthz HTTP/1.1\r\n\r\n"), HasSubstr("200 OK")) << "it lives";
  EXPECT_THAT(ask("POST /healthz HTTP/1.1\r\n\r\n"), HasSubstr("404"));
  EXPECT_THAT(ask("GET / HTTP/1.1\r\n\r\n"), HasSubstr("404"));
}

TEST_F(HealthServerTest, WhatIsNoRequestIsNotAnswered) {
  EXPECT_EQ(ask(std::string(5000, 'x')), "");
  EXPECT_THAT(ask("GET /healthz HTTP/1.1\r\n\r\n"), HasSubstr("200 OK"));
}

TEST_F(HealthServerTest, AnAddressThatIsTaken) {
  const auto again = HealthServer::listen(loop, "127.0.0.1:" + std::to_string(server->port()), {});
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message, HasSubstr("health_address: 127.0.0.1:"));
}

}  // namespace
}  // namespace weft::op
