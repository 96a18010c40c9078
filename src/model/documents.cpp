#include "model/documents.h"

#include <cstdint>

namespace weft::model {
namespace {

bool is_marker(std::string_view line, std::string_view marker) {
  if (!line.starts_with(marker)) return false;
  if (line.size() == marker.size()) return true;
  const char next = line[marker.size()];
  return next == ' ' || next == '\t' || next == '\r';
}

// Blank or a comment.
bool is_empty_line(std::string_view line) {
  const auto first = line.find_first_not_of(" \t\r");
  return first == std::string_view::npos || line[first] == '#';
}

// Length of the UTF-8 sequence at `at`, 0 when it is none.
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(at);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  const std::uint8_t second = byte(at + 1);
  // Overlong forms, surrogates and what lies beyond U+10FFFF.
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second >= 0xa0) || (lead == 0xf0 && second < 0x90) ||
      (lead == 0xf4 && second >= 0x90))
    return 0;
  return length;
}

}  // namespace

std::vector<DocumentText> split_documents(std::string_view text) {
  std::vector<DocumentText> documents;
  std::size_t start = 0;
  int start_line = 1;
  bool content = false;     // something other than comments, blank lines and directives
  bool prologue = true;     // directives may stand here: at the text's start and after "..."
  bool directives = false;  // directives stand before a "---" yet to come
  const auto finish = [&](std::size_t end) {
    if (content) documents.push_back({text.substr(start, end - start), start_line});
    content = false;
  };
  int line_number = 1;
  for (std::size_t at = 0; at < text.size(); ++line_number) {
    auto end = text.find('\n', at);
    end = end == std::string_view::npos ? text.size() : end + 1;
    std::string_view line = text.substr(at, end - at);
    if (line.ends_with('\n')) line.remove_suffix(1);
    if (is_marker(line, "---")) {
      // Directives before the marker belong to the document it opens.
      if (content || !directives) {
        finish(at);
        start = at;
        start_line = line_number;
      }
      prologue = directives = false;
      content = !is_empty_line(line.substr(3));
    } else if (is_marker(line, "...")) {
      finish(at);
      start = end;
      start_line = line_number + 1;
      prologue = true;
      directives = false;
    } else if (prologue && line.starts_with('%')) {
      directives = true;
    } else if (!is_empty_line(line)) {
      content = true;
      prologue = false;
    }
    at = end;
  }
  finish(text.size());
  return documents;
}

std::size_t find_bad_byte(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<std::uint8_t>(text[at]);
    if ((byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7f) return at;
    const std::size_t length = sequence_length(text, at);
    if (length == 0) return at;
    at += length;
  }
  return std::string_view::npos;
}

}  // namespace weft::model
