#include "sources/etcd/testing/etcd_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace weft::etcd::testing {
namespace {

// The child gets SIGKILL when this process dies. `input` and `output` become its descriptors 0, 1 and 2
// where they are not -1.
pid_t start(const std::vector<std::string>& command, int input, int output, bool dies_with_us) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid > 0) return pid;
  if (dies_with_us) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
  } else {
    setsid();
  }
  if (input >= 0) dup2(input, 0);
  if (output >= 0) {
    dup2(output, 1);
    dup2(output, 2);
  }
  execvp(arguments[0], arguments.data());
  _exit(127);
}

int reap(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool connects(int port) {
  const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port);
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

bool etcd_installed() { return access("/usr/bin/etcd", X_OK) == 0 && access("/usr/bin/etcdctl", X_OK) == 0; }

int run(const std::vector<std::string>& command) { return reap(start(command, -1, -1, true)); }

ScratchDirectory::ScratchDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "weft-etcd-test.XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = name;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
  // Reads until this process has closed its end, by dying if need be. The members may need a moment to
  // go, hence the second time.
  start({"sh", "-c", R"(cat >/dev/null; rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; })", "sh", path_}, ends[0], -1,
        false);
  close(ends[0]);
  watcher_pipe_ = ends[1];
}

ScratchDirectory::~ScratchDirectory() {
  close(watcher_pipe_);
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void make_certificates(const std::string& directory) {
  // One script, for it is what a person would type.
  const int status = run({"sh", "-ec", R"(
    cd "$1"; exec >certificates.log 2>&1
    key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
    for ca in ca another; do
      key $ca
      openssl req -x509 -new -key $ca.key -subj "/CN=$ca" -days 2 -out $ca.pem
    done
    sign() {
      key "$1"
      openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
      printf '%s' "$2" >"$1.ext"
      openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.pem"
    }
    sign server 'subjectAltName=IP:127.0.0.1,DNS:etcd.weft.test'
    sign client 'extendedKeyUsage=clientAuth')",
                          "sh", directory});
  if (status != 0) throw std::runtime_error("openssl failed, see certificates.log");
}

EtcdCluster::EtcdCluster(Setup setup) : setup_(setup) {
  if (setup_.tls) make_certificates(scratch_.path());
  for (int attempt = 0; attempt < 3; ++attempt) {
    choose_ports();
    for (int i = 0; i < setup_.members; ++i) spawn(i);
    bool good = true;
    for (int i = 0; i < setup_.members; ++i) good = good && listening(i);
    if (good) return;
    // Somebody took one of the ports meanwhile.
    for (int i = 0; i < setup_.members; ++i) {
      kill(i);
      erase_data(i);
    }
  }
  throw std::runtime_error("etcd does not start:\n" + log(0));
}

EtcdCluster::~EtcdCluster() {
  for (int i = 0; i < setup_.members; ++i) kill(i);
}

std::string EtcdCluster::endpoint(int member) const {
  return fmt::format("{}://127.0.0.1:{}", setup_.tls ? "https" : "http",
                     members_[static_cast<std::size_t>(member)].client_port);
}

std::vector<std::string> EtcdCluster::endpoints() const {
  std::vector<std::string> all;
  for (int i = 0; i < setup_.members; ++i) all.push_back(endpoint(i));
  return all;
}

// Ports the kernel has just given out and taken back; all are held until the last is known.
void EtcdCluster::choose_ports() {
  members_.assign(static_cast<std::size_t>(setup_.members), {});
  std::vector<Fd> held;
  const auto free_port = [&held] {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    auto* plain = reinterpret_cast<sockaddr*>(&address);
    if (bind(fd.get(), plain, size) != 0 || getsockname(fd.get(), plain, &size) != 0)
      throw std::runtime_error("no free port");
    held.push_back(std::move(fd));
    return static_cast<int>(ntohs(address.sin_port));
  };
  for (auto& member : members_) {
    member.client_port = free_port();
    member.peer_port = free_port();
  }
}

void EtcdCluster::spawn(int member) {
  auto& self = members_[static_cast<std::size_t>(member)];
  const auto peer = [](const Member& m) { return fmt::format("http://127.0.0.1:{}", m.peer_port); };
  std::string initial;
  for (int i = 0; i < setup_.members; ++i)
    initial += fmt::format("{}m{}={}", i == 0 ? "" : ",", i, peer(members_[static_cast<std::size_t>(i)]));
  std::vector<std::string> command{
      "/usr/bin/etcd", "--name", fmt::format("m{}", member), "--data-dir",
      fmt::format("{}/m{}", scratch_.path(), member), "--listen-client-urls", endpoint(member),
      "--advertise-client-urls", endpoint(member), "--listen-peer-urls", peer(self), "--initial-advertise-peer-urls",
      peer(self), "--initial-cluster", initial,
      // Quick elections, and short leases with them, that a busy machine still keeps.
      "--heartbeat-interval", "50", "--election-timeout", "500", "--logger", "zap", "--log-outputs", "stderr"};
  if (setup_.tls)
    for (const auto& [option, file] : {std::pair{"--trusted-ca-file", "ca.pem"}, std::pair{"--cert-file", "server.pem"},
                                       std::pair{"--key-file", "server.key"}}) {
      command.emplace_back(option);
      command.push_back(scratch_.path() + "/" + file);
    }
  if (setup_.tls) command.emplace_back("--client-cert-auth");
  if (setup_.quota_bytes != 0)
    command.insert(command.end(), {"--quota-backend-bytes", std::to_string(setup_.quota_bytes)});
  const std::string file = fmt::format("{}/m{}.log", scratch_.path(), member);
  const Fd output(open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  self.pid = start(command, -1, output.get(), true);
}

bool EtcdCluster::listening(int member) {
  const auto& self = members_[static_cast<std::size_t>(member)];
  const Fd exited(static_cast<int>(syscall(SYS_pidfd_open, self.pid, 0)));
  for (int i = 0; i < 1000; ++i) {
    if (connects(self.client_port)) return true;
    pollfd wait{.fd = exited.get(), .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, 20) > 0) return false;
  }
  return false;
}

void EtcdCluster::kill(int member) {
  auto& self = members_[static_cast<std::size_t>(member)];
  if (self.pid < 0) return;
  ::kill(self.pid, SIGKILL);
  reap(self.pid);
  self.pid = -1;
}

void EtcdCluster::pause(int member) { ::kill(members_[static_cast<std::size_t>(member)].pid, SIGSTOP); }
void EtcdCluster::resume(int member) { ::kill(members_[static_cast<std::size_t>(member)].pid, SIGCONT); }

void EtcdCluster::restart(int member) {
  kill(member);
  spawn(member);
  if (!listening(member)) throw std::runtime_error("etcd does not start again:\n" + log(member));
}

void EtcdCluster::erase_data(int member) {
  std::filesystem::remove_all(fmt::format("{}/m{}", scratch_.path(), member));
}

int EtcdCluster::etcdctl(std::vector<std::string> arguments) {
  std::vector<std::string> command{"env", "ETCDCTL_API=3", "etcdctl", "--endpoints", endpoint(0)};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run(command);
}

std::string EtcdCluster::log(int member) const {
  std::ifstream file(fmt::format("{}/m{}.log", scratch_.path(), member));
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace weft::etcd::testing
