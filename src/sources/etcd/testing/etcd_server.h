// Real etcd members for tests: in a directory of their own, on loopback ports that were free, gone with
// the test however it ends (the members get SIGKILL when the test dies, and a watcher removes the
// directory).
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"

namespace weft::etcd::testing {

bool etcd_installed();

// A directory that is removed at the latest when this process dies.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  int watcher_pipe_ = -1;
};

// ca.pem, server.pem (127.0.0.1 and etcd.weft.test), client.pem with their .key; another.pem: a CA that
// signed nothing.
void make_certificates(const std::string& directory);

// Waits for it; its output goes to this test's. The exit status.
int run(const std::vector<std::string>& command);

class EtcdCluster {
 public:
  struct Setup {
    int members = 1;
    bool tls = false;             // with client certificates
    std::size_t quota_bytes = 0;  // of the database; 0: etcd's own
  };
  // Started and listening; throws std::runtime_error with the log when that fails.
  explicit EtcdCluster(Setup setup);
  ~EtcdCluster();
  EtcdCluster(const EtcdCluster&) = delete;
  EtcdCluster& operator=(const EtcdCluster&) = delete;

  [[nodiscard]] std::vector<std::string> endpoints() const;
  [[nodiscard]] std::string endpoint(int member) const;
  [[nodiscard]] const std::string& directory() const { return scratch_.path(); }
  void kill(int member);     // SIGKILL
  void pause(int member);    // SIGSTOP
  void resume(int member);   // SIGCONT
  void restart(int member);  // with its data
  void erase_data(int member);
  // etcdctl against the first member; its exit status.
  int etcdctl(std::vector<std::string> arguments);

 private:
  struct Member {
    pid_t pid = -1;
    int client_port = 0;
    int peer_port = 0;
  };
  void choose_ports();
  void spawn(int member);
  bool listening(int member);
  [[nodiscard]] std::string log(int member) const;

  Setup setup_;
  ScratchDirectory scratch_;
  std::vector<Member> members_;
};

}  // namespace weft::etcd::testing
