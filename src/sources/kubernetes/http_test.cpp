#include "sources/kubernetes/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "sources/kubernetes/testing/world.h"

namespace weft::kubernetes::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

json pod(const std::string& name, const std::string& space = "default") {
  return {{"metadata", {{"name", name}, {"namespace", space}}}};
}

TEST(Http, ARequestIsAnsweredAndTheConnectionKept) {
  World world;
  ApiServer server;
  const auto http = world.connect(server.access());
  for (int i = 0; i < 3; ++i) {
    const auto answer = world.request(*http, {.target = "/version"});
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->status, 200);
    EXPECT_THAT(answer->body, HasSubstr("gitVersion"));
    EXPECT_EQ(answer->server, server.url());
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http, ABodyIsSent) {
  World world;
  ApiServer server;
  const auto http = world.connect(server.access());
  Request create{.method = "POST",
                 .target = "/api/v1/namespaces/default/pods",
                 .content_type = "application/json",
                 .body = pod("a").dump()};
  EXPECT_EQ(world.request(*http, create)->status, 201);
  EXPECT_EQ(world.request(*http, create)->status, 409);
  EXPECT_EQ(world.request(*http, {.method = "DELETE", .target = "/api/v1/namespaces/default/pods/a"})->status, 200);
  EXPECT_EQ(world.request(*http, {.target = "/api/v1/namespaces/default/pods/a"})->status, 404);
}

TEST(Http, ServersAreTriedOneAfterAnotherAndTheOneThatWorksIsKept) {
  World world;
  ApiServer server;
  std::string dead;
  {
    const ApiServer gone;
    dead = gone.url();
  }
  auto access = server.access();
  access.servers = {dead, server.url()};
  const auto http = world.connect(access);
  EXPECT_EQ(world.request(*http, {.target = "/version"})->status, 200);
  EXPECT_EQ(world.request(*http, {.target = "/version"})->server, server.url());
  server.stop();
  const auto none = world.request(*http, {.target = "/api/v1/pods?limit=1"});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().reason, Reason::unavailable);
  EXPECT_THAT(none.error().message, HasSubstr("GET /api/v1/pods of http://127.0.0.1:"));
  EXPECT_THAT(none.error().message, HasSubstr("(Connection refused)"));
  EXPECT_FALSE(none.error().unsure);
  server.start();
  EXPECT_EQ(world.request(*http, {.target = "/version"})->status, 200);
}

// A control plane whose machines are exchanged one after the other, while this runs.
TEST(Http, ServersCanBecomeOthers) {
  World world;
  ApiServer first;
  const ApiServer second;
  const auto http = world.connect(first.access());
  EXPECT_EQ(world.request(*http, {.target = "/version"})->server, first.url());
  http->use_servers({second.url(), first.url()});
  http->use_servers({});
  EXPECT_EQ(world.request(*http, {.target = "/version"})->server, first.url()) << "the one in use stays";
  first.stop();
  EXPECT_EQ(world.request(*http, {.target = "/version"})->server, second.url());
  http->use_servers({second.url()});
  EXPECT_EQ(world.request(*http, {.target = "/version"})->server, second.url());
}

TEST(Http, AServerThatCannotIsLeftForTheNextRequest) {
  World world;
  ApiServer broken;
  ApiServer server;
  auto access = server.access();
  access.servers = {broken.url(), server.url()};
  const auto http = world.connect(access);
  broken.fail({.status = 503});
  EXPECT_EQ(world.request(*http, {.target = "/version"})->status, 503);
  EXPECT_EQ(world.request(*http, {.target = "/version"})->server, server.url());
}

TEST(Http, TheServersCertificateIsLookedAt) {
  World world;
  const ApiServer server({.tls = make_certificate("server", {"127.0.0.1"})});
  const auto good = world.connect(server.access());
  const auto answer = world.request(*good, {.target = "/version"});
  ASSERT_TRUE(answer) << answer.error().message;
  auto access = server.access();
  access.ca_pem = make_certificate("another", {"127.0.0.1"}).certificate_pem;
  const auto bad = world.connect(access);
  const auto refused = world.request(*bad, {.target = "/version"});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("is the certificate-authority the right one"));
  access.ca_pem.clear();
  access.insecure = true;
  const auto blind = world.connect(access);
  EXPECT_TRUE(world.request(*blind, {.target = "/version"}));
}

TEST(Http, TheCertificatesNameMayBeAnotherThanTheAddress) {
  World world;
  const ApiServer server({.tls = make_certificate("server", {"kubernetes"})});
  auto access = server.access();
  const auto bad = world.connect(access);
  EXPECT_FALSE(world.request(*bad, {.target = "/version"}));
  access.tls_server_name = "kubernetes";
  const auto good = world.connect(access);
  const auto answer = world.request(*good, {.target = "/version"});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 200);
}

