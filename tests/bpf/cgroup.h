// A cgroup of this process's own, below wherever cgroup v2 is mounted.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace weft::test {

inline std::string cgroup2_mount() {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const auto separator = line.find(" - cgroup2 ");
    if (separator == std::string::npos) continue;
    std::istringstream fields(line);
    std::string field;
    for (int i = 0; i < 5; ++i) fields >> field;
    return field;
  }
  throw std::runtime_error("no cgroup2 mount");
}

// This process is in a cgroup of its own until the end.
class OwnCgroup {
 public:
  OwnCgroup() : root_(cgroup2_mount()), path_(fmt::format("{}/weft-bpf-test-{}", root_, getpid())) {
    if (mkdir(path_.c_str(), 0755) != 0) fail("mkdir " + path_);
    std::ifstream own("/proc/self/cgroup");
    for (std::string line; std::getline(own, line);)
      if (line.starts_with("0::")) before_ = root_ + line.substr(3);
    move_to(path_);
    fd_ = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd_ < 0) fail("open " + path_);
  }
  ~OwnCgroup() {
    close(fd_);
    try {
      move_to(before_);
    } catch (const std::exception&) {
      // rmdir fails below, and says so
    }
    if (rmdir(path_.c_str()) != 0) perror(path_.c_str());
  }
  OwnCgroup(const OwnCgroup&) = delete;
  OwnCgroup& operator=(const OwnCgroup&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  [[noreturn]] static void fail(const std::string& what) {
    throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
  }
  static void move_to(const std::string& path) {
    std::ofstream procs(path + "/cgroup.procs");
    procs << getpid() << std::flush;
    if (!procs) fail("cannot enter " + path);
  }
  std::string root_;
  std::string path_;
  std::string before_;
  int fd_ = -1;
};

}  // namespace weft::test
