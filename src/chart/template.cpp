#include "chart/template.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <vector>

namespace weft::chart {

using nlohmann::json;

// A word of a command: a path from "." or a variable, or a constant.
struct Word {
  enum class Kind : std::uint8_t { path, constant, function };
  Kind kind = Kind::constant;
  std::string name;               // of the variable a path begins with, empty: "."; or of the function
  std::vector<std::string> path;  // below it
  json value;                     // of a constant
};
using Command = std::vector<Word>;
using Pipeline = std::vector<Command>;

struct TemplateNode {
  enum class Kind : std::uint8_t { block, text, output, condition, range };
  Kind kind = Kind::block;
  int line = 0;
  std::string text;
  Pipeline pipeline;
  std::string key;  // variables of a range
  std::string value;
  std::vector<std::unique_ptr<TemplateNode>> body;
  std::vector<std::unique_ptr<TemplateNode>> otherwise;
};

namespace {

using NodePtr = std::unique_ptr<TemplateNode>;
using Defined = std::map<std::string, NodePtr, std::less<>>;

constexpr std::string_view white = " \t\r\n";

// What stands between "{{" and "}}", or outside of them.
struct Piece {
  bool action = false;
  int line = 0;
  std::string_view text;
};

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(white);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(white) - begin + 1);
}

Result<std::vector<Piece>> cut(const std::string& name, std::string_view text) {
  std::vector<Piece> pieces;
  int line = 1;
  bool trim = false;  // the action before took the white space that follows
  while (true) {
    const auto open = text.find("{{");
    std::string_view plain = text.substr(0, open);
    const int begins = line;
    line += static_cast<int>(std::ranges::count(plain, '\n'));
    if (trim) plain.remove_prefix(std::min(plain.find_first_not_of(white), plain.size()));
    if (open == std::string_view::npos) {
      pieces.push_back({false, begins, plain});
      return pieces;
    }
    const auto close = text.find("}}", open);
    if (close == std::string_view::npos)
      return fail(ErrorCode::invalid, fmt::format("{}:{}: \"{{{{\" without \"}}}}\"", name, line));
    std::string_view inside = text.substr(open + 2, close - open - 2);
    const int at = line;
    line += static_cast<int>(std::ranges::count(inside, '\n'));
    if (inside.starts_with("- ")) {
      plain = plain.substr(0, plain.find_last_not_of(white) + 1);
      inside.remove_prefix(1);
    }
    trim = inside.ends_with(" -");
    if (trim) inside.remove_suffix(1);
    pieces.push_back({false, begins, plain});
    if (inside = trimmed(inside); !inside.starts_with("/*")) pieces.push_back({true, at, inside});
    text.remove_prefix(close + 2);
  }
}

class Parser {
 public:
  Parser(std::string name, std::vector<Piece> pieces, Defined& defined)
      : name_(std::move(name)), pieces_(std::move(pieces)), defined_(defined) {}

  Result<NodePtr> parse() {
    auto root = std::make_unique<TemplateNode>();
    WEFT_TRY(const std::string end, parse_into(root->body));
    if (!end.empty()) return wrong(fmt::format("\"{}\" belongs to nothing", end));
    return root;
  }

 private:
  [[nodiscard]] std::unexpected<Error> wrong(std::string_view what) const {
    return fail(ErrorCode::invalid, fmt::format("{}:{}: {}", name_, line_, what));
  }

  // Up to "end" or "else", which is told; empty: up to the end of the file.
  Result<std::string> parse_into(std::vector<NodePtr>& nodes) {
    while (at_ < pieces_.size()) {
      const Piece& piece = pieces_[at_++];
      line_ = piece.line;
      if (!piece.action) {
        if (piece.text.empty()) continue;
        auto node = std::make_unique<TemplateNode>();
        node->kind = TemplateNode::Kind::text;
        node->text = piece.text;
        nodes.push_back(std::move(node));
        continue;
      }
      const auto word = piece.text.substr(0, piece.text.find_first_of(white));
      const auto rest = trimmed(piece.text.substr(word.size()));
      if (word == "end" || word == "else") return std::string(piece.text);
      auto node = std::make_unique<TemplateNode>();
      node->line = piece.line;
      if (word == "define") {
        WEFT_CHECK(parse_define(std::move(node), rest));
        continue;
      }
      if (word == "if") {
        WEFT_CHECK(parse_condition(*node, rest));
      } else if (word == "range") {
        WEFT_CHECK(parse_range(*node, rest));
      } else {
        node->kind = TemplateNode::Kind::output;
        WEFT_TRY(node->pipeline, parse_pipeline(piece.text));
      }
      nodes.push_back(std::move(node));
    }
    return std::string();
  }

  Result<void> parse_body(std::vector<NodePtr>& nodes) {
    const int begun = line_;
    WEFT_TRY(const std::string end, parse_into(nodes));
    if (end == "end") return {};
    line_ = begun;
    return wrong("this has no \"end\"");
  }