TEST(Http, AClientCertificateIsShown) {
  World world;
  const auto client = make_certificate("client", {});
  const ApiServer server({.tls = make_certificate("server", {"127.0.0.1"}), .client_ca_pem = client.certificate_pem});
  auto access = server.access();
  const auto without = world.connect(access);
  EXPECT_FALSE(world.request(*without, {.target = "/version"}));
  access.certificate_pem = client.certificate_pem;
  access.key_pem = client.key_pem;
  const auto with = world.connect(access);
  const auto answer = world.request(*with, {.target = "/version"});
  ASSERT_TRUE(answer) << answer.error().message;
}

TEST(Http, ATokenThatIsRefusedIsReadAgainAndTheRequestRepeated) {
  World world;
  ApiServer server({.token = "first"});
  const auto file = std::filesystem::temp_directory_path() / ("weft-token-" + std::to_string(getpid()));
  std::ofstream(file) << "first\n";
  auto access = server.access();
  access.token.clear();
  access.token_file = file;
  const auto http = world.connect(access);
  EXPECT_EQ(world.request(*http, {.target = "/api/v1/pods"})->status, 200);
  server.set_token("second");
  EXPECT_EQ(world.request(*http, {.target = "/api/v1/pods"})->status, 401);
  std::ofstream(file) << "second\n";
  EXPECT_EQ(world.request(*http, {.target = "/api/v1/pods"})->status, 200);
  std::filesystem::remove(file);
}

TEST(Http, RetryAfterIsToldAndABodyHasALimit) {
  World world;
  ApiServer server;
  server.fail({.status = 429, .retry_after = 7});
  const auto http = world.connect(server.access(), {.most_body = 1000});
  const auto answer = world.request(*http, {.target = "/version"});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 429);
  EXPECT_EQ(answer->retry_after, std::chrono::seconds(7));
  for (int i = 0; i < 10; ++i) server.store().put("/api/v1/namespaces/default/pods/p" + std::to_string(i), pod("p"));
  const auto large = world.request(*http, {.target = "/api/v1/pods"});
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().reason, Reason::too_large);
}

TEST(Http, AStreamIsHandedOverAsItComes) {
  World world;
  ApiServer server;
  const auto http = world.connect(server.access());
  std::string seen;
  int opened = 0;
  std::optional<Outcome<Answer>> end;
  auto stream = http->start({.target = "/api/v1/pods?watch=1&resourceVersion=1", .stream = true},
                            {.opened = [&] { ++opened; },
                             .bytes = [&](std::string_view bytes) { seen += bytes; },
                             .done = [&](Outcome<Answer> outcome) { end.emplace(std::move(outcome)); }});
  EXPECT_TRUE(world.run_until([&] { return opened == 1; }));
  server.store().put("/api/v1/namespaces/default/pods/a", pod("a"));
  EXPECT_TRUE(world.run_until([&] { return seen.find("ADDED") != std::string::npos; }));
  server.end_watches();
  EXPECT_TRUE(world.run_until([&] { return end.has_value(); }));
  ASSERT_TRUE(*end);
  EXPECT_EQ((*end)->status, 200);
  EXPECT_EQ((*end)->body, "");

  // One that is cancelled says nothing more, and the server sees it.
  end.reset();
  stream = http->start({.target = "/api/v1/pods?watch=1&resourceVersion=1", .stream = true},
                       {.opened = [&] { ++opened; }, .done = [&](auto outcome) { end.emplace(std::move(outcome)); }});
  EXPECT_TRUE(world.run_until([&] { return opened == 2 && server.watches() == 1; }));
  stream.reset();
  EXPECT_TRUE(world.run_until([&] { return server.watches() == 0; }));
  EXPECT_FALSE(end.has_value());
}

TEST(Http, AStreamThatBreaksOrIsRefusedIsTold) {
  World world;
  ApiServer server;
  const auto http = world.connect(server.access());
  bool opened = false;
  std::optional<Outcome<Answer>> end;
  const auto start = [&] {
    end.reset();
    return http->start(
        {.target = "/api/v1/pods?watch=1&resourceVersion=1", .stream = true},
        {.opened = [&] { opened = true; }, .done = [&](auto outcome) { end.emplace(std::move(outcome)); }});
  };
  auto stream = start();
  EXPECT_TRUE(world.run_until([&] { return server.watches() == 1; }));
  server.break_watches();
  EXPECT_TRUE(world.run_until([&] { return end.has_value(); }));
  ASSERT_FALSE(*end);
  EXPECT_EQ(end->error().reason, Reason::unavailable);

  opened = false;
  server.fail({.status = 403});
  stream = start();
  EXPECT_TRUE(world.run_until([&] { return end.has_value(); }));
  ASSERT_TRUE(*end);
  EXPECT_EQ((*end)->status, 403);
  EXPECT_THAT((*end)->body, HasSubstr("Forbidden"));
  EXPECT_FALSE(opened);
}

