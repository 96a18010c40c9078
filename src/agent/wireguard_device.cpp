#include "agent/wireguard_device.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "agent/overlay.h"
#include "sys/system.h"

namespace weft::agent {
namespace {

using namespace std::chrono_literals;

// Where wireguard-go has its sockets, whatever it is told (ipc/uapi_unix.go). Nodes of a lab share the machine's files,
// and a node of its own keeps them where all of its files are: this directory is seen there instead.
constexpr const char* fixed_directory = "/var/run/wireguard";

constexpr auto calm = 1000ms;    // between two looks at a device that does well
constexpr auto pending = 100ms;  // while a peer has not answered
constexpr auto starting = 10ms;  // while a program starts
constexpr auto greet_again = 5s;
constexpr off_t largest_log = 1 << 20;

struct Files {
  std::string directory;
  std::string stem;
  Files(const std::string& run_dir, const std::string& name)
      : directory(run_dir + "/wireguard"), stem(directory + "/" + name) {}
  [[nodiscard]] std::string socket() const { return stem + ".sock"; }
  [[nodiscard]] std::string pid() const { return stem + ".pid"; }
  [[nodiscard]] std::string log() const { return stem + ".log"; }
};

}  // namespace

WireGuardDevice::WireGuardDevice(const Parts& parts, std::string name, std::function<void()> changed)
    : parts_(parts), name_(std::move(name)), changed_(std::move(changed)), timer_(parts.loop) {}

WireGuardDevice::~WireGuardDevice() = default;

Result<void> WireGuardDevice::make() {
  const bool program = parts_.by == WireGuardBy::program;
  auto device = parts_.netlink.device(name_);
  if (device && device->kind != (program ? "tun" : "wireguard")) {
    WEFT_CHECK(parts_.netlink.delete_device(device->index));
    device = fail(ErrorCode::not_found, "");
  }
  if (!device && device.error().code == ErrorCode::not_found)
    device = program ? parts_.netlink.create_tun(name_) : parts_.netlink.create_wireguard(name_);
  if (!device) return fail(device.error());
  ifindex_ = static_cast<std::uint32_t>(device->index);
  return make_inlet(parts_.netlink, *device);
}

Result<void> WireGuardDevice::open_handle() {
  if (parts_.by == WireGuardBy::program) {
    handle_ = wireguard::open_uapi(Files(parts_.run_dir, name_).socket());
    return {};
  }
  WEFT_TRY(handle_, wireguard::open_kernel(ifindex_));
  return {};
}

Result<std::unique_ptr<WireGuardDevice>> WireGuardDevice::open(const Parts& parts, const std::string& name,
                                                               std::function<void()> changed) {
  std::unique_ptr<WireGuardDevice> device(new WireGuardDevice(parts, name, std::move(changed)));
  WEFT_CHECK(device->make());
  WEFT_CHECK(device->open_handle());
  if (parts.by == WireGuardBy::program) device->keep_program();
  // One that an earlier agent left goes on as it is: who has a session with it is known before anything is planned.
  if (parts.by == WireGuardBy::kernel || device->pid() != 0)
    if (auto state = device->handle_->read(); state && !state->private_key.empty()) {
      device->state_ = std::move(*state);
      device->ready_ = true;
    }
  return device;
}

void WireGuardDevice::keep_program() {
  const Files files(parts_.run_dir, name_);
  supervise::KeptProgram program;
  program.what = "wireguard-go of " + name_;
  program.pid_file = files.pid();
  program.log_file = files.log();
  program.environment = {{"WG_PROCESS_FOREGROUND", "1"}, {"LOG_LEVEL", "error"}};
  program.bound = {{files.directory, fixed_directory}};
  program.prepare = [this, name = name_, files]() -> Result<std::vector<std::string>> {
    // Where there is none it would make one of its own, which ends with it.
    const auto before = ifindex_;
    WEFT_CHECK(make());
    remade_ = remade_ || ifindex_ != before;
    WEFT_CHECK(sys::make_directories(files.directory, 0700));
    WEFT_CHECK(sys::make_directories(fixed_directory, 0755));
    struct stat status {};
    if (::stat(files.log().c_str(), &status) == 0 && status.st_size > largest_log) ::unlink(files.log().c_str());
    return std::vector<std::string>{"wireguard-go", "-f", name};
  };
  program.log = [](const std::string& line) { spdlog::info("{}", line); };
  process_ = std::make_unique<supervise::KeptProcess>(parts_.loop, std::move(program), [this] { program_changed(); });
  process_->start();
}

void WireGuardDevice::program_changed() {
  if (std::exchange(known_pid_, process_->pid()) != 0) {
    // What it knew of sessions has ended with it.
    for (auto& [key, peer] : state_.peers) peer.last_handshake = 0;
    greeted_.clear();
  }
  unanswered_ = 0;
  if (process_->failures() >= 3 || (known_pid_ == 0 && !process_->problem().empty() && process_->restarts() == 0))
    problem_ = fmt::format("{}; is the package wireguard-go installed? Its log is {}", process_->problem(),
                           Files(parts_.run_dir, name_).log());
  if (known_pid_ != 0) sync_after(0ms);
  changed_();
}

void WireGuardDevice::want(const wireguard::DeviceConfig& config, std::uint32_t mtu) {
  const bool same = wanted_ == config && mtu_ == mtu;
  wanted_ = config;
  mtu_ = mtu;
  if (!same) sync();
}

std::set<wireguard::Key> WireGuardDevice::to_greet() const {
  std::set<wireguard::Key> keys;
  const auto now = Clock::now();
  for (const auto& [key, peer] : wanted_->peers) {
    const auto known = state_.peers.find(key);
    if (known != state_.peers.end() && known->second.last_handshake != 0) continue;
    const auto before = greeted_.find(key);
    if (before == greeted_.end() || now - before->second >= greet_again) keys.insert(key);
  }
  return keys;
}

void WireGuardDevice::sync_after(std::chrono::milliseconds pause) {
  timer_.expires_after(pause);
  timer_.async_wait([this](const std::error_code& error) {
    if (!error) sync();
  });
}

void WireGuardDevice::sync() {
  if (!wanted_) return;
  if (std::exchange(asking_, true)) {
    again_ = true;
    return;
  }
  auto config = *wanted_;
  // To a program that starts anew the peers are where they were last heard, if nothing else was told of them since.
  for (auto& [key, peer] : config.peers) {
    const auto told = told_.find(key);
    const auto known = state_.peers.find(key);
    if (told != told_.end() && peer.endpoint == told->second && known != state_.peers.end() && known->second.endpoint)
      peer.endpoint = known->second.endpoint;
  }
  auto before = told_;
  for (auto& [key, endpoint] : before)
    if (const auto wanted = wanted_->peers.find(key);
        wanted != wanted_->peers.end() && wanted->second.endpoint == endpoint)
      endpoint = config.peers.at(key).endpoint.value_or(endpoint);
  const auto greet = to_greet();
  for (const auto& key : greet) greeted_[key] = Clock::now();
  parts_.background.run([this, alive = std::weak_ptr(alive_), handle = handle_, config, before, greet,
                         told = *wanted_]() mutable -> Background::Done {
    Answer answer{.state = handle->read()};
    if (answer.state) {
      const auto change = wireguard::difference(config, *answer.state, before, greet);
      answer.written = !change.empty();
      if (answer.written) {
        if (auto written = handle->write(change); !written)
          answer.state = fail(written.error());
        else
          answer.state = handle->read();
      }
    }
    return [this, alive = std::move(alive), answer = std::move(answer), told = std::move(told)] {
      if (!alive.expired()) answered(answer, told);
    };
  });
}

void WireGuardDevice::answered(const Answer& answer, const wireguard::DeviceConfig& told) {
  asking_ = false;
  const bool at_once = std::exchange(again_, false);
  if (!answer.state) {
    ++unanswered_;
    if (const bool lasting = unanswered_ > 100; lasting || answer.state.error().code != ErrorCode::unavailable) {
      problem_ = answer.state.error().text();
      changed_();
    }
    return sync_after(at_once ? 0ms : unanswered_ < 200 ? starting : calm);
  }
  unanswered_ = 0;
  problem_.clear();
  if (process_) process_->served();
  state_ = *answer.state;
  for (const auto& [key, peer] : told.peers)
    if (peer.endpoint) told_.insert_or_assign(key, *peer.endpoint);
  std::erase_if(told_, [&](const auto& entry) { return !told.peers.contains(entry.first); });
  if (!std::exchange(ready_, true) || answer.written) fit_mtu();
  const bool waits =
      std::ranges::any_of(state_.peers, [](const auto& peer) { return peer.second.last_handshake == 0; });
  sync_after(at_once ? 0ms : waits ? pending : calm);
  changed_();
}

// wireguard-go sets one of its own when it starts.
void WireGuardDevice::fit_mtu() {
  const auto device = parts_.netlink.device(static_cast<int>(ifindex_));
  if (device && mtu_ != 0 && device->mtu != mtu_)
    if (auto set = parts_.netlink.set_mtu(device->index, mtu_); !set) problem_ = set.error().message;
}

std::string WireGuardDevice::heal() {
  if (std::exchange(remade_, false)) {
    changed_();
    return fmt::format("device {} was gone", name_);
  }
  const auto device = parts_.netlink.device(name_);
  if (device && device->up && static_cast<std::uint32_t>(device->index) == ifindex_) {
    fit_mtu();
    return {};
  }
  const bool gone = !device || static_cast<std::uint32_t>(device->index) != ifindex_;
  if (auto made = make(); !made) {
    problem_ = made.error().text();
    return {};
  }
  if (gone) {
    // The program holds a device that is no more.
    if (process_) process_->signal(SIGKILL);
    if (auto opened = open_handle(); !opened) problem_ = opened.error().text();
    sync();
  }
  changed_();
  return fmt::format("device {} was {}", name_, gone ? "gone" : "down");
}

void WireGuardDevice::stop() {
  timer_.cancel();
  alive_ = std::make_shared<bool>(true);
  wanted_.reset();
  ready_ = false;
  if (process_) process_->stop(SIGTERM);
  if (ifindex_ != 0)
    if (auto deleted = parts_.netlink.delete_device(static_cast<int>(ifindex_)); !deleted)
      spdlog::warn("device {}: {}", name_, deleted.error().message);
}

void WireGuardDevice::remove(sys::Netlink& netlink, const std::string& run_dir, const std::string& name) {
  const Files files(run_dir, name);
  if (const auto process = supervise::read_pid_file(files.pid())) supervise::terminate({*process}, 2s);
  for (const auto& file : {files.pid(), files.socket(), files.log()}) ::unlink(file.c_str());
  if (const auto device = netlink.device(name); device && (device->kind == "tun" || device->kind == "wireguard"))
    if (auto deleted = netlink.delete_device(device->index); !deleted)
      spdlog::warn("device {}: {}", name, deleted.error().message);
}

}  // namespace weft::agent
