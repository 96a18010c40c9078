// Points in time as nanoseconds since the epoch, and their text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace weft::flow {

using Nanoseconds = std::int64_t;

Nanoseconds wall_now();
// What CLOCK_MONOTONIC plus this is CLOCK_REALTIME, now.
Nanoseconds wall_offset();

// "2026-01-02T03:04:05.123456789Z"
std::string format_time(Nanoseconds time);
// The local "03:04:05.123" of an RFC 3339 text; the text itself when it is none.
std::string local_clock(std::string_view rfc3339);

// RFC 3339 with any offset ("2026-01-02T03:04:05Z", "...05.5+02:00"), or an age before `now`: "90s", "5m", "1h30m",
// "2d".
Result<Nanoseconds> parse_time(std::string_view text, Nanoseconds now);

}  // namespace weft::flow
