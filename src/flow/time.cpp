#include "flow/time.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <ctime>
#include <optional>

namespace weft::flow {
namespace {

constexpr Nanoseconds second = 1'000'000'000;

Nanoseconds read_clock(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<Nanoseconds>(now.tv_sec) * second + now.tv_nsec;
}

// Exactly `digits` decimal digits at `position`, which moves on.
std::optional<int> digits(std::string_view text, std::size_t& position, std::size_t count) {
  if (position + count > text.size()) return std::nullopt;
  int value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const char c = text[position + i];
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  position += count;
  return value;
}

bool skip(std::string_view text, std::size_t& position, std::string_view any_of) {
  if (position >= text.size() || !any_of.contains(text[position])) return false;
  ++position;
  return true;
}

// ".5" -> 500000000; digits beyond the ninth are dropped. Absent: 0.
std::optional<Nanoseconds> fraction(std::string_view text, std::size_t& position) {
  if (!skip(text, position, ".")) return 0;
  Nanoseconds value = 0;
  Nanoseconds scale = second / 10;
  const auto first = position;
  for (; position < text.size() && text[position] >= '0' && text[position] <= '9'; ++position, scale /= 10)
    value += (text[position] - '0') * scale;
  return position > first ? std::optional(value) : std::nullopt;
}

std::optional<Nanoseconds> zone(std::string_view text, std::size_t& position) {
  if (skip(text, position, "Zz")) return 0;
  const bool east = position < text.size() && text[position] == '+';
  if (!skip(text, position, "+-")) return std::nullopt;
  const auto hours = digits(text, position, 2);
  if (!hours || !skip(text, position, ":")) return std::nullopt;
  const auto minutes = digits(text, position, 2);
  if (!minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  return (east ? 1 : -1) * (*hours * 3600 + *minutes * 60) * second;
}

std::optional<Nanoseconds> parse_rfc3339(std::string_view text) {
  std::size_t at = 0;
  const auto year = digits(text, at, 4);
  if (!year || !skip(text, at, "-")) return std::nullopt;
  const auto month = digits(text, at, 2);
  if (!month || !skip(text, at, "-")) return std::nullopt;
  const auto day = digits(text, at, 2);
  if (!day || !skip(text, at, "Tt ")) return std::nullopt;
  const auto hour = digits(text, at, 2);
  if (!hour || !skip(text, at, ":")) return std::nullopt;
  const auto minute = digits(text, at, 2);
  if (!minute || !skip(text, at, ":")) return std::nullopt;
  const auto seconds = digits(text, at, 2);
  if (!seconds) return std::nullopt;
  const auto part = fraction(text, at);
  if (!part) return std::nullopt;
  const auto offset = zone(text, at);
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  // What 64 bits of nanoseconds hold.
  if (!offset || at != text.size() || !date.ok() || *year < 1700 || *year > 2200 || *hour > 23 || *minute > 59 ||
      *seconds > 60)
    return std::nullopt;
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  return (static_cast<Nanoseconds>(days) * 86400 + *hour * 3600 + *minute * 60 + *seconds) * second + *part - *offset;
}

std::optional<Nanoseconds> parse_age(std::string_view text) {
  struct Unit {
    std::string_view name;
    Nanoseconds length;
  };
  constexpr std::array units{Unit{"ms", second / 1000}, Unit{"s", second}, Unit{"m", 60 * second},
                             Unit{"h", 3600 * second}, Unit{"d", 86400 * second}};
  constexpr Nanoseconds longest = second * 86400 * 36500;
  Nanoseconds total = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    std::uint32_t count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (error != std::errc{}) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    const auto* unit = std::ranges::find_if(units, [&](const Unit& u) { return text.starts_with(u.name); });
    if (unit == units.end() || count > longest / unit->length) return std::nullopt;
    text.remove_prefix(unit->name.size());
    total += count * unit->length;
    if (total > longest) return std::nullopt;
  }
  return total;
}

}  // namespace

Nanoseconds wall_now() { return read_clock(CLOCK_REALTIME); }
Nanoseconds wall_offset() { return read_clock(CLOCK_REALTIME) - read_clock(CLOCK_MONOTONIC); }

std::string format_time(Nanoseconds time) {
  Nanoseconds part = time % second;
  time_t seconds = time / second;
  if (part < 0) {
    part += second;
    --seconds;
  }
  tm fields{};
  ::gmtime_r(&seconds, &fields);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", fields.tm_year + 1900, fields.tm_mon + 1,
                     fields.tm_mday, fields.tm_hour, fields.tm_min, fields.tm_sec, part);
}

std::string local_clock(std::string_view rfc3339) {
  const auto time = parse_rfc3339(rfc3339);
  if (!time || *time < 0) return std::string(rfc3339);
  const time_t seconds = *time / second;
  tm fields{};
  ::localtime_r(&seconds, &fields);
  return fmt::format("{:02}:{:02}:{:02}.{:03}", fields.tm_hour, fields.tm_min, fields.tm_sec,
                     *time % second / 1'000'000);
}

Result<Nanoseconds> parse_time(std::string_view text, Nanoseconds now) {
  if (const auto time = parse_rfc3339(text)) return *time;
  if (const auto age = parse_age(text)) return now - *age;
  return fail(ErrorCode::invalid, fmt::format("\"{}\" is neither a time nor an age", text.substr(0, 64)),
              "write a time as 2026-01-02T03:04:05Z or an age as 90s, 5m, 1h30m, 2d");
}

}  // namespace weft::flow
