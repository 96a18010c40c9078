// A server of the node API with canned answers, and the command line run against it in process.
#pragma once

#include <gtest/gtest.h>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "api/answer.h"
#include "api/server.h"
#include "cli/app.h"

namespace weft::cli::testing {

using nlohmann::json;

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};

class FakeAgent : public ::testing::Test {
 protected:
  void SetUp() override {
    ::unsetenv("WEFT_SOCKET");
    ::setenv("TZ", "UTC", 1);
    std::string pattern = std::filesystem::temp_directory_path() / "weft-cli-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    auto server = api::Server::listen(loop_, {.path = directory_ + "/s"});
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
    thread_ = std::thread([this] {
      const auto work = asio::make_work_guard(loop_);
      loop_.run();
    });
  }
  void TearDown() override {
    on_loop([this] { server_.reset(); });
    loop_.stop();
    thread_.join();
    std::filesystem::remove_all(directory_);
  }

  template <class Work>
  void on_loop(Work work) {
    std::promise<void> done;
    asio::post(loop_, [&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }

  // `text` is what the agent answers to `method`; the parameters of the last call are kept.
  void answers(const std::string& method, const std::string& text) {
    on_loop([&] {
      server_->handle(method, [this, method, result = json::parse(text)](const json& params) -> api::Answer {
        keep(method, params);
        return result;
      });
    });
  }
  void refuses(const std::string& method, ErrorCode code, const std::string& message, const json& details = {}) {
    on_loop([&] {
      server_->handle(method,
                      [this, method, error = api::ApiError(Error{code, message, "a hint"}, details)](
                          const json& params) -> api::Answer {
                        keep(method, params);
                        return fail(error);
                      });
    });
  }
  void streams(const std::string& method, const std::vector<json>& events) {
    on_loop([&] {
      server_->handle_stream(method, [this, method, events](const json& params, const api::Stream& stream) {
        keep(method, params);
        for (const auto& event : events) stream.send(event);
        stream.finish();
      });
    });
  }
  json params(const std::string& method) {
    const std::lock_guard lock(mutex_);
    return params_[method];
  }

  Ran weft(std::vector<std::string> arguments, const std::string& input = {}, bool colour = false) {
    arguments.insert(arguments.begin(), {"--socket", directory_ + "/s"});
    return run_bare(arguments, input, colour);
  }
  static Ran run_bare(const std::vector<std::string>& arguments, const std::string& input = {}, bool colour = false) {
    std::istringstream in(input);
    std::ostringstream out;
    std::ostringstream err;
    const int code = run(arguments, {.in = in, .out = out, .err = err, .tty = false, .colour = colour});
    return {code, out.str(), err.str()};
  }
  std::string write(const std::string& name, const std::string& content) {
    const auto path = directory_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << content;
    return path;
  }

  std::string directory_;

 private:
  void keep(const std::string& method, const json& params) {
    const std::lock_guard lock(mutex_);
    params_[method] = params;
  }

  asio::io_context loop_;
  std::unique_ptr<api::Server> server_;
  std::thread thread_;
  std::mutex mutex_;
  std::map<std::string, json> params_;
};

}  // namespace weft::cli::testing
