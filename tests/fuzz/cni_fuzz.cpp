// The plugin's input: the first lines are the environment, the rest (after an empty line) is stdin.
// The answer of the agent comes from the same bytes, so that formatting meets strange answers too.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "cni/plugin.h"

namespace {

class Echo : public weft::cni::Agent {
 public:
  explicit Echo(const weft::cni::Json& answer) : answer_(answer) {}
  weft::Result<weft::cni::Json> call(const std::string&, const weft::cni::Json&) override { return answer_; }
  void notify(const std::string&, const weft::cni::Json&) override {}

 private:
  weft::cni::Json answer_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  weft::cni::Environment environment;
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const auto line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty()) break;
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    environment[std::string(line.substr(0, equals))] = std::string(line.substr(equals + 1));
  }
  const auto output = weft::cni::run(environment, rest, [](const weft::cni::Invocation& invocation) {
    const auto previous = invocation.config.find("answer");
    return std::make_unique<Echo>(previous == invocation.config.end() ? invocation.config : *previous);
  });
  // Whatever came in, what goes out is JSON or nothing.
  if (!output.text.empty() && !weft::cni::Json::accept(output.text)) std::abort();
  return 0;
}
