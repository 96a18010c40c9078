// Tables of bad documents for the tests: each problem with its exact place, its path and a part of
// its message.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "model/parse.h"

namespace weft::model::testing {

struct Expected {
  int line;
  int column;
  const char* path;
  const char* message;  // a part of it
};

struct Case {
  const char* name;
  const char* text;  // the manifest, or what the test puts a head before
  std::vector<Expected> problems;
};

// Names an INSTANTIATE_TEST_SUITE_P by its cases.
inline const auto name_of = [](const auto& parameter) { return std::string(parameter.param.name); };

// One problem a line.
inline std::string text_of(const std::vector<Problem>& problems) {
  std::string text;
  for (const auto& problem : problems) text += problem.to_string() + "\n";
  return text;
}

// Parses head and text; the head's lines count.
inline void check(const Case& wanted, const std::string& head = {}) {
  const auto outcome = parse_manifests("t.yaml", head + wanted.text);
  ASSERT_EQ(outcome.problems.size(), wanted.problems.size()) << text_of(outcome.problems);
  for (std::size_t i = 0; i < wanted.problems.size(); ++i) {
    const Problem& problem = outcome.problems[i];
    const Expected& expected = wanted.problems[i];
    EXPECT_EQ(problem.line, expected.line) << problem.to_string();
    EXPECT_EQ(problem.column, expected.column) << problem.to_string();
    EXPECT_EQ(problem.path, expected.path) << problem.to_string();
    EXPECT_NE(problem.message.find(expected.message), std::string::npos) << problem.to_string();
  }
  EXPECT_EQ(outcome.documents.empty(), !wanted.problems.empty());
}

}  // namespace weft::model::testing
