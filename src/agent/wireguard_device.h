// One WireGuard device of the node, of the kernel or of a wireguard-go that this keeps running: made, told what it is
// to be, and asked how it is. What answers slowly is asked on another thread. On the agent's thread.
//
// The device and the program stay when the agent goes; the next agent takes them over.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "agent/background.h"
#include "supervise/kept_process.h"
#include "sys/netlink.h"
#include "wireguard/device.h"

namespace weft::agent {

enum class WireGuardBy { kernel, program };

class WireGuardDevice {
 public:
  struct Parts {
    asio::io_context& loop;
    sys::Netlink& netlink;
    Background& background;
    std::string run_dir;  // of sockets, pid files and logs
    WireGuardBy by = WireGuardBy::program;
  };

  // Makes the device, or finds it. `changed`: ready(), state() or problem() may be others.
  static Result<std::unique_ptr<WireGuardDevice>> open(const Parts& parts, const std::string& name,
                                                       std::function<void()> changed);
  ~WireGuardDevice();
  WireGuardDevice(const WireGuardDevice&) = delete;
  WireGuardDevice& operator=(const WireGuardDevice&) = delete;

  // Ends what an agent has left of such a device, if it has.
  static void remove(sys::Netlink& netlink, const std::string& run_dir, const std::string& name);

  void want(const wireguard::DeviceConfig& config, std::uint32_t mtu);
  // Puts right what somebody else undid; what was, in words; empty: nothing.
  std::string heal();
  // Ends program and device.
  void stop();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::uint32_t ifindex() const { return ifindex_; }
  // It has answered, and is what was wanted but for peers that came since.
  [[nodiscard]] bool ready() const { return ready_; }
  // As it was when it answered last.
  [[nodiscard]] const wireguard::DeviceState& state() const { return state_; }
  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] int pid() const { return process_ ? process_->pid() : 0; }
  [[nodiscard]] int restarts() const { return process_ ? process_->restarts() : 0; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Answer {
    Result<wireguard::DeviceState> state;
    bool written = false;
  };

  WireGuardDevice(const Parts& parts, std::string name, std::function<void()> changed);
  Result<void> make();
  Result<void> open_handle();
  void keep_program();
  void program_changed();
  void sync();
  void sync_after(std::chrono::milliseconds pause);
  void answered(const Answer& answer, const wireguard::DeviceConfig& told);
  [[nodiscard]] std::set<wireguard::Key> to_greet() const;
  void fit_mtu();

  Parts parts_;
  const std::string name_;
  const std::function<void()> changed_;
  std::uint32_t ifindex_ = 0;
  std::uint32_t mtu_ = 0;
  std::unique_ptr<supervise::KeptProcess> process_;  // of WireGuardBy::program
  int known_pid_ = 0;
  std::shared_ptr<wireguard::Device> handle_;  // shared with the call under way
  std::optional<wireguard::DeviceConfig> wanted_;
  wireguard::DeviceState state_;
  std::map<wireguard::Key, wireguard::Endpoint> told_;  // endpoints, as they were given to it
  std::map<wireguard::Key, Clock::time_point> greeted_;
  bool ready_ = false;
  bool remade_ = false;  // when its program was started again, and not told yet
  bool asking_ = false;
  bool again_ = false;
  int unanswered_ = 0;  // in a row
  std::string problem_;
  asio::steady_timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weft::agent
