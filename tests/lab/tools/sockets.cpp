#include "sockets.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace weft::labtool {
namespace {

// A period that is no multiple of any packet, page or buffer size: shifted data never matches.
constexpr std::size_t pattern_period = 1'048'573;

const std::string& pattern() {
  static const std::string bytes = [] {
    std::string made(pattern_period, 0);
    std::uint64_t state = 88172645463325252ULL;  // xorshift
    for (auto& byte : made) {
      state ^= state << 13U;
      state ^= state >> 7U;
      state ^= state << 17U;
      byte = static_cast<char>(state & 0xffU);
    }
    return made;
  }();
  return bytes;
}

template <typename Visit>
bool each_piece(std::size_t size, std::uint64_t offset, Visit visit) {
  for (std::size_t done = 0; done < size;) {
    const auto start = static_cast<std::size_t>((offset + done) % pattern_period);
    const auto length = std::min(size - done, pattern_period - start);
    if (!visit(done, pattern().data() + start, length)) return false;
    done += length;
  }
  return true;
}

}  // namespace

long Arguments::number(const std::string& name, long otherwise) const {
  const auto found = options.find(name);
  return found == options.end() ? otherwise : std::strtol(found->second.c_str(), nullptr, 10);
}

std::string Arguments::text(const std::string& name, const std::string& otherwise) const {
  const auto found = options.find(name);
  return found == options.end() ? otherwise : found->second;
}

std::string Address::to_string() const {
  std::string text(INET6_ADDRSTRLEN, 0);
  int port = 0;
  if (family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
    ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), INET6_ADDRSTRLEN);
    port = ntohs(v4->sin_port);
  } else {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
      ::inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text.data(), INET6_ADDRSTRLEN);
    else
      ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), INET6_ADDRSTRLEN);
    port = ntohs(v6->sin6_port);
  }
  text.resize(std::strlen(text.c_str()));
  return fmt::format("{} {}", text, port);
}

Address parse_address(const std::string& address, int port) {
  Address result;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&result.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&result.storage);
  if (::inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<std::uint16_t>(port));
    result.size = sizeof *v4;
  } else if (::inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<std::uint16_t>(port));
    result.size = sizeof *v6;
  } else {
    errno = EINVAL;
    die("address " + address);
  }
  return result;
}

Address local_address(int fd) {
  Address address;
  if (::getsockname(fd, address.get(), &address.size) != 0) die("getsockname");
  return address;
}

Address peer_address(int fd) {
  Address address;
  if (::getpeername(fd, address.get(), &address.size) != 0) die("getpeername");
  return address;
}

void die(std::string_view what) {
  fmt::print(stderr, "lab_traffic: {}: {}\n", what, std::strerror(errno));
  std::_Exit(2);
}

void write_all(int fd, std::span<const char> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return;  // the reader of this connection will see why
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

bool read_line(int fd, std::string& line) {
  line.clear();
  char byte = 0;
  while (true) {
    const ssize_t n = ::recv(fd, &byte, 1, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    if (byte == '\n') return true;
    line.push_back(byte);
  }
}

void fill_pattern(std::span<char> bytes, std::uint64_t offset) {
  each_piece(bytes.size(), offset, [&](std::size_t at, const char* from, std::size_t length) {
    std::memcpy(bytes.data() + at, from, length);
    return true;
  });
}

bool is_pattern(std::span<const char> bytes, std::uint64_t offset) {
  return each_piece(bytes.size(), offset, [&](std::size_t at, const char* expected, std::size_t length) {
    return std::memcmp(bytes.data() + at, expected, length) == 0;
  });
}

std::string word_for(int error) {
  switch (error) {
    case ECONNREFUSED:
      return "refused";
    case ECONNRESET:
      return "reset";
    case EAGAIN:
    case ETIMEDOUT:
    case EINPROGRESS:
      return "timeout";
    case EHOSTUNREACH:
    case ENETUNREACH:
      return "unreachable";
    case EPERM:
    case EACCES:
      return "not-permitted";
    case EMSGSIZE:
      return "too-big";
    default:
      return std::strerror(error);
  }
}

}  // namespace weft::labtool
