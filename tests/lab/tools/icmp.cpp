// One echo request, and who said what: "reply from A", "ttl-exceeded from A", "too-big MTU from A",
// "unreachable CODE from A" or "timeout". Exit code 0 only for a reply. And many of them, as a JSON object.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "sockets.h"

namespace weft::labtool {
namespace {

using std::chrono::milliseconds;

struct Echo {
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  std::uint16_t checksum = 0;
  std::uint16_t id = 0;
  std::uint16_t sequence = 0;
};

std::uint16_t checksum(const std::string& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    std::uint16_t word = static_cast<std::uint8_t>(bytes[i]);
    if (i + 1 < bytes.size()) word |= static_cast<std::uint16_t>(static_cast<std::uint8_t>(bytes[i + 1]) << 8U);
    sum += word;
  }
  while (sum >> 16U != 0) sum = (sum & 0xffffU) + (sum >> 16U);
  return static_cast<std::uint16_t>(~sum);
}

std::string request(bool v6, std::size_t size, std::uint16_t id, std::uint16_t sequence = 1) {
  std::string packet(sizeof(Echo) + size, 0);
  fill_pattern({packet.data() + sizeof(Echo), size}, 0);
  Echo echo{v6 ? std::uint8_t{ICMP6_ECHO_REQUEST} : std::uint8_t{ICMP_ECHO}, 0, 0, id, htons(sequence)};
  std::memcpy(packet.data(), &echo, sizeof echo);
  if (!v6) {
    echo.checksum = checksum(packet);
    std::memcpy(packet.data(), &echo, sizeof echo);
  }
  return packet;
}

// The words for an ICMP message if it is about our request; empty otherwise.
std::string describe(std::string_view icmp, bool v6, std::uint16_t id) {
  if (icmp.size() < sizeof(Echo)) return {};
  Echo echo;
  std::memcpy(&echo, icmp.data(), sizeof echo);
  if (echo.type == (v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY)) {
    if (echo.id != id) return {};
    const auto data = icmp.substr(sizeof echo);
    return is_pattern({data.data(), data.size()}, 0) ? "reply" : "damaged";
  }
  // Errors quote the packet: its ICMP header follows the quoted IP header.
  std::string_view quoted = icmp.substr(sizeof echo);
  const std::size_t header = v6 ? 40 : quoted.empty() ? 0 : (static_cast<std::uint8_t>(quoted[0]) & 0xfU) * 4U;
  if (quoted.size() < header + sizeof(Echo)) return {};
  Echo ours;
  std::memcpy(&ours, quoted.data() + header, sizeof ours);
  if (ours.id != id) return {};
  if (v6) {
    if (echo.type == ICMP6_TIME_EXCEEDED) return "ttl-exceeded";
    if (echo.type == ICMP6_PACKET_TOO_BIG) return fmt::format("too-big {}", ntohs(echo.sequence));
    if (echo.type == ICMP6_DST_UNREACH) return fmt::format("unreachable {}", echo.code);
    return {};
  }
  if (echo.type == ICMP_TIME_EXCEEDED) return "ttl-exceeded";
  if (echo.type == ICMP_DEST_UNREACH && echo.code == ICMP_FRAG_NEEDED)
    return fmt::format("too-big {}", ntohs(echo.sequence));
  if (echo.type == ICMP_DEST_UNREACH) return fmt::format("unreachable {}", echo.code);
  return {};
}

// The sequence number of a reply to one of ours; 0: it is none.
std::uint16_t replied_to(std::string_view packet, bool v6, std::uint16_t id) {
  if (!v6) packet.remove_prefix(std::min(packet.size(), (static_cast<std::size_t>(packet[0]) & 0xfU) * 4U));
  if (describe(packet, v6, id) != "reply") return 0;
  Echo echo;
  std::memcpy(&echo, packet.data(), sizeof echo);
  return ntohs(echo.sequence);
}

int echo_socket(bool v6) {
  const int fd =
      ::socket(v6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, v6 ? int{IPPROTO_ICMPV6} : int{IPPROTO_ICMP});
  if (fd < 0) die("raw socket");
  return fd;
}

}  // namespace

