// The plugin's process: environment and stdin in, stdout and exit code out.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>

#include "cni/plugin.h"

extern char** environ;  // NOLINT

namespace {

weft::cni::Environment cni_environment() {
  weft::cni::Environment environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (text.starts_with("CNI_") && equals != std::string_view::npos)
      environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

// One byte more than is allowed, so that the parser sees that there was more.
std::string read_standard_input() {
  std::string input;
  std::array<char, 65536> chunk;  // NOLINT: filled by read
  while (input.size() <= weft::cni::largest_configuration) {
    const ssize_t n = ::read(STDIN_FILENO, chunk.data(), chunk.size());
    if (n > 0)
      input.append(chunk.data(), static_cast<std::size_t>(n));
    else if (n == 0 || errno != EINTR)
      break;
  }
  return input;
}

bool write_standard_output(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n > 0)
      text.remove_prefix(static_cast<std::size_t>(n));
    else if (n < 0 && errno != EINTR)
      return false;
  }
  return true;
}

// A person who types `weft-cni` should read what it is, not wait for stdin.
bool started_by_hand(const weft::cni::Environment& environment) {
  return environment.empty() && ::isatty(STDIN_FILENO) == 1;
}

}  // namespace

int main() {
  if (::signal(SIGPIPE, SIG_IGN) == SIG_ERR) return 1;
  const auto environment = cni_environment();
  if (started_by_hand(environment)) {
    std::fputs(
        "weft-cni is Weft's CNI plugin, started by container runtimes with CNI_COMMAND in its environment\n"
        "and a network configuration on stdin (docs/cni.md). It speaks CNI 0.3.1, 0.4.0, 1.0.0 and 1.1.0.\n",
        stderr);
    return 1;
  }
  const auto connect = [](const weft::cni::Invocation& invocation) -> std::unique_ptr<weft::cni::Agent> {
    return std::make_unique<weft::cni::AgentConnection>(invocation.socket, invocation.timeout);
  };
  const auto output = weft::cni::run(environment, read_standard_input(), connect);
  if (!write_standard_output(output.text)) return 1;
  if (output.acknowledge) output.acknowledge();
  return output.exit_code;
}
