#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <sstream>

#include "model/tree.h"

namespace weft::model {
namespace {

struct BuildError {
  SyntaxError error;
};

// Builds the arena from yaml-cpp's events. Events are used rather than YAML::Node because that
// merges duplicate keys silently and loses the difference between quoted and plain scalars.
class Builder final : public YAML::EventHandler {
 public:
  Builder(std::string_view text, int first_line) : text_(text), first_line_(first_line) {}

  Tree take() { return std::move(tree_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const NodeId id = make(mark);
    if (!stack_.empty() && stack_.back().block_list) {
      const Place place = dash_before(mark);
      tree_.nodes[id].line = place.line;
      tree_.nodes[id].column = place.column;
    }
    finish_scalar(id, anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end() || !found->second.complete)
      fail_at(mark, "an alias refers to the node it stands in, which would never end");
    add(found->second.id, found->second.weight, found->second.height, place_of(mark));
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    const NodeId id = make(mark);
    TreeNode& node = tree_.nodes[id];
    node.text = value;
    node.type = NodeType::string;
    if (tag == "?" || tag.empty()) {
      resolve_plain(node);
      plain_key_ = true;
    } else if (tag != "!" && tag != "tag:yaml.org,2002:str") {
      resolve_tagged(node, tag, mark);
    }
    finish_scalar(id, anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value style) override {
    open(mark, tag, anchor, NodeType::list);
    stack_.back().block_list = style == YAML::EmitterStyle::Block;
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, NodeType::map);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Place {
    int line = 0;
    int column = 0;
  };
  struct Anchor {
    NodeId id = 0;
    std::size_t weight = 0;
    std::size_t height = 0;
    bool complete = false;
  };
  // A list or map whose end has not come yet.
  struct Open {
    NodeId id = 0;
    YAML::anchor_t anchor = 0;
    std::size_t weight = 1;
    std::size_t height = 0;
    bool block_list = false;
    bool has_key = false;
    bool merge = false;  // the pending key is a plain "<<"
    Field key;
    std::map<std::string, int, std::less<>> seen;  // key -> line
    std::vector<std::pair<NodeId, Place>> merges;
  };

  [[nodiscard]] Place place_of(const YAML::Mark& mark) const { return {first_line_ + mark.line, mark.column + 1}; }

  // The "-" of an item without a value: yaml-cpp marks whatever comes next.
  [[nodiscard]] Place dash_before(const YAML::Mark& mark) const {
    std::string_view before = text_.substr(0, std::min(text_.size(), static_cast<std::size_t>(std::max(0, mark.pos))));
    before = before.substr(0, before.find_last_of('\n') + 1);
    for (int line = mark.line - 1; line >= 0 && before.ends_with('\n'); --line) {
      before.remove_suffix(1);
      const auto start = before.find_last_of('\n') + 1;
      std::string_view text = before.substr(start);
      if (const auto comment = text.find('#'); comment != std::string_view::npos) text = text.substr(0, comment);
      const auto last = text.find_last_not_of(" \t\r");
      if (last != std::string_view::npos)
        return text[last] == '-' ? Place{first_line_ + line, static_cast<int>(last) + 1} : place_of(mark);
      before = before.substr(0, start);
    }
    return place_of(mark);
  }

  [[noreturn]] static void fail_at(Place place, std::string message) {
    throw BuildError{{place.line, place.column, std::move(message)}};
  }
  [[noreturn]] void fail_at(const YAML::Mark& mark, std::string message) const {
    fail_at(place_of(mark), std::move(message));
  }

  [[noreturn]] static void fail_depth(Place place) {
    fail_at(place, fmt::format("values are nested more than {} deep", Limits::depth));
  }

  NodeId make(const YAML::Mark& mark) {
    if (tree_.nodes.size() >= Limits::nodes)
      fail_at(mark, fmt::format("the document has more than {} values; split it", Limits::nodes));
    TreeNode node;
    const Place place = place_of(mark);
    node.line = place.line;
    node.column = place.column;
    tree_.nodes.push_back(std::move(node));
    return static_cast<NodeId>(tree_.nodes.size() - 1);
  }

  void resolve_tagged(TreeNode& node, const std::string& tag, const YAML::Mark& mark) {
    resolve_plain(node);
    const auto is = [&](std::string_view word, NodeType type) {
      return tag == fmt::format("tag:yaml.org,2002:{}", word) && node.type == type;
    };
    if (is("int", NodeType::integer) || is("bool", NodeType::boolean) || is("float", NodeType::real) ||
        is("float", NodeType::integer) || is("null", NodeType::null))
      return;
    fail_at(mark, fmt::format("the tag {} is not understood here; leave it out", tag));
  }

  // Weight counts values and, by 32 bytes, text, each as often as aliases repeat it.
  static std::size_t weight_of(const TreeNode& node) { return 1 + node.text.size() / 32; }

  void finish_scalar(NodeId id, YAML::anchor_t anchor) {
    const TreeNode& node = tree_.nodes[id];
    const Place place{node.line, node.column};
    const std::size_t weight = weight_of(node);
    if (anchor != 0) anchors_[anchor] = {id, weight, 0, true};
    add(id, weight, 0, place);
    plain_key_ = false;
  }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, NodeType type) {
    const std::string_view own = type == NodeType::list ? "tag:yaml.org,2002:seq" : "tag:yaml.org,2002:map";
    if (!tag.empty() && tag != "?" && tag != "!" && tag != own)
      fail_at(mark, fmt::format("the tag {} is not understood here; leave it out", tag));
    if (stack_.size() >= Limits::depth) fail_depth(place_of(mark));
    const NodeId id = make(mark);
    tree_.nodes[id].type = type;
    if (anchor != 0) anchors_[anchor] = {id, 0, 0, false};
    Open frame;
    frame.id = id;
    frame.anchor = anchor;
    stack_.push_back(std::move(frame));
  }

  void close() {
    Open frame = std::move(stack_.back());
    stack_.pop_back();
    apply_merges(frame);
    if (frame.anchor != 0) anchors_[frame.anchor] = {frame.id, frame.weight, frame.height, true};
    const TreeNode& node = tree_.nodes[frame.id];
    add(frame.id, frame.weight, frame.height, {node.line, node.column});
  }

  void add(NodeId id, std::size_t weight, std::size_t height, Place place) {
    if (stack_.empty()) {
      tree_.root = id;
      return;
    }
    Open& top = stack_.back();
    top.weight += weight;
    top.height = std::max(top.height, height + 1);
    if (top.height + stack_.size() > Limits::depth) fail_depth(place);
    if (top.weight > 4 * Limits::nodes)
      fail_at(place, "the document grows beyond every reasonable size once its aliases are followed");
    TreeNode& parent = tree_.nodes[top.id];
    if (parent.type == NodeType::list) {
      parent.items.push_back(id);
    } else if (!top.has_key) {
      take_key(top, tree_.nodes[id], place);
    } else {
      take_value(top, id, place);
    }
  }

  void take_key(Open& top, const TreeNode& key, Place place) {
    if (key.type == NodeType::list || key.type == NodeType::map)
      fail_at(place, "a mapping's key must be text, found a list or a mapping");
    if (key.type == NodeType::null) fail_at(place, "a mapping's key is missing before \":\"");
    top.has_key = true;
    top.merge = plain_key_ && key.text == "<<";
    top.key = Field{key.text, 0, place.line, place.column};
    if (top.merge) return;
    const auto [found, fresh] = top.seen.try_emplace(key.text, place.line);
    if (!fresh)
      fail_at(place, fmt::format("the key \"{}\" is given twice, first on line {}; keep one", key.text, found->second));
  }

  void take_value(Open& top, NodeId id, Place place) {
    top.has_key = false;
    if (top.merge) {
      top.merges.emplace_back(id, place);
      return;
    }
    TreeNode& value = tree_.nodes[id];
    if (value.type == NodeType::null) {
      // yaml-cpp gives the place of whatever comes next.
      value.line = top.key.line;
      value.column = top.key.column;
    }
    top.key.value = id;
    tree_.nodes[top.id].fields.push_back(std::move(top.key));
  }

  // YAML 1.1's "<<": the named mappings' fields, where the mapping itself does not set them.
  void apply_merges(Open& frame) {
    std::vector<NodeId> sources;
    for (const auto& [id, place] : frame.merges) {
      const TreeNode& node = tree_.nodes[id];
      if (node.type == NodeType::map)
        sources.push_back(id);
      else if (node.type == NodeType::list)
        sources.insert(sources.end(), node.items.begin(), node.items.end());
      else
        fail_at(place, "\"<<\" takes a mapping or a list of mappings");
    }
    for (const NodeId source : sources) {
      const TreeNode& node = tree_.nodes[source];
      if (node.type != NodeType::map) fail_at({node.line, node.column}, "\"<<\" takes a mapping or a list of mappings");
      const std::vector<Field> fields = node.fields;
      for (const Field& field : fields)
        if (frame.seen.try_emplace(field.name, field.line).second) tree_.nodes[frame.id].fields.push_back(field);
    }
  }

  std::string_view text_;
  int first_line_;
  bool plain_key_ = false;
  Tree tree_;
  std::vector<Open> stack_;
  std::map<YAML::anchor_t, Anchor> anchors_;
};

std::string_view line_at(std::string_view text, int index) {
  for (; index > 0; --index) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  return text.substr(0, text.find('\n'));
}

// yaml-cpp's terser messages in plainer words.
std::string plainer(const std::string& message) {
  struct Wording {
    std::string_view theirs;
    std::string_view ours;
  };
  static constexpr std::array wordings{
      Wording{"end of map not found", "this line's indentation fits no mapping above it"},
      Wording{"end of sequence not found", "this line's indentation fits no list above it"},
      Wording{"end of map flow not found", "a \"{\" before here is not closed by \"}\""},
      Wording{"end of sequence flow not found", "a \"[\" before here is not closed by \"]\""},
      Wording{"illegal map value", "a \":\" where no mapping can begin; check the indentation and the quotes"},
      Wording{"illegal document indicator in scalar", "quoted text before here has no closing quote"},
      Wording{"illegal EOF in scalar", "quoted text before here has no closing quote"},
  };
  for (const auto& [theirs, ours] : wordings)
    if (message == theirs) return "not valid YAML: " + std::string(ours);
  return "not valid YAML: " + message;
}

bool indented_by_tab(std::string_view line) {
  const auto end = line.find_first_not_of(" \t");
  return line.substr(0, end).find('\t') != std::string_view::npos;
}

void add_template_hint(SyntaxError& error, std::string_view text, int first_line) {
  if (line_at(text, error.line - first_line).find("{{") != std::string_view::npos)
    error.message += "; this looks like a template, which must be rendered first";
}

// A tab in the indentation is a cause yaml-cpp's messages never name.
void name_tab(SyntaxError& error, std::string_view text, int first_line) {
  const int index = error.line - first_line;
  for (int back = 0; back <= 1 && index >= back; ++back) {
    if (!indented_by_tab(line_at(text, index - back))) continue;
    error.line -= back;
    error.column = 1;
    error.message = "a tab is used for indentation; YAML takes only spaces there";
    return;
  }
}

}  // namespace

namespace {

// yaml-cpp takes in all brackets of a line before it hands over the first, a hundred bytes and more
// for each: what could never be accepted is refused before. Brackets within strings count too, which
// is why this is far above Limits::depth.
std::optional<SyntaxError> refuse_brackets(std::string_view text, int first_line) {
  constexpr std::size_t most_open = 10000;
  std::size_t open = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '[' || text[i] == '{') ++open;
    if ((text[i] == ']' || text[i] == '}') && open > 0) --open;
    if (open <= most_open) continue;
    const auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(i), '\n');
    return SyntaxError{first_line + static_cast<int>(line), 1,
                       fmt::format("more than {} brackets are open", most_open)};
  }
  return std::nullopt;
}

}  // namespace

