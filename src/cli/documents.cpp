#include "cli/documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>

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

Result<std::string> read_text(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(errno_error(fmt::format("read {}", path), errno == 0 ? EIO : errno));
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) return fail(errno_error(fmt::format("read {}", path), EIO));
  return text;
}

}  // namespace

Result<std::vector<DocumentText>> read_documents(const std::vector<std::string>& paths, bool recursive,
                                                 std::istream& in) {
  std::vector<DocumentText> documents;
  for (const auto& path : paths) {
    if (path == "-") {
      documents.push_back({"(stdin)", std::string{std::istreambuf_iterator<char>(in), {}}});
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
      WEFT_TRY(auto text, read_text(file));
      documents.push_back({file, std::move(text)});
    }
  }
  return documents;
}

}  // namespace weft::cli
