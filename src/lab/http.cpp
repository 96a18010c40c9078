#include "lab/http.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace weft::lab {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

bool contains_ignoring_case(std::string_view text, std::string_view word) {
  return !std::ranges::search(text, word, [](char x, char y) { return lower(x) == lower(y); }).empty();
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string_view take_line(std::string_view& rest) {
  const auto end = std::min(rest.find('\n'), rest.size());
  std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// False for a header that makes the request unreadable.
bool read_header(std::string_view line, HttpRequest& request) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const auto name = line.substr(0, colon);
  const auto value = trimmed(line.substr(colon + 1));
  if (equals_ignoring_case(name, "connection")) {
    if (contains_ignoring_case(value, "close")) request.keep_alive = false;
    if (contains_ignoring_case(value, "keep-alive")) request.keep_alive = true;
  } else if (equals_ignoring_case(name, "content-length")) {
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), request.content_length);
    return error == std::errc() && end == value.data() + value.size();
  } else if (equals_ignoring_case(name, "transfer-encoding")) {
    request.chunked = true;
  } else if (equals_ignoring_case(name, "expect")) {
    request.expects_continue = true;
  }
  return true;
}

}  // namespace

std::optional<HttpRequest> parse_http_head(std::string_view head) {
  HttpRequest request;
  const auto line = take_line(head);
  const auto first_space = line.find(' ');
  const auto last_space = line.rfind(' ');
  if (first_space == std::string_view::npos || first_space == last_space || first_space == 0) return std::nullopt;
  const auto version = line.substr(last_space + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return std::nullopt;
  request.method = line.substr(0, first_space);
  request.keep_alive = version == "HTTP/1.1";
  while (!head.empty()) {
    const auto header = take_line(head);
    if (header.empty()) return request;
    if (!read_header(header, request)) return std::nullopt;
  }
  return std::nullopt;
}

std::string http_response(const HttpRequest& request, std::string_view pod_name) {
  return fmt::format(
      "HTTP/1.1 200 OK\r\nServer: weft-lab\r\nContent-Type: text/plain; charset=utf-8\r\n"
      "Content-Length: {}\r\nConnection: {}\r\n\r\n{}{}",
      pod_name.size() + 1, request.keep_alive ? "keep-alive" : "close", request.method == "HEAD" ? "" : pod_name,
      request.method == "HEAD" ? "" : "\n");
}

std::string http_bad_request() {
  return "HTTP/1.1 400 Bad Request\r\nServer: weft-lab\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
}

}  // namespace weft::lab
