#include "model/names.h"

#include <fmt/format.h>

#include <algorithm>

namespace weft::model {
namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return is_lower(c) || (c >= 'A' && c <= 'Z'); }
bool is_word(char c) { return is_letter(c) || is_digit(c); }

constexpr std::string_view label_rule =
    "lower-case letters, digits and \"-\", beginning and ending with a letter or digit";
constexpr std::string_view name_rule =
    "letters, digits, \"-\", \"_\" and \".\", beginning and ending with a letter or digit";

bool is_dns_label(std::string_view text) {
  return !text.empty() && text.front() != '-' && text.back() != '-' &&
         std::ranges::all_of(text, [](char c) { return is_lower(c) || is_digit(c) || c == '-'; });
}

bool is_qualified(std::string_view text) {
  return !text.empty() && is_word(text.front()) && is_word(text.back()) &&
         std::ranges::all_of(text, [](char c) { return is_word(c) || c == '-' || c == '_' || c == '.'; });
}

std::string too_long(std::size_t size, std::size_t most) {
  return fmt::format("expected at most {} characters, found {}", most, size);
}

}  // namespace

std::string check_dns_label(std::string_view text) {
  if (text.size() > 63) return too_long(text.size(), 63);
  if (!is_dns_label(text)) return fmt::format("expected {}", label_rule);
  return {};
}

std::string check_dns_1035_label(std::string_view text) {
  if (text.size() > 63) return too_long(text.size(), 63);
  if (!is_dns_label(text) || is_digit(text.front()))
    return "expected lower-case letters, digits and \"-\", beginning with a letter and ending with a letter or digit";
  return {};
}

std::string check_dns_subdomain(std::string_view text) {
  if (text.size() > 253) return too_long(text.size(), 253);
  for (std::string_view rest = text;;) {
    const auto dot = rest.find('.');
    if (!is_dns_label(rest.substr(0, dot))) return fmt::format("expected {} (parts may be joined by dots)", label_rule);
    if (dot == std::string_view::npos) return {};
    rest.remove_prefix(dot + 1);
  }
}

std::string check_label_key(std::string_view text) {
  if (const auto slash = text.find('/'); slash != std::string_view::npos) {
    if (auto wrong = check_dns_subdomain(text.substr(0, slash)); !wrong.empty())
      return "the part before \"/\": " + wrong;
    text.remove_prefix(slash + 1);
  }
  if (text.size() > 63) return "the name of the key: " + too_long(text.size(), 63);
  if (!is_qualified(text)) return fmt::format("expected a key of {}", name_rule);
  return {};
}

std::string check_label_value(std::string_view text) {
  if (text.size() > 63) return too_long(text.size(), 63);
  if (!text.empty() && !is_qualified(text)) return fmt::format("expected {}", name_rule);
  return {};
}

std::string check_port_name(std::string_view text) {
  if (text.size() > 15) return fmt::format("expected a port name of at most 15 characters, found {}", text.size());
  const bool plain = is_dns_label(text) && text.find("--") == std::string_view::npos;
  if (!plain || std::ranges::none_of(text, is_lower))
    return "expected a port name: lower-case letters, digits and single \"-\" between them, with at least one letter";
  return {};
}

}  // namespace weft::model
