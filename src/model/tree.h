// A parsed document as an arena of nodes that remember where they were written. Both YAML text and
// stored JSON become a Tree, so there is one decoder for the two.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weft::model {

using NodeId = std::uint32_t;

enum class NodeType : std::uint8_t { null, boolean, integer, real, string, list, map };

struct Field {
  std::string name;
  NodeId value = 0;
  int line = 0;
  int column = 0;
};

struct TreeNode {
  NodeType type = NodeType::null;
  bool truth = false;        // boolean
  int line = 0;              // 1-based in the file, 0 when unknown
  int column = 0;            // 1-based
  std::int64_t integer = 0;  // integer
  std::string text;          // a scalar as written; a string's value
  std::vector<NodeId> items;
  std::vector<Field> fields;
};

// Several fields may name one node (a YAML alias), so a walk may meet a node more than once; the
// builders bound the size of that walk (Limits).
struct Tree {
  std::vector<TreeNode> nodes;
  NodeId root = 0;
  [[nodiscard]] const TreeNode& at(NodeId id) const { return nodes[id]; }
};

// What one document may cost. Counted after aliases are followed, so that a few hundred bytes of
// nested aliases cannot stand for gigabytes.
struct Limits {
  static constexpr std::size_t document_bytes = 4UL << 20;
  static constexpr std::size_t text_bytes = 64UL << 20;
  static constexpr std::size_t documents = 20000;
  static constexpr std::size_t nodes = 250000;
  static constexpr std::size_t depth = 100;
};

struct SyntaxError {
  int line = 0;
  int column = 0;
  std::string message;
};

// `text` is one document that starts at `first_line` of its file. The root is null for a document
// without content.
std::expected<Tree, SyntaxError> tree_from_yaml(std::string_view text, int first_line);

// Fails on what is not JSON and on nesting beyond the limit; lines are 0.
Result<Tree> tree_from_json(const nlohmann::json& json);

// Fields that are null are dropped, as Kubernetes does; null annotations become empty.
nlohmann::json json_from_tree(const Tree& tree, NodeId id);

// Sets the type of a plain (unquoted) scalar by YAML 1.1's rules, which Kubernetes follows: yes, no,
// on and off are booleans.
void resolve_plain(TreeNode& node);

}  // namespace weft::model
