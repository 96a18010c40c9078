#include "cli/output.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/json_access.h"
#include "model/parse.h"

namespace weft::cli {
namespace {

// Code points, which is what a terminal shows of the text that occurs here.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

// The bytes of a character at the text's start that a terminal obeys, of Unicode's: C1 controls, and what turns the
// direction of writing. 0: it is none.
std::size_t obeyed(std::string_view text) {
  const auto byte = [&](std::size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U; };
  if (byte(0) == 0xc2 && byte(1) >= 0x80 && byte(1) <= 0x9f) return 2;
  if (byte(0) != 0xe2) return 0;
  const bool mark = byte(1) == 0x80 && (byte(2) == 0x8e || byte(2) == 0x8f || (byte(2) >= 0xa8 && byte(2) <= 0xae));
  return mark || (byte(1) == 0x81 && byte(2) >= 0xa6 && byte(2) <= 0xa9) ? 3 : 0;
}

// What comes from elsewhere must not move the cursor, nor begin a line.
std::string plain(const std::string& text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const auto length = obeyed(std::string_view(text).substr(at));
    const auto c = static_cast<unsigned char>(text[at]);
    result += length != 0 || c < 0x20 || c == 0x7f ? '?' : text[at];
    at += std::max<std::size_t>(length, 1);
  }
  return result;
}

// Of a character of two or three bytes.
unsigned code_point(std::string_view bytes) {
  unsigned value = static_cast<unsigned char>(bytes[0]) & (bytes.size() == 2 ? 0x1fU : 0x0fU);
  for (const char byte : bytes.substr(1)) value = value << 6U | (static_cast<unsigned char>(byte) & 0x3fU);
  return value;
}

void print_row(std::ostream& out, const std::vector<std::string>& cells, const std::vector<std::size_t>& widths) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    line += plain(cells[i]);
    if (i + 1 < cells.size()) line.append(widths[i] + 2 - std::min(widths[i], width(cells[i])), ' ');
  }
  line.erase(line.find_last_not_of(' ') + 1);
  out << line << '\n';
}

}  // namespace

std::string json_text(const nlohmann::json& value, int indent) {
  const auto text = value.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto length = text[at] == 0x7f ? 1 : obeyed(std::string_view(text).substr(at));
    if (length == 0)
      result += text[at];
    else
      result += fmt::format("\\u{:04x}", length == 1 ? 0x7fU : code_point(std::string_view(text).substr(at, length)));
    at += std::max<std::size_t>(length, 1);
  }
  return result;
}

std::string lower(std::string text) {
  for (auto& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

std::string reference_of(const nlohmann::json& entry) {
  const auto namespace_ = text(entry, "namespace");
  return lower(text(entry, "kind")) + "/" + (namespace_.empty() ? "" : namespace_ + "/") + text(entry, "name");
}

std::string duration_text(std::uint64_t seconds) {
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
  if (seconds < 86400) return fmt::format("{}h{:02}m", seconds / 3600, seconds % 3600 / 60);
  return fmt::format("{}d{:02}h", seconds / 86400, seconds % 86400 / 3600);
}

void print_problem(const Session& session, std::string_view before, const std::string& problem,
                   const std::string& remedy) {
  if (problem.empty()) return;
  session.io.out << before << problem << '\n';
  if (!remedy.empty()) session.io.out << std::string(before.size(), ' ') << remedy << '\n';
}

std::string capacity_text(const nlohmann::json& pool) {
  constexpr std::uint64_t saturated = std::uint64_t{1} << 63;
  return number(pool, "capacity") >= saturated ? "2^63 or more" : cell(pool, "capacity");
}

void print_table(std::ostream& out, const std::vector<std::string>& columns,
                 const std::vector<std::vector<std::string>>& rows) {
  if (rows.empty()) return;
  std::vector<std::size_t> widths;
  for (const auto& header : columns) widths.push_back(width(header));
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  print_row(out, columns, widths);
  for (const auto& row : rows) print_row(out, row, widths);
}

void print_json(const Session& session, const nlohmann::json& value) {
  session.io.out << json_text(value, session.io.tty ? 2 : -1) << '\n';
}

void print_yaml(const Session& session, const nlohmann::json& value) {
  const auto yaml = model::yaml_from_json(json_text(value, -1));
  session.io.out << yaml << (yaml.ends_with('\n') ? "" : "\n");
}

Column column(std::string header, std::string path, bool wide) {
  return {std::move(header), [path = std::move(path)](const nlohmann::json& item) { return cell(item, path); }, wide};
}

ItemPrinter::ItemPrinter(const Session& session, std::string output, ListView view)
    : session_(session),
      output_(std::move(output)),
      view_(std::move(view)),
      streams_(output_ == "json" && !session.io.tty),
      kept_(nlohmann::json::array()) {}

void ItemPrinter::add(const nlohmann::json& items) {
  if (!items.is_array()) return;
  for (const auto& item : items) {
    if (streams_) {
      session_.io.out << (count_ == 0 ? '[' : ',') << json_text(item, -1);
    } else if (output_ == "json" || output_ == "yaml") {
      kept_.push_back(item);
    } else if (output_ == "name") {
      session_.io.out << view_.name(item) << '\n';
    } else {
      auto& row = rows_.emplace_back();
      for (const auto& shown : view_.columns)
        if (shows(shown)) row.push_back(shown.cell(item));
    }
    ++count_;
  }
}

void ItemPrinter::finish() {
  if (streams_) {
    session_.io.out << (count_ == 0 ? "[]\n" : "]\n");
  } else if (output_ == "json") {
    print_json(session_, kept_);
  } else if (output_ == "yaml") {
    print_yaml(session_, kept_);
  } else if (output_ != "name") {
    if (count_ == 0 && !view_.nothing.empty()) session_.io.err << view_.nothing << '\n';
    std::vector<std::string> headers;
    for (const auto& shown : view_.columns)
      if (shows(shown)) headers.push_back(shown.header);
    print_table(session_.io.out, headers, rows_);
  }
}

int print_items(const Session& session, const nlohmann::json& items, const std::string& output, const ListView& view) {
  ItemPrinter printer(session, output, view);
  printer.add(items);
  printer.finish();
  return exit_ok;
}

}  // namespace weft::cli
