// Real sockets in a namespace of the test's own.
#include "lab/responder.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "lab/http.h"
#include "lab/responder_fixture.h"

namespace weft::lab {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class ResponderTest : public RespondersFixture {
 protected:
  ResponderTest() : RespondersFixture("responder") {}

  void prepare(sys::Netlink& netlink) override {
    const auto loopback = netlink.device("lo");
    ASSERT_TRUE(loopback);
    for (const auto* extra : {"198.51.100.1", "2001:db8:0:2::1"})
      ASSERT_TRUE(netlink.add_address({loopback->index, *IpAddress::parse(extra), extra[4] == ':' ? 128U : 32U}));
  }
  // A connected socket inside the namespace.
  Fd connect(const std::string& address, std::uint16_t port, int type = SOCK_STREAM) {
    const auto scope = sys::NetnsScope::enter(netns_.get());
    EXPECT_TRUE(scope);
    const bool six = address.find(':') != std::string::npos;
    Fd fd(::socket(six ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0));
    sockaddr_in v4{};
    sockaddr_in6 v6{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    ::inet_pton(six ? AF_INET6 : AF_INET, address.c_str(),
                six ? static_cast<void*>(&v6.sin6_addr) : static_cast<void*>(&v4.sin_addr));
    const int result = six ? ::connect(fd.get(), reinterpret_cast<sockaddr*>(&v6), sizeof v6)
                           : ::connect(fd.get(), reinterpret_cast<sockaddr*>(&v4), sizeof v4);
    return result == 0 ? std::move(fd) : Fd();
  }
  // The kernel makes a new IPv6 address local a moment after it was added; a socket connected before
  // that never gets through.
  Fd connect_when_answered(const std::string& address) {
    for (int attempt = 0; attempt < 200; ++attempt) {
      Fd client = connect(address, 53, SOCK_DGRAM);
      if (!client.valid()) continue;
      send(client, "who?");
      pollfd watched{client.get(), POLLIN, 0};
      if (::poll(&watched, 1, 100) == 1 && receive(client, 6) == "web-0\n") return client;
    }
    ADD_FAILURE() << address << " never answered";
    return {};
  }
  static void send(const Fd& fd, std::string_view text) {
    EXPECT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // What comes until `size` bytes are there or the other side closes.
  static std::string receive(const Fd& fd, std::size_t size) {
    std::string text;
    while (text.size() < size) {
      pollfd watched{fd.get(), POLLIN, 0};
      if (::poll(&watched, 1, 20'000) <= 0) return text + "<timeout>";
      char chunk[4096];
      const auto n = ::recv(fd.get(), chunk, std::min(sizeof chunk, size - text.size()), 0);
      if (n <= 0) return text + "<end>";
      text.append(chunk, static_cast<std::size_t>(n));
    }
    return text;
  }
};

TEST_F(ResponderTest, TcpTellsTheNameAndEchoes) {
  const auto listening = open({{5432, Protocol::tcp, false}});
  ASSERT_EQ(listening.size(), 1U);
  EXPECT_EQ(listening[0].error, "");
  for (const auto* address : {"127.0.0.1", "::1"}) {
    const Fd client = connect(address, 5432);
    ASSERT_TRUE(client.valid());
    EXPECT_EQ(receive(client, 6), "web-0\n");
    send(client, "hello");
    EXPECT_EQ(receive(client, 5), "hello");
    ::shutdown(client.get(), SHUT_WR);
    EXPECT_EQ(receive(client, 1), "<end>");
  }
}

TEST_F(ResponderTest, UdpAnswersFromTheAddressAsked) {
  open({{53, Protocol::udp, false}});
  for (const auto* address : {"127.0.0.1", "198.51.100.1", "::1", "2001:db8:0:2::1"}) {
    // Connected, so an answer from another address would not arrive.
    const Fd client = connect_when_answered(address);
    for (int i = 0; i < 3; ++i) {
      send(client, "who?");
      EXPECT_EQ(receive(client, 6), "web-0\n") << address;
    }
  }
}

TEST_F(ResponderTest, HttpAnswersSeveralRequestsOnOneConnection) {
  open({{8080, Protocol::tcp, true}});
  const Fd client = connect("127.0.0.1", 8080);
  const std::string response = http_response(HttpRequest{"GET"}, "web-0");
  EXPECT_THAT(response, EndsWith("\r\n\r\nweb-0\n"));
  for (int i = 0; i < 2; ++i) {
    send(client, "GET /any/path HTTP/1.1\r\nHost: web\r\n\r\n");
    EXPECT_EQ(receive(client, response.size()), response);
  }
  send(client, "POST / HTTP/1.1\r\nHost: web\r\ncontent-length: 5\r\n\r\nabc");
  send(client, "deHEAD / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(receive(client, response.size()), response);
  const std::string head = http_response(HttpRequest{"HEAD"}, "web-0");
  EXPECT_EQ(receive(client, head.size()), head);
  send(client, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(receive(client, 1000), EndsWith("web-0\n<end>"));
}

TEST_F(ResponderTest, HttpRefusesWhatItCannotRead) {
  open({{80, Protocol::tcp, true}});
  const Fd nonsense = connect("127.0.0.1", 80);
  send(nonsense, "hello\r\n\r\n");
  EXPECT_THAT(receive(nonsense, 1000), StartsWith("HTTP/1.1 400 "));
  const Fd endless = connect("127.0.0.1", 80);
  send(endless, "GET / HTTP/1.1\r\nX: " + std::string(70'000, 'x'));
  EXPECT_THAT(receive(endless, 12), "HTTP/1.1 400");
}

TEST_F(ResponderTest, ClosingEndsListenersAndConnections) {
  open({{5432, Protocol::tcp, false}, {53, Protocol::udp, false}});
  const Fd client = connect("127.0.0.1", 5432);
  EXPECT_EQ(receive(client, 6), "web-0\n");
  close("web-0");
  EXPECT_THAT(receive(client, 1), HasSubstr("<end>"));
  EXPECT_FALSE(connect("127.0.0.1", 5432).valid());
}

TEST_F(ResponderTest, ATakenPortDoesNotStopTheOthers) {
  open({{5432, Protocol::tcp, false}}, "first");
  const auto listening = open({{5432, Protocol::tcp, false}, {5433, Protocol::tcp, false}}, "second");
  ASSERT_EQ(listening.size(), 2U);
  EXPECT_THAT(listening[0].error, HasSubstr("bind"));
  EXPECT_EQ(listening[1].error, "");
  EXPECT_EQ(receive(connect("127.0.0.1", 5433), 7), "second\n");
}

TEST(SpeaksHttp, ByNameOrNumber) {
  EXPECT_TRUE(speaks_http("http", 3000, Protocol::tcp));
  EXPECT_TRUE(speaks_http("", 80, Protocol::tcp));
  EXPECT_TRUE(speaks_http("web", 8080, Protocol::tcp));
  EXPECT_FALSE(speaks_http("grpc", 3000, Protocol::tcp));
  EXPECT_FALSE(speaks_http("http", 80, Protocol::udp));
}

TEST(HttpHead, Parsing) {
  const auto request = parse_http_head("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\nExpect: 100-continue\r\n\r\n");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->method, "GET");
  EXPECT_TRUE(request->keep_alive);
  EXPECT_TRUE(request->expects_continue);
  EXPECT_FALSE(parse_http_head("GET / HTTP/1.0\r\n\r\n")->keep_alive);
  for (const auto* bad : {"", "\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/2\r\n\r\n", "GET / HTTP/1.1\r\nnocolon\r\n\r\n",
                          "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                          "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", "GET / HTTP/1.1\r\n"})
    EXPECT_FALSE(parse_http_head(bad)) << bad;
}

}  // namespace
}  // namespace weft::lab
