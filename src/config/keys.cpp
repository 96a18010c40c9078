#include "config/keys.h"

namespace weft::config {

Result<std::vector<std::string>> read_texts(const YAML::Node& node) {
  if (!node.IsSequence()) return fail(ErrorCode::invalid, "expected a list");
  std::vector<std::string> values;
  for (const auto& item : node) {
    WEFT_TRY(auto value, scalar<std::string>(item, "text"));
    values.push_back(std::move(value));
  }
  return values;
}

Result<std::string> parse_log_level(std::string_view text) {
  for (const auto* known : {"error", "warn", "info", "debug"})
    if (text == known) return std::string(text);
  return fail(ErrorCode::invalid, fmt::format("expected error, warn, info or debug, found \"{}\"", text));
}

std::string place(const std::string& file, const YAML::Mark& mark) {
  return fmt::format("{}:{}:{}", file, mark.line + 1, mark.column + 1);
}

Result<YAML::Node> read_document(const std::string& file, std::string_view text, std::string_view example) {
  try {
    auto document = YAML::Load(std::string(text));
    if (!document.IsNull() && !document.IsMap())
      return fail(ErrorCode::invalid, fmt::format("{}: expected a mapping of keys", file));
    return document;
  } catch (const YAML::Exception& exception) {
    return fail(ErrorCode::invalid, fmt::format("{}: this is not YAML: {}", place(file, exception.mark), exception.msg),
                fmt::format("a key and its value are written \"key: value\"; deploy/{} shows every key", example));
  }
}

}  // namespace weft::config
