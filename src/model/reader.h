// Reading a Tree against an expected shape: every mismatch becomes a Problem with its place and
// field path, and reading goes on, so that one run reports everything that is wrong.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/parse.h"
#include "model/tree.h"

namespace weft::model {

// Collects what one document has to say. Bounded: a hostile document cannot make it grow without end.
class Report {
 public:
  static constexpr std::size_t most = 50;  // of problems and of warnings

  // How a field that nobody took is met: a user may have misspelt it, an API server has checked it and may be newer.
  enum class Unknown { told, passed_over };
  explicit Report(std::string_view file, Unknown unknown = Unknown::told) : file_(file), unknown_(unknown) {}

  void problem(int line, int column, std::string_view path, std::string message);
  void warning(int line, int column, std::string_view path, std::string message);
  [[nodiscard]] bool clean() const { return problems_.empty(); }
  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] bool tells_unknown() const { return unknown_ == Unknown::told; }
  [[nodiscard]] const std::vector<Problem>& problems() const { return problems_; }
  [[nodiscard]] const std::vector<Problem>& warnings() const { return warnings_; }

 private:
  std::string file_;
  Unknown unknown_;
  std::vector<Problem> problems_;
  std::vector<Problem> warnings_;
};

// One value of the tree with the path that led to it. Valid while the Tree and the Report are.
class Value {
 public:
  Value(const Tree& tree, NodeId id, Report& report, std::string path)
      : tree_(&tree), id_(id), report_(&report), path_(std::move(path)) {}

  [[nodiscard]] const TreeNode& node() const { return tree_->at(id_); }
  [[nodiscard]] const Tree& tree() const { return *tree_; }
  [[nodiscard]] NodeId id() const { return id_; }
  [[nodiscard]] Report& report() const { return *report_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bool is_null() const { return node().type == NodeType::null; }
  [[nodiscard]] Value field(const Field& field) const;
  // The field of a mapping, unchecked; nothing when absent, null, or when this is no mapping.
  [[nodiscard]] std::optional<Value> member(std::string_view name) const;

  void problem(std::string message) const { report_->problem(node().line, node().column, path_, std::move(message)); }
  void warning(std::string message) const { report_->warning(node().line, node().column, path_, std::move(message)); }
  // "expected <what>, found <this value>".
  void expected(std::string_view what) const;

  // Each reports a problem and returns nothing when the value is not of that type.
  [[nodiscard]] std::optional<std::string> string() const;
  [[nodiscard]] std::optional<bool> boolean() const;
  [[nodiscard]] std::optional<std::int64_t> integer(std::int64_t least, std::int64_t most) const;
  // The items; empty for null.
  [[nodiscard]] std::vector<Value> list() const;
  // A mapping of text to text; a null value is the empty text.
  [[nodiscard]] std::vector<std::pair<std::string, Value>> entries() const;

 private:
  const Tree* tree_;
  NodeId id_;
  Report* report_;
  std::string path_;
};

// How unknown fields are met. Even with `warning`, one that is a misspelling of a field that was
// taken is a problem.
enum class Unknown { problem, warning };

// The fields of a mapping, taken one by one; finish() judges what nobody took.
class Fields {
 public:
  // Reports a problem when `value` is not a mapping; then nothing is found in it.
  explicit Fields(const Value& value);

  [[nodiscard]] bool valid() const { return valid_; }
  [[nodiscard]] const Value& value() const { return value_; }
  // Absent and null are the same, as in Kubernetes.
  [[nodiscard]] std::optional<Value> take(std::string_view name);
  // As take, but a missing field is a problem.
  [[nodiscard]] std::optional<Value> require(std::string_view name, std::string_view what);
  // Fields that are right but change nothing here.
  void accept(std::initializer_list<std::string_view> names);
  // A field Kubernetes acts on and Weft does not yet: a warning when present.
  void unsupported(std::string_view name, std::string_view consequence);
  // A field that is not to be had here, for a reason worth saying: to who writes it, or nearly. It is no hint.
  void refuse(std::string_view name, std::string_view why);
  void finish(Unknown unknown = Unknown::problem);

 private:
  // The reason, when the field's name is that of a refused one, or is nearer to it than to any known one.
  [[nodiscard]] std::string_view refusal(std::string_view name) const;
  void report_unknown(const Field& field, Unknown unknown);

  Value value_;
  bool valid_;
  std::vector<std::string_view> known_;
  std::vector<std::string_view> taken_;  // those of known_ that are acted on
  std::vector<std::pair<std::string_view, std::string_view>> refused_;
};

// "\"text\"" with control characters shown and long text cut.
std::string in_quotes(std::string_view text);
// "the number 80", "\"http\"", "a list", "nothing" ...
std::string describe(const TreeNode& node);
// The word of `known` nearest to `word`, empty when none is near.
std::string_view nearest(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace weft::model
