// What the crowds of the benchmarks have in common as programs: an error on standard error, and commands on standard
// input, each answered by a line of JSON.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace weft::bench {

inline int program(const char* name, int count, char** values, int (*run)(const std::vector<std::string>&)) {
  try {
    return run({values + 1, values + count});
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", name, error.what());
    return 1;
  }
}

// Until there is no next one: by default, until standard input ends.
inline void answer_commands(const std::map<std::string, std::function<nlohmann::json()>>& commands,
                            const std::function<bool(std::string& command)>& next = {}) {
  const auto following = [&](std::string& command) {
    return next ? next(command) : static_cast<bool>(std::getline(std::cin, command));
  };
  for (std::string command; following(command);) {
    const auto known = commands.find(command);
    if (known == commands.end()) throw std::runtime_error(command + " is no command");
    fmt::print("{}\n", known->second().dump());
    std::fflush(stdout);
  }
}

}  // namespace weft::bench
