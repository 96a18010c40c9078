#include "agent/source_ports.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "sys/system.h"

namespace weft::agent {
namespace {

// "  12: 0100007F:1F90 00000000:0000 0A ...": the number after the second colon.
std::optional<std::uint16_t> local_port(std::string_view line) {
  const auto number = line.find(':');
  if (number == std::string_view::npos) return std::nullopt;
  const auto colon = line.find(':', number + 1);
  if (colon == std::string_view::npos || line.size() < colon + 5) return std::nullopt;
  std::uint16_t port = 0;
  const auto* begin = line.data() + colon + 1;
  const auto [end, error] = std::from_chars(begin, begin + 4, port, 16);
  if (error != std::errc{} || end != begin + 4) return std::nullopt;
  return port;
}

}  // namespace

bool has_local_port(std::string_view table, std::uint16_t first, std::uint16_t last) {
  while (!table.empty()) {
    const auto end = std::min(table.find('\n'), table.size());
    if (const auto port = local_port(table.substr(0, end)); port && *port >= first && *port <= last) return true;
    table.remove_prefix(std::min(end + 1, table.size()));
  }
  return false;
}

Result<void> SourcePorts::reserve() {
  auto written = sys::write_sysctl(reserved_ports_sysctl, config_.reserved_ports());
  reserved_ = written.has_value();
  unused_ = reserved_ && lb_ports_unused();
  return written;
}

bool SourcePorts::refresh() {
  const bool before = exclusive();
  const auto value = sys::read_sysctl(reserved_ports_sysctl);
  const bool holds = value && value->substr(0, value->find('\n')) == config_.reserved_ports();
  // What was opened while they were not reserved is looked for anew.
  if (!holds)
    (void)reserve();
  else if (!unused_)
    unused_ = lb_ports_unused();
  return exclusive() != before;
}

bool SourcePorts::lb_ports_unused() const {
  for (const auto* path : {"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"}) {
    const auto table = sys::read_file(path);
    if (!table && table.error().code == ErrorCode::not_found) continue;  // no IPv6
    if (!table || has_local_port(*table, config_.lb_port_min, config_.lb_port_max)) return false;
  }
  return true;
}

}  // namespace weft::agent
