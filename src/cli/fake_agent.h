// A server of the node API with canned answers, and the command line run against it in process.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>

#include "api/answer.h"
#include "api/testing.h"
#include "cli/app.h"

namespace weft::cli::testing {

using nlohmann::json;

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};

class FakeAgent : public api::testing::ServedTest {
 protected:
  void SetUp() override {
    ::unsetenv("WEFT_SOCKET");
    ::setenv("TZ", "UTC", 1);
    ServedTest::SetUp();
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
  void refuses_stream(const std::string& method, ErrorCode code, const std::string& message) {
    on_loop([&] {
      server_->handle_stream(method, [error = Error{code, message, "a hint"}](const json&, const api::Stream& stream) {
        stream.fail(error);
      });
    });
  }
  json params(const std::string& method) {
    const std::lock_guard lock(mutex_);
    return params_[method];
  }

  Ran weft(std::vector<std::string> arguments, const std::string& input = {}, bool colour = false) {
    arguments.insert(arguments.begin(), {"--socket", socket()});
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

 private:
  void keep(const std::string& method, const json& params) {
    const std::lock_guard lock(mutex_);
    params_[method] = params;
  }

  std::mutex mutex_;
  std::map<std::string, json> params_;
};

}  // namespace weft::cli::testing
