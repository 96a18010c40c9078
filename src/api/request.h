// One line of a client -> a request. The decoder meets untrusted bytes: it is fuzzed.
#pragma once

#include <cstddef>
#include <expected>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "api/answer.h"

namespace weft::api {

inline constexpr std::size_t max_line_bytes = std::size_t{16} << 20;
inline constexpr std::size_t max_nesting = 128;

struct Request {
  nlohmann::json id;  // number, text or null
  std::string method;
  nlohmann::json params;  // always an object
};

struct BadRequest {
  nlohmann::json id;  // null when it could not be read
  ApiError error;
};

// JSON text -> value; `invalid` with the position when it is malformed or nested deeper than max_nesting.
Result<nlohmann::json> parse_json(std::string_view text);

std::expected<Request, BadRequest> decode_request(std::string_view line);

// The names nearest to `word`, best first, at most three; for "did you mean".
std::vector<std::string> nearest(std::string_view word, const std::vector<std::string>& names);

// A value as one line of text without the newline; bytes that are not UTF-8 are replaced.
std::string to_line(const nlohmann::json& value);

}  // namespace weft::api
