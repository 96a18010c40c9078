#include "agent/health_http.h"

#include <algorithm>

namespace weft::agent {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// RFC 9110, 5.6.2.
bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool is_printable(std::string_view text) {
  return std::ranges::none_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && byte != '\t') || byte == 0x7f;
  });
}

bool is_version(std::string_view text) {
  return text.size() == 8 && text.starts_with("HTTP/1.") && is_digit(text.back());
}

}  // namespace

HttpProgress HttpHead::feed(std::string_view bytes) {
  for (const char c : bytes) {
    if (progress_ != HttpProgress::more) break;
    if (++read_ > max_bytes) {
      refuse("its head is longer than 8192 bytes");
    } else if (c != '\n') {
      line_ += c;
    } else {
      if (line_.ends_with('\r')) line_.pop_back();
      line(line_);
      line_.clear();
    }
  }
  return progress_;
}

void HttpHead::refuse(std::string problem) {
  progress_ = HttpProgress::malformed;
  problem_ = std::move(problem);
}

void HttpHead::line(std::string_view text) {
  if (!is_printable(text)) return refuse("a line of its head holds control characters");
  if (!started_) {
    std::string problem;
    if (!start_line(text, problem)) return refuse(std::move(problem));
    started_ = true;
    return;
  }
  if (text.empty()) {
    started_ = false;
    if (finished()) progress_ = HttpProgress::done;
    return;
  }
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || !is_token(text.substr(0, colon)))
    refuse("a line of its head is no \"name: value\"");
}

bool HttpResponseHead::start_line(std::string_view line, std::string& problem) {
  const auto number = line.size() >= 12 ? line.substr(9, 3) : std::string_view();
  if (number.empty() || !is_version(line.substr(0, 8)) || line[8] != ' ' || !std::ranges::all_of(number, is_digit) ||
      (line.size() > 12 && line[12] != ' ')) {
    problem = "it does not begin as an HTTP/1 response does";
    return false;
  }
  status_ = (number[0] - '0') * 100 + (number[1] - '0') * 10 + (number[2] - '0');
  if (status_ >= 100 && status_ <= 599) return true;
  problem = "its status is " + std::string(number);
  return false;
}

bool HttpRequestHead::start_line(std::string_view line, std::string& problem) {
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == std::string_view::npos || first == last || !is_token(line.substr(0, first)) ||
      line.find(' ', first + 1) != last || last == first + 1 || !is_version(line.substr(last + 1))) {
    problem = "it does not begin as an HTTP/1 request does";
    return false;
  }
  method_ = line.substr(0, first);
  return true;
}

}  // namespace weft::agent
