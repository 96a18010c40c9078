#include "agent/source_ports.h"

#include <fmt/format.h>

#include <algorithm>
#include <bitset>
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

using Ports = std::bitset<65536>;

// A piece "first" or "first-last" of a list; false: no such thing.
bool add_range(Ports& ports, std::string_view piece) {
  std::uint16_t first = 0;
  const auto* begin = piece.data();
  const auto* last_of = begin + piece.size();
  auto [at, error] = std::from_chars(begin, last_of, first);
  std::uint16_t last = first;
  if (error == std::errc{} && at != last_of && *at == '-') {
    const auto second = std::from_chars(at + 1, last_of, last);
    at = second.ptr;
    error = second.ec;
  }
  if (error != std::errc{} || at != last_of || last < first) return false;
  for (std::size_t port = first; port <= last; ++port) ports.set(port);
  return true;
}

Ports parse(std::string_view list) {
  Ports ports;
  list = list.substr(0, list.find('\n'));
  while (!list.empty()) {
    const auto end = std::min(list.find(','), list.size());
    if (!add_range(ports, list.substr(0, end))) return {};
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return ports;
}

std::string to_text(const Ports& ports) {
  std::string text;
  for (std::size_t first = 0; first < ports.size(); ++first) {
    if (!ports.test(first)) continue;
    auto last = first;
    while (last + 1 < ports.size() && ports.test(last + 1)) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", first);
    if (last != first) text += fmt::format("-{}", last);
    first = last;
  }
  return text;
}

}  // namespace

std::string ports_with(std::string_view list, std::string_view more) { return to_text(parse(list) | parse(more)); }

std::string ports_without(std::string_view list, std::string_view taken) {
  return to_text(parse(list) & ~parse(taken));
}

bool has_local_port(std::string_view table, std::uint16_t first, std::uint16_t last) {
  while (!table.empty()) {
    const auto end = std::min(table.find('\n'), table.size());
    if (const auto port = local_port(table.substr(0, end)); port && *port >= first && *port <= last) return true;
    table.remove_prefix(std::min(end + 1, table.size()));
  }
  return false;
}

Result<void> SourcePorts::reserve() {
  const auto present = sys::read_sysctl(reserved_ports_sysctl);
  auto written = sys::write_sysctl(reserved_ports_sysctl, ports_with(present.value_or(""), config_.reserved_ports()));
  reserved_ = written.has_value();
  unused_ = reserved_ && lb_ports_unused();
  return written;
}

bool SourcePorts::refresh() {
  const bool before = exclusive();
  const auto value = sys::read_sysctl(reserved_ports_sysctl);
  const bool holds = value && ports_without(config_.reserved_ports(), *value).empty();
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
