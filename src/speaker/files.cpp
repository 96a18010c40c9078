#include "speaker/files.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "supervise/process.h"
#include "sys/system.h"

namespace weft::speaker {
namespace {

bool can_run(const std::string& path) {
  struct stat found {};
  return ::stat(path.c_str(), &found) == 0 && S_ISREG(found.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

}  // namespace

std::optional<std::string> find_program(const std::string& name, std::initializer_list<const char*> directories) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const auto end = std::min(rest.find(':'), rest.size());
    if (auto candidate = std::string(rest.substr(0, end)) + "/" + name; end != 0 && can_run(candidate))
      return candidate;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  for (const auto* directory : directories)
    if (auto candidate = std::string(directory) + "/" + name; can_run(candidate)) return candidate;
  return std::nullopt;
}

std::optional<Account> find_account(const char* name) {
  const auto* entry = ::getpwnam(name);  // NOLINT: one thread looks accounts up
  if (entry == nullptr) return std::nullopt;
  return Account{entry->pw_uid, entry->pw_gid};
}

Result<void> write_private(const std::string& path, const std::string& text, const std::optional<Account>& account) {
  const auto next = path + ".new";
  ::unlink(next.c_str());
  WEFT_CHECK(sys::write_file_atomically(next, text, account ? 0640 : 0600));
  if (account && ::chown(next.c_str(), 0, account->group) < 0) return fail(errno_error("chown " + next, errno));
  if (::rename(next.c_str(), path.c_str()) < 0) return fail(errno_error("rename " + next, errno));
  return {};
}

Result<void> make_directory(const std::string& path, const std::optional<Account>& account) {
  WEFT_CHECK(sys::make_directories(path, 0755));
  if (account && ::chown(path.c_str(), account->user, account->group) < 0)
    return fail(errno_error("chown " + path, errno));
  return {};
}

void remove_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
}

Error refused_configuration(const std::string& program, std::string said) {
  constexpr std::size_t most = 400;
  while (!said.empty() && said.back() == '\n') said.pop_back();
  std::ranges::replace(said, '\n', ' ');
  return {ErrorCode::invalid, fmt::format("{} does not take its configuration: {}", program, said.substr(0, most)), {}};
}

Result<std::string> run_check(std::vector<std::string> arguments, const std::string& program) {
  supervise::SpawnRequest request;
  request.arguments = {"/bin/sh", "-c", "exec \"$@\" 2>&1", "sh"};
  request.arguments.insert(request.arguments.end(), std::make_move_iterator(arguments.begin()),
                           std::make_move_iterator(arguments.end()));
  WEFT_TRY(auto finished, supervise::run(std::move(request), {}, std::chrono::seconds(20)));
  if (finished.exit_code == 0) return std::move(finished.output);
  if (finished.output.empty()) finished.output = fmt::format("exit code {}", finished.exit_code);
  return fail(refused_configuration(program, std::move(finished.output)));
}

}  // namespace weft::speaker
