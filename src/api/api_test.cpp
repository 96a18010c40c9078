#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "api/answer.h"
#include "api/client.h"
#include "api/params.h"
#include "api/request.h"
#include "api/server.h"

namespace weft::api {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class ApiTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "weft-api-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    options_.path = directory_ + "/weft.sock";
  }
  void TearDown() override {
    stop();
    std::filesystem::remove_all(directory_);
  }

  void start() {
    auto server = Server::listen(loop_, options_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
    server_->handle("echo", [](const json& params) -> Answer { return params; });
    server_->handle("typed", [](const json& params) -> Answer { return json(params.at("n").get<int>() + 1); });
    server_->handle("refuse", [](const json&) -> Answer {
      return fail(ApiError(Error{ErrorCode::invalid, "no", "do it right"}, {{"problems", json::array({"p1"})}}));
    });
  }
  void run() {
    thread_ = std::thread([this] { loop_.run(); });
  }
  void stop() {
    if (!thread_.joinable()) return;
    asio::post(loop_, [this] { server_.reset(); });
    loop_.stop();
    thread_.join();
    loop_.restart();
    loop_.poll();
    server_.reset();
  }

  [[nodiscard]] Client client() const {
    auto connected = Client::connect(options_.path);
    EXPECT_TRUE(connected) << connected.error().message;
    return std::move(*connected);
  }

  // A socket of the rawest kind, for what the client would never send.
  [[nodiscard]] Fd raw() const {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, options_.path.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }
  static void put(const Fd& fd, std::string_view text) {
    while (!text.empty()) {
      const auto count = ::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (count <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  static std::string read_all(const Fd& fd) {
    std::string text;
    std::array<char, 4096> chunk{};
    for (;;) {
      const auto count = ::recv(fd.get(), chunk.data(), chunk.size(), 0);
      if (count <= 0) return text;
      text.append(chunk.data(), static_cast<std::size_t>(count));
    }
  }

  std::string directory_;
  ServerOptions options_;
  asio::io_context loop_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

TEST_F(ApiTest, CallsAreAnsweredInOrderOnOneConnection) {
  start();
  run();
  auto connection = client();
  for (int i = 0; i < 100; ++i) {
    auto answer = connection.call("echo", {{"i", i}});
    ASSERT_TRUE(answer) << answer.error().error.message;
    EXPECT_EQ((*answer)["i"], i);
  }
}

TEST_F(ApiTest, ErrorsKeepCodeHintAndDetails) {
  start();
  run();
  auto connection = client();
  auto answer = connection.call("refuse", json::object());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().error.code, ErrorCode::invalid);
  EXPECT_EQ(answer.error().error.message, "no");
  EXPECT_EQ(answer.error().error.hint, "do it right");
  EXPECT_EQ(answer.error().details, (json{{"problems", {"p1"}}}));
}

TEST_F(ApiTest, ParameterOfTheWrongTypeIsInvalidNotFatal) {
  start();
  run();
  auto connection = client();
  auto answer = connection.call("typed", {{"n", "x"}});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().error.code, ErrorCode::invalid);
  EXPECT_EQ(*connection.call("typed", {{"n", 4}}), 5);
}

TEST_F(ApiTest, UnknownMethodSuggestsNearOnes) {
  start();
  run();
  auto answer = client().call("ehco", json::object());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().error.code, ErrorCode::not_found);
  EXPECT_THAT(answer.error().error.hint, HasSubstr("echo"));
  EXPECT_EQ(answer.error().details["suggestions"][0], "echo");
}

TEST_F(ApiTest, BadLinesAreAnsweredWithThePosition) {
  start();
  run();
  struct Case {
    std::string line;
    std::string message;
  };
  const std::vector<Case> cases{
      {R"({"id":1,"method":})", "byte 18"},
      {R"([1,2])", "expected an object"},
      {R"({"id":{},"method":"echo"})", "id: expected"},
      {R"({"id":1})", "method is missing"},
      {R"({"id":1,"method":3})", "method: expected text"},
      {R"({"id":1,"method":"echo","params":[]})", "params: expected an object"},
      {R"({"id":1,"method":"echo","params":)" + std::string(200, '['), "deeper than 128"},
      {"{\"id\":1,\"method\":\"\xff\"}", "not valid JSON"},
  };
  for (const auto& entry : cases) {
    auto fd = raw();
    put(fd, entry.line + "\n");
    ::shutdown(fd.get(), SHUT_WR);
    const auto text = read_all(fd);
    auto message = json::parse(text);
    EXPECT_EQ(message["error"]["code"], "invalid") << text;
    EXPECT_THAT(message["error"]["message"].get<std::string>(), HasSubstr(entry.message));
  }
}

TEST_F(ApiTest, PipelinedAndSplitLinesWork) {
  start();
  run();
  auto fd = raw();
  put(fd, "\n{\"id\":1,\"method\":\"echo\"}\n{\"id\":\"b\",\"method\":\"echo\",\"params\":null}\n{\"id\":3,");
  std::this_thread::yield();
  put(fd, "\"method\":\"echo\"}\n");
  ::shutdown(fd.get(), SHUT_WR);
  EXPECT_EQ(read_all(fd), "{\"id\":1,\"result\":{}}\n{\"id\":\"b\",\"result\":{}}\n{\"id\":3,\"result\":{}}\n");
}

TEST_F(ApiTest, EndlessLineEndsTheConnection) {
  start();
  run();
  auto fd = raw();
  put(fd, std::string(max_line_bytes + (1 << 20), 'x'));
  EXPECT_THAT(read_all(fd), HasSubstr("longer than"));
}

TEST_F(ApiTest, LargeRequestsAndAnswersPass) {
  start();
  run();
  const std::string text(12 << 20, 'y');
  auto answer = client().call("echo", {{"text", text}});
  ASSERT_TRUE(answer);
  EXPECT_EQ((*answer)["text"], text);
}

TEST_F(ApiTest, TextThatIsNotUtf8IsNotSent) {
  start();
  run();
  auto connection = client();
  auto answer = connection.call("echo", {{"text", "\xff"}});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().error.code, ErrorCode::invalid);
  EXPECT_TRUE(connection.call("echo", json::object()));
}

