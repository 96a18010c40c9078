#include "cli/documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>

namespace weft::cli {
namespace {

namespace fs = std::filesystem;

bool is_manifest(const fs::path& path) {
  const auto extension = path.extension();
  return extension == ".yaml" || extension == ".yml" || extension == ".json";
}

template <class Iterator>
Result<std::vector<std::string>> manifests_in(const std::string& directory) {
  std::vector<std::string> paths;
  std::error_code error;
  for (Iterator entry(directory, error), end; !error && entry != end; entry.increment(error))
    if (std::error_code ignored; is_manifest(entry->path()) && entry->is_regular_file(ignored))
      paths.push_back(entry->path().string());
  if (error) return fail(errno_error(fmt::format("read directory {}", directory), error.value()));
  std::ranges::sort(paths);
  return paths;
}

// More than the agent would take; a device or a pipe may never end.
constexpr std::size_t most_bytes = std::size_t{16} << 20;

Result<std::string> read_text(std::istream& in, const std::string& name) {
  std::string text;
  std::array<char, 65536> chunk;  // NOLINT: filled by read
  while (in.read(chunk.data(), chunk.size()), in.gcount() > 0) {
    text.append(chunk.data(), static_cast<std::size_t>(in.gcount()));
    if (text.size() > most_bytes)
      return fail(ErrorCode::invalid, fmt::format("{}: holds more than 16 MiB", name), "split it");
  }
  if (in.bad()) return fail(errno_error(fmt::format("read {}", name), EIO));
  return text;
}

Result<std::string> read_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(errno_error(fmt::format("read {}", path), errno == 0 ? EIO : errno));
  return read_text(file, path);
}

// Whether there is anything but white space, comments and the lines between documents.
bool is_blank(std::string_view text) {
  while (!text.empty()) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    line.remove_prefix(std::min(line.size(), line.find_first_not_of(" \t\r")));
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r')) line.remove_suffix(1);
    if (!line.empty() && !line.starts_with('#') && line != "---" && line != "...") return false;
  }
  return true;
}

// Offset of the first byte that is no part of UTF-8 text, or npos.
std::size_t not_utf8_at(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t length = lead < 0x80         ? 1
                               : lead >> 5 == 0x6  ? 2
                               : lead >> 4 == 0xe  ? 3
                               : lead >> 3 == 0x1e ? 4
                                                   : 0;
    if (length == 0 || at + length > text.size()) return at;
    char32_t point = length == 1 ? lead : lead & (0x7fU >> length);
    for (std::size_t i = 1; i < length; ++i) {
      const auto next = static_cast<unsigned char>(text[at + i]);
      if (next >> 6 != 0x2) return at;
      point = point << 6 | (next & 0x3fU);
    }
    constexpr std::array<char32_t, 5> smallest{0, 0, 0x80, 0x800, 0x10000};
    if (point < smallest[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return at;
    at += length;
  }
  return std::string_view::npos;
}

// JSON carries the text to the agent, and JSON is UTF-8.
Result<DocumentText> checked(std::string file, std::string text) {
  if (const auto at = not_utf8_at(text); at != std::string_view::npos) {
    const auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n') + 1;
    return fail(ErrorCode::invalid, fmt::format("{}:{}: holds a byte that is not UTF-8", file, line),
                "save the file as UTF-8");
  }
  return DocumentText{std::move(file), std::move(text)};
}

}  // namespace

Result<std::vector<DocumentText>> read_documents(const std::vector<std::string>& paths, bool recursive,
                                                 std::istream& in) {
  std::vector<DocumentText> documents;
  for (const auto& path : paths) {
    if (path == "-") {
      WEFT_TRY(auto text, read_text(in, "(stdin)"));
      WEFT_TRY(auto document, checked("(stdin)", std::move(text)));
      documents.push_back(std::move(document));
      continue;
    }
    std::vector<std::string> files{path};
    std::error_code error;
    if (fs::is_directory(path, error)) {
      auto found =
          recursive ? manifests_in<fs::recursive_directory_iterator>(path) : manifests_in<fs::directory_iterator>(path);
      WEFT_TRY(files, std::move(found));
      if (files.empty())
        return fail(ErrorCode::not_found, fmt::format("{}: holds no *.yaml, *.yml or *.json file", path),
                    recursive ? "" : "-R looks into its directories too");
    }
    for (const auto& file : files) {
      WEFT_TRY(auto text, read_file(file));
      WEFT_TRY(auto document, checked(file, std::move(text)));
      documents.push_back(std::move(document));
    }
  }
  if (std::ranges::all_of(documents, [](const auto& document) { return is_blank(document.text); }))
    return fail(ErrorCode::invalid, documents.size() == 1
                                        ? fmt::format("{}: holds no document", documents.front().file)
                                        : fmt::format("there is no document in the {} files", documents.size()));
  return documents;
}

}  // namespace weft::cli