std::expected<Tree, SyntaxError> tree_from_yaml(std::string_view text, int first_line) {
  if (auto refused = refuse_brackets(text, first_line)) return std::unexpected(std::move(*refused));
  // The end marker makes yaml-cpp see an unclosed quote, which it lets pass at the end of the text.
  std::istringstream stream{std::string(text) + (text.ends_with('\n') ? "...\n" : "\n...\n")};
  try {
    YAML::Parser parser(stream);
    Builder builder(text, first_line);
    if (!parser.HandleNextDocument(builder)) builder.OnNull(YAML::Mark::null_mark(), 0);
    Builder rest(text, first_line);
    if (parser.HandleNextDocument(rest)) {
      const Tree extra = rest.take();
      const TreeNode& node = extra.at(extra.root);
      return std::unexpected(SyntaxError{node.line, node.column, "expected the end of the document, found more text"});
    }
    return builder.take();
  } catch (BuildError& caught) {
    add_template_hint(caught.error, text, first_line);
    return std::unexpected(std::move(caught.error));
  } catch (const YAML::Exception& caught) {
    const int index = std::max(0, caught.mark.line);
    SyntaxError error{first_line + index, std::max(0, caught.mark.column) + 1, plainer(caught.msg)};
    add_template_hint(error, text, first_line);
    name_tab(error, text, first_line);
    return std::unexpected(std::move(error));
  } catch (const std::exception& caught) {
    return std::unexpected(SyntaxError{first_line, 1, std::string("cannot be read: ") + caught.what()});
  }
}

}  // namespace weft::model
