// The supervisor's log: lines on standard error, which is its log file.
#pragma once

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <string>

namespace weft::lab {

template <class... Args>
void log_line(fmt::format_string<Args...> format, Args&&... args) {
  const auto now = std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  fmt::print(stderr, "{:%FT%T}Z {}\n", now, fmt::format(format, std::forward<Args>(args)...));
}

// The same, for those who keep programs.
inline void log_text(const std::string& text) { log_line("{}", text); }

}  // namespace weft::lab