  Result<void> parse_define(NodePtr node, std::string_view rest) {
    if (rest.size() < 3 || rest.front() != '"' || rest.back() != '"') return wrong("define needs a name in quotes");
    WEFT_CHECK(parse_body(node->body));
    if (!defined_.emplace(std::string(rest.substr(1, rest.size() - 2)), std::move(node)).second)
      return wrong(fmt::format("{} is defined twice", rest));
    return {};
  }

  Result<void> parse_condition(TemplateNode& node, std::string_view rest) {
    node.kind = TemplateNode::Kind::condition;
    WEFT_TRY(node.pipeline, parse_pipeline(rest));
    const int begun = line_;
    WEFT_TRY(const std::string end, parse_into(node.body));
    if (end == "end") return {};
    if (end == "else") return parse_body(node.otherwise);
    line_ = begun;
    return wrong("if needs else or end");
  }

  // $key, $value := PIPELINE
  Result<void> parse_range(TemplateNode& node, std::string_view rest) {
    node.kind = TemplateNode::Kind::range;
    const auto comma = rest.find(',');
    const auto assign = rest.find(":=");
    if (comma == std::string_view::npos || assign == std::string_view::npos || assign < comma)
      return wrong("range needs $key, $value := and a mapping");
    node.key = trimmed(rest.substr(0, comma));
    node.value = trimmed(rest.substr(comma + 1, assign - comma - 1));
    WEFT_TRY(node.pipeline, parse_pipeline(rest.substr(assign + 2)));
    return parse_body(node.body);
  }

  Result<Pipeline> parse_pipeline(std::string_view text) const {
    Pipeline pipeline(1);
    while (!(text = trimmed(text)).empty()) {
      if (text.front() == '|') {
        pipeline.emplace_back();
        text.remove_prefix(1);
        continue;
      }
      const auto size = text.front() == '"' ? text.find('"', 1) : text.find_first_of(" \t\r\n|");
      if (text.front() == '"' && size == std::string_view::npos) return wrong("a text without its second quote");
      const auto word = text.substr(0, text.front() == '"' ? size + 1 : size);
      text.remove_prefix(word.size());
      WEFT_TRY(auto parsed, parse_word(word, pipeline.back().empty()));
      pipeline.back().push_back(std::move(parsed));
    }
    for (const auto& command : pipeline)
      if (command.empty()) return wrong("a command is missing");
    return pipeline;
  }

  Result<Word> parse_word(std::string_view text, bool first) const {
    if (text.front() == '"') return Word{.value = std::string(text.substr(1, text.size() - 2))};
    std::int64_t number = 0;
    if (const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
        read.ec == std::errc() && read.ptr == text.data() + text.size())
      return Word{.value = number};
    if (text.front() != '.' && text.front() != '$') {
      static constexpr std::array functions{"include", "eq", "semverCompare", "toJson", "nindent", "sha256sum"};
      if (first && std::ranges::find(functions, text) != functions.end())
        return Word{.kind = Word::Kind::function, .name = std::string(text)};
      return wrong(fmt::format("\"{}\" is not known here", text));
    }
    Word word{.kind = Word::Kind::path};
    const auto dot = std::min(text.find('.'), text.size());
    word.name = text.substr(0, dot);
    text.remove_prefix(dot);
    while (text.size() > 1) {
      const auto next = std::min(text.find('.', 1), text.size());
      word.path.emplace_back(text.substr(1, next - 1));
      text.remove_prefix(next);
    }
    return word;
  }

  std::string name_;
  std::vector<Piece> pieces_;
  Defined& defined_;
  std::size_t at_ = 0;
  int line_ = 0;
};

bool holds(const json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value != 0;
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return !value.empty();
}

std::string text_of(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

// As Go writes JSON: what HTML would take for its own is spelled by its number.
std::string json_text(const json& value) {
  std::string text;
  for (const char c : value.dump()) {
    if (c == '<' || c == '>' || c == '&')
      text += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      text += c;
  }
  return text;
}

// The first two numbers of "v1.30.2+k3s1", ">=1.30-0".
std::optional<std::pair<int, int>> minor_version(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_of("0123456789"), text.size()));
  std::pair<int, int> version;
  const char* end = text.end();
  const auto major = std::from_chars(text.begin(), end, version.first);
  if (major.ec != std::errc() || major.ptr == end || *major.ptr != '.') return std::nullopt;
  if (std::from_chars(major.ptr + 1, end, version.second).ec != std::errc()) return std::nullopt;
  return version;
}

std::string sha256(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
  std::string words;
  for (unsigned i = 0; i < size; ++i) words += fmt::format("{:02x}", digest[i]);
  return words;
}

std::string nindent(std::string_view text, std::size_t width) {
  const std::string pad = "\n" + std::string(width, ' ');
  std::string result = pad;
  for (const char c : text) result += c == '\n' ? pad : std::string(1, c);
  return result;
}

class Renderer {
 public:
  Renderer(std::string file, const Defined& defined, const json& data)
      : file_(std::move(file)), defined_(defined), data_(data) {}

