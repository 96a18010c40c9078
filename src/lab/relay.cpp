#include "lab/relay.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "sys/netns.h"

namespace weft::lab {
namespace {

constexpr std::size_t longest_frame = 65536 + 64 + wire_header;
constexpr std::size_t most_bytes_held = std::size_t{64} << 20;  // a second of half a gigabit
constexpr int frames_a_turn = 64;

std::uint16_t be16(std::span<const std::byte> bytes, std::size_t at) {
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[at]) << 8 |
                                    std::to_integer<unsigned>(bytes[at + 1]));
}

// Whether an Ethernet frame is TCP from or to the port. Fragments and IPv6 extension headers are others' business.
bool is_tcp_of_port(std::span<const std::byte> frame, std::uint16_t port) {
  if (frame.size() < 14 + 20) return false;
  const auto type = be16(frame, 12);
  const auto packet = frame.subspan(14);
  std::size_t header = 0;
  unsigned protocol = 0;
  if (type == ETH_P_IP) {
    header = (std::to_integer<std::size_t>(packet[0]) & 0xf) * 4;
    protocol = std::to_integer<unsigned>(packet[9]);
  } else if (type == ETH_P_IPV6 && packet.size() >= 40) {
    header = 40;
    protocol = std::to_integer<unsigned>(packet[6]);
  }
  if (protocol != IPPROTO_TCP || packet.size() < header + 4) return false;
  return be16(packet, header) == port || be16(packet, header + 2) == port;
}

Result<Fd> open_tap(const std::string& name) {
  Fd tap(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tap.valid())
    return fail(ErrorCode::unsupported, fmt::format("open /dev/net/tun: {}", std::strerror(errno)),
                "delays and losses need the kernel's TUN/TAP driver");
  ifreq request{};
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);  // NOLINT
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) return fail(errno_error("open the TAP device " + name, errno));
  return tap;
}

Result<Fd> open_port(const std::string& name) {
  const unsigned index = ::if_nametoindex(name.c_str());
  if (index == 0) return fail(errno_error("find the port " + name, errno));
  // Without a protocol it hears nothing until it is bound to the one device.
  Fd port(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!port.valid()) return fail(errno_error("open a packet socket", errno));
  const int on = 1;
  const int buffer = 16 << 20;
  if (::setsockopt(port.get(), SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) != 0 ||
      ::setsockopt(port.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0)
    return fail(errno_error("set up the packet socket", errno));
  for (const int option : {SO_RCVBUFFORCE, SO_SNDBUFFORCE})
    (void)::setsockopt(port.get(), SOL_SOCKET, option, &buffer, sizeof buffer);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(index);
  if (::bind(port.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)  // NOLINT
    return fail(errno_error("bind to the port " + name, errno));
  return port;
}

Result<Fd> ending_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  Fd fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  if (!fd.valid()) return fail(errno_error("signalfd", errno));
  return fd;
}

// Takes what has come in, a few frames at once, so that the other direction gets its turn.
void receive(const Fd& from, WireQueue& queue, std::span<std::byte> buffer) {
  for (int i = 0; i < frames_a_turn; ++i) {
    const ssize_t size = ::read(from.get(), buffer.data(), buffer.size());
    if (size < static_cast<ssize_t>(wire_header)) return;
    queue.put(buffer.first(static_cast<std::size_t>(size)), WireQueue::Clock::now());
  }
}

// What the device cannot take now is lost, as on a wire.
void deliver(WireQueue& queue, const Fd& to) {
  while (const auto frame = queue.take(WireQueue::Clock::now()))
    if (::write(to.get(), frame->data(), frame->size()) < 0 && errno == EBADF) return;
}

timespec time_left(const WireQueue& one, const WireQueue& other) {
  auto next = WireQueue::Clock::now() + std::chrono::seconds(1);
  for (const auto* queue : {&one, &other})
    if (const auto due = queue->due()) next = std::min(next, *due);
  const auto left = std::max(next - WireQueue::Clock::now(), WireQueue::Clock::duration::zero());
  return {.tv_sec = static_cast<time_t>(left.count() / 1'000'000'000), .tv_nsec = left.count() % 1'000'000'000};
}

Result<void> relay(const std::string& port_name, const std::string& tap_name, const Wire& wire) {
  WEFT_TRY(const Fd ending, ending_signals());
  WEFT_TRY(const Fd port, open_port(port_name));
  WEFT_TRY(const Fd tap, open_tap(tap_name));
  std::random_device seed;
  WireQueue outwards(wire, seed());
  WireQueue inwards(wire, seed());
  std::vector<std::byte> buffer(longest_frame);
  while (true) {
    const timespec left = time_left(outwards, inwards);
    std::array<pollfd, 3> watched = {pollfd{port.get(), POLLIN, 0}, pollfd{tap.get(), POLLIN, 0},
                                     pollfd{ending.get(), POLLIN, 0}};
    if (::ppoll(watched.data(), watched.size(), &left, nullptr) < 0 && errno != EINTR)
      return fail(errno_error("poll", errno));
    if (watched[2].revents != 0) return {};
    // The port went with its node: whoever keeps the lab decides what becomes of this process.
    if ((watched[0].revents & POLLERR) != 0) {
      int error = 0;
      socklen_t size = sizeof error;
      ::getsockopt(port.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (::if_nametoindex(port_name.c_str()) == 0) return fail(errno_error("the port " + port_name, ENODEV));
    }
    if ((watched[0].revents & POLLIN) != 0) receive(port, outwards, buffer);
    if ((watched[1].revents & POLLIN) != 0) receive(tap, inwards, buffer);
    deliver(outwards, tap);
    deliver(inwards, port);
  }
}

}  // namespace

void WireQueue::put(std::span<const std::byte> frame, Clock::time_point now) {
  if (wire_.loss_ppm != 0 && std::uniform_int_distribution<std::uint32_t>(1, 1'000'000)(random_) <= wire_.loss_ppm)
    return;
  if (wire_.cut_tcp_port != 0 && is_tcp_of_port(frame.subspan(wire_header), wire_.cut_tcp_port)) return;
  if (bytes_ + frame.size() > most_bytes_held) return;
  bytes_ += frame.size();
  held_.push_back({now + wire_.delay, Frame(frame.begin(), frame.end())});
}

std::optional<WireQueue::Frame> WireQueue::take(Clock::time_point now) {
  if (held_.empty() || held_.front().due > now) return std::nullopt;
  Frame frame = std::move(held_.front().frame);
  held_.pop_front();
  bytes_ -= frame.size();
  return frame;
}

std::optional<WireQueue::Clock::time_point> WireQueue::due() const {
  if (held_.empty()) return std::nullopt;
  return held_.front().due;
}

Result<void> ensure_tap(int netns, const std::string& name) {
  WEFT_TRY(const auto scope, sys::NetnsScope::enter(netns));
  if (::if_nametoindex(name.c_str()) != 0) return {};
  WEFT_TRY(const Fd tap, open_tap(name));
  if (::ioctl(tap.get(), TUNSETPERSIST, 1) != 0) return fail(errno_error("keep the TAP device " + name, errno));
  return {};
}

int run_relay(const std::string& port, const std::string& tap, const Wire& wire) {
  const auto done = relay(port, tap, wire);
  if (done) return 0;
  fmt::print(stderr, "relay of {}: {}\n", port, done.error().message);
  return 1;
}

}  // namespace weft::lab