TEST_F(ApiTest, AsyncAnswerComesLaterAndOnlyOnce) {
  start();
  std::optional<Responder> kept;
  server_->handle_async("later", [&](const json&, Responder responder) {
    kept = std::move(responder);
    asio::post(loop_, [&] {
      kept->answer(json{{"n", 1}});
      kept->answer(json{{"n", 2}});
      kept.reset();
    });
  });
  server_->handle_async("never", [](const json&, const Responder&) {});
  run();
  auto connection = client();
  EXPECT_EQ((*connection.call("later", json::object()))["n"], 1);
  auto dropped = connection.call("never", json::object());
  ASSERT_FALSE(dropped);
  EXPECT_EQ(dropped.error().error.code, ErrorCode::internal);
  EXPECT_EQ((*connection.call("echo", {{"n", 3}}))["n"], 3);
}

TEST_F(ApiTest, RequestSentWithoutWaitingIsStillHandled) {
  start();
  std::promise<json> got;
  std::optional<Responder> kept;
  server_->handle_async("slow", [&](const json&, Responder responder) {
    kept = std::move(responder);
    auto timer = std::make_shared<asio::steady_timer>(loop_, std::chrono::milliseconds(20));
    timer->async_wait([&, timer](asio::error_code) {
      kept->answer(json::object());
      kept.reset();
    });
  });
  server_->handle("ack", [&](const json& params) -> Answer {
    got.set_value(params);
    return json::object();
  });
  run();
  {
    auto connection = client();
    ASSERT_TRUE(connection.send("slow", json::object()));
    ASSERT_TRUE(connection.send("ack", {{"who", "me"}}));
  }
  auto future = got.get_future();
  ASSERT_EQ(future.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_EQ(future.get()["who"], "me");
}

TEST_F(ApiTest, TimeoutClosesTheClient) {
  start();
  std::optional<Responder> kept;
  server_->handle_async("stuck", [&](const json&, Responder responder) { kept = std::move(responder); });
  run();
  auto connection = client();
  auto answer = connection.call("stuck", json::object(), std::chrono::milliseconds(30));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().error.code, ErrorCode::unavailable);
  EXPECT_FALSE(connection.call("echo", json::object()));
  stop();
}

