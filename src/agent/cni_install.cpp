#include "agent/cni_install.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "sys/system.h"

namespace weft::agent {
namespace {

using nlohmann::json;

constexpr auto plugin_name = "weft-cni";
// Every version of the plugin has this in it, and no other program: the socket that it asks where it is told of none.
constexpr std::string_view plugin_mark = "/run/weft/weft.sock";

std::string own_directory() {
  std::array<char, 4096> path{};
  const auto length = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  const std::string_view text(path.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
  return std::string(text.substr(0, text.rfind('/')));
}

// What changes with a file's content or mode; empty: it is not there.
std::string seen(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  return fmt::format("{}:{}:{}:{}.{}:{}.{}:{:o}", status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec,
                     status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec, status.st_mode);
}

// Nothing: there is no such file.
Result<std::optional<std::string>> content_of(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0 && (errno == ENOENT || errno == ENOTDIR)) return std::optional<std::string>();
  auto text = sys::read_file(path);
  if (!text) return fail(text.error());
  return std::optional(std::move(*text));
}

// What writes of a process that was killed have left beside `path`.
void remove_leftovers(const std::string& directory, const std::string& name) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error))
    if (entry.path().filename().string().starts_with(name + ".tmp.")) ::unlink(entry.path().c_str());
}

Error not_ours(const std::string& path, std::string_view what, std::string_view key) {
  return {ErrorCode::invalid, fmt::format("{} is there already and is not Weft's {}: it is left alone", path, what),
          fmt::format("move it away, or set another {} in weftd.yaml", key)};
}

// A list, or one plugin as a list of its own.
bool names_plugin(const json& list) {
  const auto is = [](const json& plugin) {
    return plugin.is_object() && plugin.contains("type") && plugin["type"] == plugin_name;
  };
  if (!list.is_object()) return false;
  const auto plugins = list.find("plugins");
  return is(list) || (plugins != list.end() && plugins->is_array() && std::ranges::any_of(*plugins, is));
}

}  // namespace

// 1.0.0, which every runtime of today takes. With 1.1.0 containerd asks STATUS, and a node that cannot attach pods for
// a while is NotReady, so that those it has are evicted: they have their network, it is enough that no more come.
std::string cni_list(const std::string& socket) {
  const nlohmann::ordered_json list{{"cniVersion", "1.0.0"},
                                    {"name", "weft"},
                                    {"plugins",
                                     {{{"type", plugin_name},
                                       {"socket", socket},
                                       {"capabilities", {{"ips", true}, {"mac", true}, {"portMappings", true}}}}}}};
  return list.dump(2) + "\n";
}

bool is_weft_list(std::string_view text) { return names_plugin(json::parse(text, nullptr, false)); }
bool is_weft_plugin(std::string_view text) {
  return text.starts_with(
             "\x7f"
             "ELF") &&
         text.contains(plugin_mark);
}

CniInstall::Options CniInstall::options(const Config& config) {
  return {.bin_dir = config.cni_bin_dir,
          .conf_dir = config.cni_conf_dir,
          .conf_name = config.cni_conf_name,
          .socket = config.socket_path(),
          .plugin = own_directory() + "/" + plugin_name};
}

Result<bool> CniInstall::keep_plugin() {
  const auto target = options_.binary();
  const auto now = seen(options_.plugin) + " " + seen(target);
  if (now == plugin_seen_) return false;
  const auto wanted = sys::read_file(options_.plugin);
  if (!wanted)
    return weft::fail(wanted.error().code, fmt::format("there is no plugin to install: {}", wanted.error().message),
                      fmt::format("install {} beside weftd, or leave cni_bin_dir out of weftd.yaml", plugin_name));
  WEFT_TRY(const auto found, content_of(target));
  // An empty file is nobody's: what a full disk or a crash leaves of a copy.
  if (found && !found->empty() && !is_weft_plugin(*found)) return weft::fail(not_ours(target, "plugin", "cni_bin_dir"));
  struct stat status {};
  const bool executable = ::stat(target.c_str(), &status) == 0 && (status.st_mode & 0777) == 0755;
  const bool same = found && *found == *wanted && executable;
  if (!same) WEFT_CHECK(put_program(target, *wanted));
  plugin_seen_ = seen(options_.plugin) + " " + seen(target);
  return !same;
}

