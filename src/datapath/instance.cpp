#include "datapath/instance.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>

#include "bpfrt/link.h"

namespace weft::datapath {
namespace {

using bpfrt::Hook;

constexpr auto longest_wait = std::chrono::seconds(2);
constexpr auto poll = std::chrono::milliseconds(20);

const char* name_of(Hook hook) { return hook == Hook::ingress ? "ingress" : "egress"; }

std::vector<std::string> directories(const std::string& path) {
  std::vector<std::string> found;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error))
    if (std::error_code ignored; entry->is_directory(ignored)) found.push_back(entry->path().string());
  return found;
}

// The root of the pins of the instance whose link holds this program on the device.
std::optional<std::string> owner(std::uint32_t program, std::uint32_t ifindex, Hook hook, const std::string& pin_root) {
  auto candidates = directories(pin_root.substr(0, pin_root.rfind('/')));
  for (const auto& path : directories("/sys/fs/bpf"))
    for (auto& below : directories(path)) candidates.push_back(std::move(below));
  for (const auto& root : candidates) {
    const auto pin = fmt::format("{}/links/uplink_{}_{}", root, ifindex, name_of(hook));
    if (bpfrt::pinned_link_program(pin) == program) return root;
  }
  return std::nullopt;
}

bool is_served(const std::string& root) {
  const Fd directory(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return directory.valid() && ::flock(directory.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

}  // namespace

Result<Fd> lock_instance(const std::string& pin_root) {
  Fd directory(::open(pin_root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return fail(errno_error("open " + pin_root, errno));
  const auto deadline = std::chrono::steady_clock::now() + longest_wait;
  while (::flock(directory.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return fail(errno_error("lock " + pin_root, errno));
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(ErrorCode::exists, fmt::format("another weftd serves this instance: it holds {}", pin_root),
                  "stop it, or give this one an instance name of its own (`instance` in the configuration)");
    std::this_thread::sleep_for(poll);
  }
  return directory;
}

std::vector<std::string> find_strangers(std::uint32_t ifindex, const std::string& pin_root) {
  std::vector<std::string> found;
  for (const auto hook : {Hook::ingress, Hook::egress}) {
    const auto own = bpfrt::pinned_link_program(fmt::format("{}/links/uplink_{}_{}", pin_root, ifindex, name_of(hook)));
    for (const auto& program : bpfrt::tcx_programs(static_cast<int>(ifindex), hook)) {
      if (program.id == own || !program.name.starts_with("weft_")) continue;
      const auto what = fmt::format("program {} ({}) of another instance runs at {} too and translates in our place",
                                    program.id, program.name, name_of(hook));
      const auto root = owner(program.id, ifindex, hook, pin_root);
      if (!root)
        found.push_back(what + "; it is pinned outside the known places: find its link with `bpftool link show`");
      else if (is_served(*root))
        found.push_back(fmt::format("{}; it belongs to the agent that holds {}: stop one of the two", what, *root));
      else
        found.push_back(fmt::format("{}; no agent serves it any more: remove its pins with `rm -r {}`", what, *root));
    }
  }
  return found;
}

}  // namespace weft::datapath