TEST_F(ApiTest, StreamDeliversEventsAndEnds) {
  start();
  server_->handle_stream("count", [](const json& params, const Stream& stream) {
    for (int i = 0; i < params["n"]; ++i) stream.send({{"i", i}});
    stream.finish();
    EXPECT_FALSE(stream.send(1));
  });
  server_->handle_stream("broken", [](const json&, const Stream& stream) {
    stream.send({{"i", 0}});
    stream.fail(Error{ErrorCode::exhausted, "full", {}});
  });
  run();
  auto connection = client();
  int next = 0;
  auto ended = connection.stream("count", {{"n", 1000}}, [&](const json& event) {
    EXPECT_EQ(event["i"], next++);
    return true;
  });
  EXPECT_TRUE(ended);
  EXPECT_EQ(next, 1000);
  auto broken = connection.stream("broken", json::object(), [](const json&) { return true; });
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().error.code, ErrorCode::exhausted);
  EXPECT_TRUE(connection.call("echo", json::object()));
}

TEST_F(ApiTest, AStreamThatFallsSilentIsGivenUp) {
  start();
  std::optional<Stream> kept;
  server_->handle_stream("hang", [&](const json&, const Stream& stream) {
    kept = stream;
    stream.send({{"i", 1}});
  });
  run();
  auto connection = client();
  int events = 0;
  auto ended = connection.stream(
      "hang", json::object(), [&](const json&) { return ++events > 0; }, std::chrono::milliseconds(100));
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().error.code, ErrorCode::unavailable);
  EXPECT_EQ(events, 1);
}

TEST_F(ApiTest, StreamEndsWhenTheClientGoes) {
  start();
  std::promise<void> closed;
  std::optional<Stream> kept;
  server_->handle_stream("follow", [&](const json&, const Stream& stream) {
    kept = stream;
    stream.on_close([&] {
      EXPECT_TRUE(kept->closed());
      EXPECT_FALSE(kept->send(1));
      kept.reset();
      closed.set_value();
    });
    stream.send({{"i", 1}});
  });
  run();
  auto connection = client();
  EXPECT_TRUE(connection.stream("follow", json::object(), [](const json&) { return false; }));
  EXPECT_EQ(closed.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
}

TEST_F(ApiTest, StreamOutlivesAClientThatOnlyFinishedWriting) {
  start();
  std::optional<Stream> kept;
  server_->handle_stream("later", [&](const json&, Stream stream) {
    kept = std::move(stream);
    auto timer = std::make_shared<asio::steady_timer>(loop_, std::chrono::milliseconds(30));
    timer->async_wait([&, timer](asio::error_code) {
      kept->send({{"i", 1}});
      kept->finish();
      kept.reset();
    });
  });
  run();
  auto fd = raw();
  put(fd, "{\"id\":7,\"method\":\"later\"}\n");
  ::shutdown(fd.get(), SHUT_WR);
  EXPECT_EQ(read_all(fd), "{\"event\":{\"i\":1},\"id\":7}\n{\"id\":7,\"result\":{}}\n");
}

TEST_F(ApiTest, SlowReaderLosesTheOldestAndIsTold) {
  options_.stream_queue = 10;
  start();
  constexpr int total = 5000;
  server_->handle_stream("flood", [](const json&, const Stream& stream) {
    for (int i = 0; i < total; ++i) stream.send({{"i", i}});
    stream.finish();
  });
  run();
  int seen = 0;
  int lost = 0;
  int last = -1;
  auto ended = client().stream("flood", json::object(), [&](const json& event) {
    if (event.contains("lost")) {
      lost += event["lost"].get<int>();
    } else {
      EXPECT_EQ(event["i"], seen + lost);
      ++seen;
      last = event["i"];
    }
    return true;
  });
  EXPECT_TRUE(ended);
  EXPECT_EQ(seen + lost, total);
  EXPECT_GT(lost, 0);
  EXPECT_EQ(last, total - 1);
}

TEST_F(ApiTest, ProducerThatWaitsForDrainLosesNothing) {
  options_.stream_queue = 10;
  start();
  int next = 0;
  std::function<void(const Stream&)> fill = [&](const Stream& stream) {
    while (next < 2000 && stream.queued() < 10) stream.send({{"i", next++}});
    if (next == 2000) stream.finish();
  };
  server_->handle_stream("pull", [&](const json&, const Stream& stream) {
    stream.on_drain([&fill, stream] { fill(stream); });
    fill(stream);
  });
  run();
  int seen = 0;
  EXPECT_TRUE(client().stream("pull", json::object(), [&](const json& event) {
    EXPECT_EQ(event["i"], seen++);
    return true;
  }));
  EXPECT_EQ(seen, 2000);
}

TEST_F(ApiTest, ConnectionsAreLimited) {
  options_.max_connections = 2;
  start();
  run();
  auto first = client();
  auto second = client();
  EXPECT_TRUE(first.call("echo", json::object()));
  EXPECT_TRUE(second.call("echo", json::object()));
  auto answer = client().call("echo", json::object());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().error.code, ErrorCode::exhausted);
}

