#include "agent/health_http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::HasSubstr;

// Whole, and byte by byte: the same either way.
HttpProgress read_all(HttpHead& whole, HttpHead& pieces, std::string_view bytes) {
  const auto progress = whole.feed(bytes);
  for (const char c : bytes) pieces.feed({&c, 1});
  EXPECT_EQ(pieces.progress(), progress);
  EXPECT_EQ(pieces.problem(), whole.problem());
  return progress;
}

TEST(HealthHttp, TheStatusOfAResponseIsRead) {
  const std::vector<std::pair<std::string, int>> cases{
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200},
      {"HTTP/1.0 404 Not Found\n\n", 404},
      {"HTTP/1.1 204\r\n\r\n", 204},
      {"HTTP/1.1 503 \r\nX-A:\r\n\r\n", 503},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 301 Moved\r\nLocation: /x\r\n\r\n", 301},
      {"HTTP/1.1 101 Switching\r\n\r\n", 101},
      {"HTTP/1.1 200 Grüße\r\nX-Note: \xff\tthere\r\n\r\n", 200},
  };
  for (const auto& [bytes, status] : cases) {
    HttpResponseHead whole;
    HttpResponseHead pieces;
    EXPECT_EQ(read_all(whole, pieces, bytes), HttpProgress::done) << bytes << whole.problem();
    EXPECT_EQ(whole.status(), status);
    EXPECT_EQ(pieces.status(), status);
  }
}

TEST(HealthHttp, WhatIsNoResponseIsRefused) {
  for (const std::string bytes :
       {"SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2 200\r\n", "HTTP/1.1  200 OK\r\n", "HTTP/1.1 20 OK\r\n", "HTTP/1.1 2000\r\n",
        "HTTP/1.1 099 x\r\n", "HTTP/1.1 600 x\r\n", "\r\nHTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", "HTTP/1.1 200 OK\r\na b: x\r\n\r\n", "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
        "HTTP/1.1 200 O\x01K\r\n\r\n", "HTTP/1.1 200 O\rK\r\n\r\n", "http/1.1 200 OK\r\n\r\n"}) {
    HttpResponseHead whole;
    HttpResponseHead pieces;
    EXPECT_EQ(read_all(whole, pieces, bytes), HttpProgress::malformed) << bytes;
    EXPECT_NE(whole.problem(), "");
    EXPECT_EQ(whole.feed("HTTP/1.1 200 OK\r\n\r\n"), HttpProgress::malformed) << "it stays so";
  }
}

TEST(HealthHttp, WhatNeverEndsIsCutOff) {
  HttpResponseHead head;
  ASSERT_EQ(head.feed("HTTP/1.1 200 OK\r\n"), HttpProgress::more);
  for (int i = 0; i < 100000 && head.progress() == HttpProgress::more; ++i) head.feed("X-Padding: yes\r\n");
  EXPECT_EQ(head.progress(), HttpProgress::malformed);
  EXPECT_THAT(head.problem(), HasSubstr("longer than 8192"));
  HttpResponseHead endless;
  EXPECT_EQ(endless.feed(std::string(10000, 'A')), HttpProgress::malformed);
}

TEST(HealthHttp, RequestsAreReadByTheirFirstLine) {
  const std::vector<std::pair<std::string, std::string>> good{{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET"},
                                                              {"HEAD /healthz?x=1 HTTP/1.0\n\n", "HEAD"}};
  for (const auto& [bytes, method] : good) {
    HttpRequestHead whole;
    HttpRequestHead pieces;
    EXPECT_EQ(read_all(whole, pieces, bytes), HttpProgress::done);
    EXPECT_EQ(whole.method(), method);
  }
  for (const std::string bytes : {"GET /\r\n\r\n", "GET  HTTP/1.1\r\n", "GET / x HTTP/1.1\r\n", "G(T / HTTP/1.1\r\n",
                                  "PRI * HTTP/2.0\r\n", "\x16\x03\x01\n"}) {
    HttpRequestHead whole;
    HttpRequestHead pieces;
    EXPECT_EQ(read_all(whole, pieces, bytes), HttpProgress::malformed) << bytes;
  }
}

}  // namespace
}  // namespace weft::agent
