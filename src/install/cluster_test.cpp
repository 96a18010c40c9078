// A server that takes connections and never says anything.
#include "install/cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <chrono>
#include <csignal>
#include <thread>

namespace weft::install {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

TEST(Cluster, ASilentServerIsToldOfWhileItIsWaitedFor) {
  asio::io_context loop;
  const asio::ip::tcp::acceptor hole(loop, {asio::ip::make_address("127.0.0.1"), 0});
  const auto server = "http://127.0.0.1:" + std::to_string(hole.local_endpoint().port());
  kubernetes::Access access;
  access.servers = {server};
  access.origin = "a test";
  auto cluster = Cluster::connect(access);
  ASSERT_TRUE(cluster) << cluster.error().message;
  std::vector<std::string> told;
  const auto begun = std::chrono::steady_clock::now();
  std::chrono::steady_clock::duration after{};
  (*cluster)->when_silent([&](const std::string& what) {
    told.push_back(what);
    after = std::chrono::steady_clock::now() - begun;
    ::kill(::getpid(), SIGINT);
  });
  const auto answer = (*cluster)->get("/version");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().message, "interrupted");
  EXPECT_THAT(told, ::testing::ElementsAre(HasSubstr("waiting for an answer of " + server + ", a test")));
  EXPECT_LT(after, 2s);
}

}  // namespace
}  // namespace weft::install