Result<bool> CniInstall::keep_loopback() {
  const auto target = options_.loopback();
  const auto now = seen(options_.plugin) + " " + seen(target);
  if (now == loopback_seen_) return false;
  WEFT_TRY(const auto wanted, sys::read_file(options_.plugin));
  WEFT_TRY(const auto found, content_of(target));
  const bool others = found && !found->empty() && !is_weft_plugin(*found);
  const bool write = !others && (!found || *found != wanted);
  if (write) WEFT_CHECK(put_program(target, wanted));
  loopback_seen_ = seen(options_.plugin) + " " + seen(target);
  return write;
}

// By another name first: who runs the old one goes on with it.
Result<void> CniInstall::put_program(const std::string& target, const std::string& content) {
  WEFT_CHECK(sys::make_directories(options_.bin_dir, 0755));
  remove_leftovers(options_.bin_dir, target.substr(target.rfind('/') + 1));
  return sys::write_file_atomically(target, content, 0755);
}

Result<bool> CniInstall::keep_list() {
  const auto target = options_.list();
  const auto wanted = cni_list(options_.socket);
  WEFT_TRY(const auto found, content_of(target));
  if (found && *found == wanted) return false;
  // What is no JSON is no network's: it was ours before somebody damaged it, if ours was there.
  const bool damaged = found && (found->empty() || (list_written_ && !json::accept(*found)));
  if (found && !damaged && !is_weft_list(*found)) return weft::fail(not_ours(target, "list", "cni_conf_name"));
  WEFT_CHECK(sys::make_directories(options_.conf_dir, 0755));
  remove_leftovers(options_.conf_dir, options_.conf_name);
  WEFT_CHECK(sys::write_file_atomically(target, wanted, 0600));
  return true;
}

std::vector<std::string> CniInstall::check(bool can_attach) {
  std::vector<std::string> repaired;
  faults_.clear();
  const auto keep = [&](const char* about, const std::string& path, bool& written, const Result<bool>& kept) {
    if (!kept) {
      faults_[about] = {fmt::format("{}: {}", path, kept.error().message), kept.error().hint};
      return;
    }
    if (*kept && written) repaired.push_back(fmt::format("{} was gone or changed and is there again", path));
    written = true;
  };
  if (!options_.bin_dir.empty()) keep("cni plugin", options_.binary(), plugin_written_, keep_plugin());
  if (!options_.bin_dir.empty() && faults_.empty())
    keep("cni loopback", options_.loopback(), loopback_written_, keep_loopback());
  // Without the plugin a list leads runtimes to nothing.
  if (!options_.conf_dir.empty() && (list_written_ || (can_attach && faults_.empty())))
    keep("cni list", options_.list(), list_written_, keep_list());
  return repaired;
}

Result<void> remove_cni(const CniInstall::Options& options, const std::function<void(const std::string&)>& tell) {
  const auto remove = [&](const std::string& path, bool (*ours)(std::string_view)) -> Result<void> {
    WEFT_TRY(const auto found, content_of(path));
    if (!found) return {};
    if (!found->empty() && !ours(*found)) {
      tell(fmt::format("left {} alone: it is not Weft's", path));
      return {};
    }
    if (::unlink(path.c_str()) != 0) return fail(errno_error("remove " + path, errno));
    tell("removed " + path);
    return {};
  };
  // The list first: nobody is to be led to a plugin that is gone.
  if (!options.conf_dir.empty()) {
    remove_leftovers(options.conf_dir, options.conf_name);
    WEFT_CHECK(remove(options.list(), is_weft_list));
  }
  if (options.bin_dir.empty()) return {};
  remove_leftovers(options.bin_dir, plugin_name);
  WEFT_CHECK(remove(options.binary(), is_weft_plugin));
  if (const auto loopback = content_of(options.loopback()); !loopback || !*loopback || !is_weft_plugin(**loopback))
    return {};
  remove_leftovers(options.bin_dir, "loopback");
  return remove(options.loopback(), is_weft_plugin);
}

}  // namespace weft::agent
