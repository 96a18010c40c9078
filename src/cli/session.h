// What every command works with: its streams, the agent's socket, and how errors are told.
#pragma once

#include <functional>
#include <istream>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>
#include <string_view>

#include "api/client.h"
#include "base/result.h"

namespace weft::api {
struct ApiError;
}

namespace weft::cli {

// The agent said so, not whoever did not reach it.
bool was_answered(const api::ApiError& error);

// Exit codes, documented in docs/cli.md.
inline constexpr int exit_ok = 0;
inline constexpr int exit_failed = 1;
inline constexpr int exit_usage = 2;
inline constexpr int exit_unavailable = 3;

struct Streams {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool tty = false;      // `out` is a terminal: JSON is indented
  bool err_tty = false;  // `err` is one: long work says that it goes on
  bool colour = false;   // and colour is welcome there
};

class Session {
 public:
  explicit Session(Streams streams) : io(streams) {}

  Streams io;
  std::string socket;
  std::string lab;
  std::string node = "node1";
  int exit_code = exit_ok;

  // The socket named by --socket or --lab, else the default.
  [[nodiscard]] std::string socket_path() const;
  [[nodiscard]] Result<api::Client> connect() const;
  // Connects, calls, returns the result.
  [[nodiscard]] api::Answer call(std::string_view method, const nlohmann::json& params) const;
  // The same for a method that answers `items`, of which there may be many: asks for them a page at a time, so that
  // the agent is never busy with all of them. The answer is that of the last page.
  using SeeItems = std::function<void(const nlohmann::json& items)>;
  [[nodiscard]] api::Answer call_pages(std::string_view method, nlohmann::json params, const SeeItems& see) const;

  // Says on the error stream since when the agent has heard nothing of what it answered, where that is so.
  void tell_age(const nlohmann::json& answer) const;
  // Prints "weft: <message>", the problems it carries and the hint; returns the exit code for it.
  [[nodiscard]] int report(const api::ApiError& error) const;
  // Prints `file:line:col: path: message` for each problem.
  void print_problems(const nlohmann::json& problems, std::string_view prefix = {}) const;
  // The same for a call whose parameters are the command line's words: what the agent finds invalid
  // in them is wrong usage.
  [[nodiscard]] int report_words(const api::ApiError& error) const;
  [[nodiscard]] int usage_error(std::string_view message) const;
  [[nodiscard]] int usage_error(const Error& error) const;  // with its hint
};

}  // namespace weft::cli
