#include <bpf/bpf.h>
#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include <fmt/format.h>

#include "bpfrt/link.h"
#include "sys/system.h"

namespace weft::bpfrt {

Result<void> pin_object(int fd, const std::string& path) {
  if (bpf_obj_pin(fd, path.c_str()) == 0) return {};
  if (errno == ENOENT) {
    WEFT_CHECK(sys::make_directories(path.substr(0, path.rfind('/')), 0700));
    if (bpf_obj_pin(fd, path.c_str()) == 0) return {};
  }
  if (errno != EEXIST) {
    Error error = errno_error("pin " + path, errno);
    if (errno == EINVAL || errno == EPERM) error.hint = "is a bpffs mounted there, and the name free of dots?";
    return fail(std::move(error));
  }
  // Replaced by a rename, so that the name never points to nothing. bpffs refuses dots in names.
  const std::string temporary = fmt::format("{}-new{}", path, ::getpid());
  ::unlink(temporary.c_str());
  if (bpf_obj_pin(fd, temporary.c_str()) != 0) return fail(errno_error("pin " + temporary, errno));
  if (::rename(temporary.c_str(), path.c_str()) == 0) return {};
  const int error = errno;
  ::unlink(temporary.c_str());
  return fail(errno_error("replace the pin " + path, error));
}

Result<Fd> open_pinned(const std::string& path) {
  Fd fd(bpf_obj_get(path.c_str()));
  if (!fd.valid()) return fail(errno_error("open pinned " + path, errno));
  return fd;
}

Result<std::uint32_t> program_id(int program) {
  bpf_prog_info info{};
  std::uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(program, &info, &size) != 0) return fail(errno_error("read the id of a program", errno));
  return info.id;
}

std::vector<std::string> list_pins(const std::string& directory) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), &::closedir);
  if (open == nullptr) return names;
  // A name with a dot is the kernel's own (maps.debug, progs.debug): bpffs refuses dots to everyone else.
  while (const dirent* entry = ::readdir(open.get()))
    if (entry->d_type != DT_DIR && std::string_view(entry->d_name).find('.') == std::string_view::npos)
      names.emplace_back(entry->d_name);
  std::sort(names.begin(), names.end());
  return names;
}

void remove_pin(const std::string& path) { ::unlink(path.c_str()); }

}  // namespace weft::bpfrt
