#include "api/request.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace weft::api {
namespace {

// Offset of the bracket that nests too deep, or npos. Runs before the parser, so no deep value is
// ever built (printing one would recurse).
std::size_t too_deep_at(std::string_view text) {
  std::size_t depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > max_nesting) return i;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return std::string_view::npos;
}

// The library's text without its own tag and position: "[json.exception...] parse error at line 1, column 2: <this>".
std::string reason_of(const nlohmann::json::parse_error& error) {
  std::string_view text = error.what();
  if (const auto colon = text.find(": "); colon != std::string_view::npos) text.remove_prefix(colon + 2);
  return std::string(text.substr(0, 200));
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

}  // namespace

Result<nlohmann::json> parse_json(std::string_view text) {
  if (const auto at = too_deep_at(text); at != std::string_view::npos)
    return fail(ErrorCode::invalid, fmt::format("byte {}: JSON is nested deeper than {} levels", at + 1, max_nesting));
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    return fail(ErrorCode::invalid, fmt::format("byte {}: not valid JSON: {}", error.byte, reason_of(error)));
  } catch (const nlohmann::json::exception& error) {
    return fail(ErrorCode::invalid, fmt::format("not valid JSON: {}", error.what()));
  }
}

std::expected<Request, BadRequest> decode_request(std::string_view line) {
  auto bad = [](nlohmann::json id, std::string message) {
    return std::unexpected(
        BadRequest{std::move(id), Error{ErrorCode::invalid, "request: " + std::move(message),
                                        R"(send one line such as {"id":1,"method":"status","params":{}})"}});
  };
  auto parsed = parse_json(line);
  if (!parsed) return bad(nullptr, parsed.error().message);
  if (!parsed->is_object()) return bad(nullptr, fmt::format("expected an object, found {}", parsed->type_name()));

  Request request;
  if (auto id = parsed->find("id"); id != parsed->end()) {
    if (!id->is_number() && !id->is_string() && !id->is_null())
      return bad(nullptr, fmt::format("id: expected a number or text, found {}", id->type_name()));
    request.id = *id;
  }
  auto method = parsed->find("method");
  if (method == parsed->end()) return bad(request.id, "method is missing");
  if (!method->is_string()) return bad(request.id, fmt::format("method: expected text, found {}", method->type_name()));
  request.method = method->get<std::string>();
  request.params = nlohmann::json::object();
  if (auto params = parsed->find("params"); params != parsed->end() && !params->is_null()) {
    if (!params->is_object())
      return bad(request.id, fmt::format("params: expected an object, found {}", params->type_name()));
    request.params = std::move(*params);
  }
  return request;
}

std::vector<std::string> nearest(std::string_view word, const std::vector<std::string>& names) {
  std::vector<std::pair<std::size_t, std::string>> ranked;
  const auto key = word.substr(0, 64);
  for (const auto& name : names) {
    const bool part = !key.empty() && name.find(key) != std::string::npos;
    const auto distance = part ? 0 : edit_distance(key, name);
    if (distance <= std::max<std::size_t>(2, name.size() / 3)) ranked.emplace_back(distance, name);
  }
  std::ranges::sort(ranked);
  std::vector<std::string> result;
  for (const auto& [distance, name] : ranked)
    if (result.size() < 3) result.push_back(name);
  return result;
}

std::string to_line(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace weft::api
