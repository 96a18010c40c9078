#include "cni/loopback.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "cni/format.h"

namespace weft::cni {
namespace {

CniError trouble(const Invocation& invocation, ErrorNumber number, const std::string& what) {
  return {number, what, {}, invocation.version};
}
CniError system_trouble(const Invocation& invocation, const std::string& what) {
  return trouble(invocation, ErrorNumber::io_failure, what + ": " + std::strerror(errno));
}

CniResult<ifreq> read_lo(const Invocation& invocation, int socket) {
  ifreq request{};
  std::strcpy(static_cast<char*>(request.ifr_name), "lo");
  if (::ioctl(socket, SIOCGIFFLAGS, &request) != 0)
    return std::unexpected(system_trouble(invocation, "reading lo in " + invocation.netns));
  return request;
}

CniResult<void> act(const Invocation& invocation) {
  const Fd space(::open(invocation.netns.c_str(), O_RDONLY | O_CLOEXEC));
  if (!space.valid()) return std::unexpected(system_trouble(invocation, "the network namespace " + invocation.netns));
  if (::setns(space.get(), CLONE_NEWNET) != 0)
    return std::unexpected(system_trouble(invocation, "entering the network namespace " + invocation.netns));
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return std::unexpected(system_trouble(invocation, "a socket in " + invocation.netns));
  auto lo = read_lo(invocation, socket.get());
  if (!lo) return std::unexpected(lo.error());
  const bool up = (lo->ifr_flags & IFF_UP) != 0;
  if (up) return {};
  if (invocation.command == Command::check)
    return std::unexpected(trouble(invocation, ErrorNumber::internal, "lo in " + invocation.netns + " is down"));
  lo->ifr_flags = static_cast<short>(lo->ifr_flags | IFF_UP);
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &*lo) != 0)
    return std::unexpected(system_trouble(invocation, "setting lo in " + invocation.netns + " up"));
  return {};
}

}  // namespace

bool is_loopback(const Invocation& invocation) {
  const auto type = invocation.config.find("type");
  return type != invocation.config.end() && *type == "loopback";
}

// DEL has nothing to do: lo goes with its namespace, which may be gone already.
Output run_loopback(const Invocation& invocation) {
  const bool acts = invocation.command == Command::add || invocation.command == Command::check;
  if (const auto done = acts ? act(invocation) : CniResult<void>(); !done) return {format_error(done.error()), 1, {}};
  if (invocation.command != Command::add) return {};
  const Json answer{
      {"interfaces", {{{"name", "lo"}, {"mac", "00:00:00:00:00:00"}, {"sandbox", invocation.netns}}}},
      {"ips", {{{"address", "127.0.0.1/8"}, {"interface", 0}}, {{"address", "::1/128"}, {"interface", 0}}}}};
  const auto previous = invocation.config.find("prevResult");
  return {
      format_result(invocation.version, previous == invocation.config.end() ? Json() : *previous, answer).dump() + "\n",
      0,
      {}};
}

}  // namespace weft::cni