TEST_F(ApiTest, SocketFileIsPrivateReplacedWhenStaleAndRemovedAtTheEnd) {
  start();
  struct stat status {};
  ASSERT_EQ(::stat(options_.path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);

  auto second = Server::listen(loop_, options_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::exists);

  server_->stop();
  EXPECT_NE(::stat(options_.path.c_str(), &status), 0);

  {  // what a killed process leaves: a bound socket nobody listens on
    Fd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, options_.path.c_str(), sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  EXPECT_TRUE(Server::listen(loop_, options_));
  std::ofstream(options_.path) << "precious";
  auto file = Server::listen(loop_, options_);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::exists);
}

TEST_F(ApiTest, AbsentAgentIsUnavailableWithAHint) {
  auto connected = Client::connect(directory_ + "/nobody.sock");
  ASSERT_FALSE(connected);
  EXPECT_EQ(connected.error().code, ErrorCode::unavailable);
  EXPECT_THAT(connected.error().hint, HasSubstr("weftd"));
  EXPECT_EQ(Client::connect(std::string(300, 'x')).error().code, ErrorCode::invalid);
}

TEST(Params, NameWhatIsWrong) {
  const json params{{"text", "a"}, {"list", {"a", "b"}}, {"mixed", {"a", 1}},
                    {"n", 5},      {"minus", -5},        {"nothing", nullptr}};
  EXPECT_EQ(*required_text(params, "text"), "a");
  EXPECT_THAT(required_text(params, "absent").error().message, HasSubstr("params.absent"));
  EXPECT_FALSE(required_text(params, "n"));
  EXPECT_EQ(*optional_text(params, "nothing", "x"), "x");
  EXPECT_EQ(optional_texts(params, "list")->size(), 2U);
  EXPECT_EQ(optional_texts(params, "text")->size(), 1U);
  EXPECT_TRUE(optional_texts(params, "absent")->empty());
  EXPECT_FALSE(optional_texts(params, "mixed"));
  EXPECT_EQ(*optional_number(params, "n", 1), 5U);
  EXPECT_EQ(*optional_number(params, "absent", 1), 1U);
  EXPECT_FALSE(optional_number(params, "minus", 1));
  EXPECT_FALSE(optional_bool(params, "n", false));
}

TEST(Nearest, RanksBySpelling) {
  const std::vector<std::string> names{"status", "observe", "policy.list", "policy.explain"};
  EXPECT_EQ(nearest("staus", names), (std::vector<std::string>{"status"}));
  EXPECT_EQ(nearest("policy", names), (std::vector<std::string>{"policy.explain", "policy.list"}));
  EXPECT_TRUE(nearest("zzzzzzzz", names).empty());
}

}  // namespace
}  // namespace weft::api