int ping(const Arguments& arguments) {
  const Address to = parse_address(arguments.positional[0], 0);
  const bool v6 = to.family() == AF_INET6;
  const int fd = echo_socket(v6);
  const auto id = htons(static_cast<std::uint16_t>(::getpid()));
  const auto count = static_cast<std::size_t>(std::clamp<long>(arguments.number("count", 10), 1, 60'000));
  const milliseconds interval(arguments.number("interval", 10));
  const milliseconds timeout(arguments.number("timeout", 1000));
  std::vector<Clock::time_point> sent;
  std::vector<double> times;
  std::string buffer(70'000, 0);
  auto next = Clock::now();
  while (sent.size() < count || (times.size() < count && Clock::now() < next + timeout)) {
    if (sent.size() < count && Clock::now() >= next) {
      const auto packet = request(v6, 56, id, static_cast<std::uint16_t>(sent.size() + 1));
      sent.push_back(Clock::now());
      next = sent.back() + interval;
      (void)::sendto(fd, packet.data(), packet.size(), 0, to.get(), to.size);
      continue;
    }
    const auto until = sent.size() < count ? next : next + timeout;
    const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
    pollfd entry{fd, POLLIN, 0};
    if (::poll(&entry, 1, static_cast<int>(std::max<long>(left.count(), 0)) + 1) <= 0) continue;
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    const std::size_t sequence =
        n > 0 ? replied_to({buffer.data(), static_cast<std::size_t>(n)}, v6, id) : std::uint16_t{0};
    if (sequence == 0 || sequence > sent.size()) continue;
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - sent[sequence - 1]).count());
  }
  std::ranges::sort(times);
  fmt::print(R"({{"sent":{},"received":{},"least_ms":{:.3f},"median_ms":{:.3f},"most_ms":{:.3f}}})"
             "\n",
             count, times.size(), times.empty() ? 0 : times.front(), times.empty() ? 0 : times[times.size() / 2],
             times.empty() ? 0 : times.back());
  return times.empty() ? 1 : 0;
}

int echo_request(const Arguments& arguments) {
  const Address to = parse_address(arguments.positional[0], 0);
  const bool v6 = to.family() == AF_INET6;
  const int fd = echo_socket(v6);
  if (arguments.has("ttl")) {
    const int ttl = static_cast<int>(arguments.number("ttl", 64));
    ::setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_UNICAST_HOPS : IP_TTL, &ttl, sizeof ttl);
  }
  const int discover = arguments.has("df") ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT;
  ::setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &discover,
               sizeof discover);
  const auto id = htons(static_cast<std::uint16_t>(::getpid()));
  const auto packet = request(v6, static_cast<std::size_t>(arguments.number("size", 56)), id);
  if (::sendto(fd, packet.data(), packet.size(), 0, to.get(), to.size) < 0) die("send");
  const auto deadline = Clock::now() + milliseconds(arguments.number("timeout", 2000));
  std::string buffer(70'000, 0);
  while (Clock::now() < deadline) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    pollfd entry{fd, POLLIN, 0};
    if (::poll(&entry, 1, static_cast<int>(left.count()) + 1) <= 0) continue;
    Address from;
    const ssize_t n = ::recvfrom(fd, buffer.data(), buffer.size(), 0, from.get(), &from.size);
    if (n <= 0) continue;
    std::string_view icmp(buffer.data(), static_cast<std::size_t>(n));
    if (!v6) icmp.remove_prefix(std::min(icmp.size(), (static_cast<std::size_t>(icmp[0]) & 0xfU) * 4U));
    const auto words = describe(icmp, v6, id);
    if (words.empty()) continue;
    const auto text = from.to_string();
    fmt::print("{} from {}\n", words, text.substr(0, text.find(' ')));
    return words == "reply" ? 0 : 1;
  }
  fmt::print("timeout\n");
  return 1;
}

}  // namespace weft::labtool