TEST(Http, WaitingHasAnEnd) {
  World world;
  ApiServer server;
  const auto http = world.connect(server.access());
  // Nobody accepts what this address says: connections stand in the kernel's queue.
  const Fd deaf(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(deaf.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ::listen(deaf.get(), 8);
  ::getsockname(deaf.get(), reinterpret_cast<sockaddr*>(&address), &size);
  const auto silent = world.connect({.servers = {"http://127.0.0.1:" + std::to_string(ntohs(address.sin_port))}});
  const auto none =
      world.request(*silent, {.method = "POST", .target = "/x", .body = "{}", .timeout = milliseconds(100)});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().reason, Reason::deadline);
  EXPECT_TRUE(none.error().unsure);

  server.hush(true);
  const auto quiet = world.request(
      *http, {.target = "/api/v1/pods?watch=1&resourceVersion=1", .stream = true, .idle = milliseconds(100)});
  ASSERT_FALSE(quiet);
  EXPECT_THAT(quiet.error().message, HasSubstr("nothing was heard for 100 ms"));
  const auto endless = world.request(
      *http, {.target = "/api/v1/pods?watch=1&resourceVersion=1", .stream = true, .lifetime = milliseconds(100)});
  ASSERT_FALSE(endless);
  EXPECT_EQ(endless.error().reason, Reason::deadline);
}

// A watch that is quiet looks like one whose server has gone without a word: the kernels tell them apart.
TEST(Http, AServerThatIsGoneWithoutAWordIsNoticedOnAQuietStream) {
  World world;
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ::listen(listener.get(), 8);
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  const auto http = world.connect({.servers = {"http://127.0.0.1:" + std::to_string(ntohs(address.sin_port))}},
                                  {.dead_after = std::chrono::seconds(2)});
  std::string heard;
  std::optional<Outcome<Answer>> end;
  const auto stream = http->start({.target = "/api/v1/pods?watch=1", .stream = true},
                                  {.bytes = [&](std::string_view bytes) { heard += bytes; },
                                   .done = [&](Outcome<Answer> outcome) { end = std::move(outcome); }});
  world.run_for(milliseconds(100));
  const Fd connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(connection.valid());
  constexpr std::string_view head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
  ASSERT_EQ(::write(connection.get(), head.data(), head.size()), static_cast<ssize_t>(head.size()));
  ASSERT_TRUE(world.run_until([&] { return heard == "hi"; }));
  // Quiet for longer than that: the server's kernel answers.
  EXPECT_FALSE(world.run_until([&] { return end.has_value(); }, milliseconds(4000)));
  // Whatever comes is dropped before the kernel looks at it.
  std::array<sock_filter, 1> drop{{{.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 0}}};
  const sock_fprog program{.len = drop.size(), .filter = drop.data()};
  ASSERT_EQ(::setsockopt(connection.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
  ASSERT_TRUE(world.run_until([&] { return end.has_value(); }, milliseconds(4000)));
  ASSERT_FALSE(*end);
  EXPECT_EQ(end->error().reason, Reason::unavailable);
  EXPECT_THAT(end->error().message, HasSubstr("timed out"));
}

TEST(Http, AHandlerMayDestroyTheClient) {
  World world;
  ApiServer server;
  auto http = world.connect(server.access());
  bool done = false;
  auto other = http->start({.target = "/api/v1/pods?watch=1", .stream = true}, {});
  auto first = http->start({.target = "/version"}, {.done = [&](const Outcome<Answer>&) {
                             http.reset();
                             done = true;
                           }});
  EXPECT_TRUE(world.run_until([&] { return done; }));
  other.reset();
  world.run_for(milliseconds(50));
}

TEST(Http, ManyStreamsAtOnce) {
  World world;
  ApiServer server({.tls = make_certificate("server", {"127.0.0.1"})});
  const auto http = world.connect(server.access());
  std::vector<std::unique_ptr<Transfer>> streams;
  int seen = 0;
  for (int i = 0; i < 30; ++i)
    streams.push_back(http->start({.target = "/api/v1/pods?watch=1&resourceVersion=1", .stream = true},
                                  {.bytes = [&](std::string_view) { ++seen; }}));
  EXPECT_TRUE(world.run_until([&] { return server.watches() == 30; }));
  server.store().put("/api/v1/namespaces/default/pods/a", pod("a"));
  EXPECT_TRUE(world.run_until([&] { return seen >= 30; }));
}

TEST(Http, Escape) { EXPECT_EQ(escape("a=b,c!=d/e ~"), "a%3Db%2Cc%21%3Dd%2Fe%20~"); }

}  // namespace
}  // namespace weft::kubernetes::testing
