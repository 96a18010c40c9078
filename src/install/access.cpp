#include "install/access.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "sources/kubernetes/exec_credential.h"
#include "supervise/process.h"

namespace weft::install {
namespace {

// Some open a browser and wait for what happens there.
constexpr std::chrono::minutes patience{2};

std::string home_config() {
  const char* home = std::getenv("HOME");
  return home == nullptr ? std::string() : std::string(home) + "/.kube/config";
}

Result<void> log_in(kubernetes::Access& access) {
  const auto& login = *access.login;
  supervise::SpawnRequest request{.arguments = login.command, .environment = login.environment};
  request.environment["KUBERNETES_EXEC_INFO"] = kubernetes::exec_info(access);
  request.standard_error = STDERR_FILENO;
  request.die_with_parent = true;
  const auto finished = supervise::run(request, "", patience);
  if (!finished) {
    auto error = finished.error().in(login.origin);
    error.hint = login.hint.empty() ? "this program logs in to the cluster: can it be run by hand?" : login.hint;
    return fail(std::move(error));
  }
  if (finished->exit_code != 0)
    return fail(ErrorCode::denied,
                fmt::format("{}: {} ended with {}", login.origin, login.command.front(), finished->exit_code),
                fmt::format("log in by hand: {}", fmt::join(login.command, " ")));
  return kubernetes::take_exec_credential(finished->output, access);
}

Result<kubernetes::Access> open(const std::string& path, const std::string& context) {
  WEFT_TRY(auto access, kubernetes::read_kubeconfig(path, {.context = context, .servers = {}, .programs = true}));
  if (access.login) WEFT_CHECK(log_in(access));
  return access;
}

}  // namespace

Result<kubernetes::Access> find_access(const Where& where) {
  if (!where.kubeconfig.empty()) return open(where.kubeconfig, where.context);
  std::vector<std::string> looked;
  const char* variable = std::getenv("KUBECONFIG");
  for (std::string_view rest = variable == nullptr ? "" : variable; !rest.empty();) {
    const auto colon = std::min(rest.find(':'), rest.size());
    if (colon > 0) looked.emplace_back(rest.substr(0, colon));
    rest.remove_prefix(std::min(colon + 1, rest.size()));
  }
  if (looked.empty() && !home_config().empty()) looked.push_back(home_config());
  std::error_code error;
  for (const auto& path : looked)
    if (std::filesystem::exists(path, error)) return open(path, where.context);
  return fail(ErrorCode::not_found,
              fmt::format("there is no kubeconfig{}{}", looked.empty() ? "" : ": looked for ", fmt::join(looked, ", ")),
              "name one: --kubeconfig FILE, or KUBECONFIG in the environment");
}

}  // namespace weft::install