  Result<std::string> render(const std::vector<NodePtr>& nodes) {
    std::string text;
    for (const auto& node : nodes) WEFT_CHECK(render(*node, text));
    return text;
  }

 private:
  [[nodiscard]] std::unexpected<Error> wrong(std::string_view what) const {
    return fail(ErrorCode::invalid, fmt::format("{}:{}: {}", file_, line_, what));
  }

  Result<void> append(const std::vector<NodePtr>& nodes, std::string& text) {
    for (const auto& node : nodes) WEFT_CHECK(render(*node, text));
    return {};
  }

  Result<void> render(const TemplateNode& node, std::string& text) {
    if (node.kind == TemplateNode::Kind::text) {
      text += node.text;
      return {};
    }
    line_ = node.line;
    WEFT_TRY(const json value, evaluate(node.pipeline));
    switch (node.kind) {
      case TemplateNode::Kind::output:
        text += text_of(value);
        return {};
      case TemplateNode::Kind::condition:
        return append(holds(value) ? node.body : node.otherwise, text);
      default:
        break;
    }
    if (!value.is_null() && !value.is_object()) return wrong("range is for mappings here");
    for (const auto& [key, item] : value.items()) {
      variables_[node.key] = key;
      variables_[node.value] = item;
      WEFT_CHECK(append(node.body, text));
    }
    return {};
  }

  Result<json> evaluate(const Pipeline& pipeline) {
    std::optional<json> last;
    for (const auto& command : pipeline) {
      WEFT_TRY(last, run(command, last));
    }
    return *last;
  }

  Result<json> run(const Command& command, const std::optional<json>& last) {
    const bool function = command.front().kind == Word::Kind::function;
    std::vector<json> arguments;
    for (const auto& word : command) {
      if (word.kind == Word::Kind::function) continue;
      WEFT_TRY(arguments.emplace_back(), value_of(word));
    }
    if (!function) {
      if (arguments.size() != 1 || last) return wrong("a value is no function");
      return arguments.front();
    }
    if (last) arguments.push_back(*last);
    const auto& name = command.front().name;
    if (name == "toJson" && arguments.size() == 1) return json(json_text(arguments[0]));
    if (name == "sha256sum" && arguments.size() == 1) return json(sha256(text_of(arguments[0])));
    if (name == "eq" && arguments.size() == 2) return json(arguments[0] == arguments[1]);
    if (name == "semverCompare" && arguments.size() == 2) return compare_versions(arguments);
    if (name == "nindent" && arguments.size() == 2 && arguments[0].is_number())
      return json(nindent(text_of(arguments[1]), arguments[0].get<std::size_t>()));
    if (name == "include" && arguments.size() == 2 && arguments[0].is_string()) return include(arguments);
    return wrong(fmt::format("{} does not take these arguments", name));
  }

  [[nodiscard]] Result<json> compare_versions(const std::vector<json>& arguments) const {
    const auto wanted = text_of(arguments[0]);
    const auto least = minor_version(wanted);
    const auto version = minor_version(text_of(arguments[1]));
    if (!wanted.starts_with(">=") || !wanted.ends_with("-0") || !least || !version)
      return wrong(fmt::format("semverCompare is for \">=MAJOR.MINOR-0\" and a version here, not {} and {}",
                               arguments[0].dump(), arguments[1].dump()));
    return json(*version >= *least);
  }

  Result<json> include(const std::vector<json>& arguments) {
    const auto found = defined_.find(arguments[0].get<std::string>());
    if (found == defined_.end()) return wrong(fmt::format("nothing defines {}", arguments[0].dump()));
    if (++depth_ > 20) return wrong("templates include each other in a circle");
    WEFT_TRY(auto text, render(found->second->body));
    --depth_;
    return json(std::move(text));
  }

  Result<json> value_of(const Word& word) {
    if (word.kind == Word::Kind::constant) return word.value;
    const json* at = &data_;
    if (!word.name.empty()) {
      const auto found = variables_.find(word.name);
      if (found == variables_.end()) return wrong(fmt::format("{} is not known here", word.name));
      at = &found->second;
    }
    for (const auto& name : word.path) {
      if (!at->is_object() || !at->contains(name)) return wrong(fmt::format("there is no \"{}\"", name));
      at = &at->at(name);
    }
    return *at;
  }

  std::string file_;
  const Defined& defined_;
  const json& data_;
  std::map<std::string, json> variables_;
  int line_ = 0;
  int depth_ = 0;
};

}  // namespace

Templates::Templates() = default;
Templates::~Templates() = default;

Result<void> Templates::add(const std::string& name, std::string_view text) {
  WEFT_TRY(auto pieces, cut(name, text));
  WEFT_TRY(files_[name], Parser(name, std::move(pieces), defined_).parse());
  return {};
}

Result<std::string> Templates::render(const std::string& name, const json& data) const {
  const auto found = files_.find(name);
  if (found == files_.end()) return fail(ErrorCode::not_found, fmt::format("there is no template {}", name));
  return Renderer(name, defined_, data).render(found->second->body);
}

}  // namespace weft::chart
