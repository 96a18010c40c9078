#include "script.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace {

std::vector<std::string> scripts() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(WEFT_SCRIPTS))
    if (entry.path().extension() == ".script") names.push_back(entry.path().stem());
  std::sort(names.begin(), names.end());
  return names;
}

class Script : public ::testing::TestWithParam<std::string> {};

TEST_P(Script, PrintsWhatIsWritten) {
  const auto path = std::filesystem::path(WEFT_SCRIPTS) / (GetParam() + ".script");
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  const auto printed = weft::script::run_script(GetParam() + ".script", text.str());
  const char* update = std::getenv("WEFT_UPDATE");
  if (update != nullptr && *update == '1') {
    std::ofstream(path) << printed;
    return;
  }
  // Line by line: the first difference says enough.
  std::istringstream expected(text.str());
  std::istringstream actual(printed);
  std::string left;
  std::string right;
  for (int line = 1;; ++line) {
    const bool more = static_cast<bool>(std::getline(expected, left));
    const bool also = static_cast<bool>(std::getline(actual, right));
    if (!more && !also) return;
    if (!more) left = "(the end)";
    if (!also) right = "(the end)";
    ASSERT_EQ(left, right) << path << ":" << line;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Script, ::testing::ValuesIn(scripts()), [](const auto& instance) {
  auto name = instance.param;
  for (auto& letter : name)
    if (letter == '-') letter = '_';
  return name;
});

}  // namespace
