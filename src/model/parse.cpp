#include "model/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "model/documents.h"
#include "model/stored.h"

namespace weft::model {
namespace {

class ManifestReader {
 public:
  explicit ManifestReader(std::string_view file) : file_(file) {}

  ParseOutcome take() && { return std::move(outcome_); }

  void refuse(int line, int column, std::string message) {
    outcome_.problems.push_back({file_, line, column, "", std::move(message)});
  }

  void read(const DocumentText& document) {
    if (document.text.size() > Limits::document_bytes)
      return refuse(document.first_line, 1,
                    fmt::format("expected a document of at most {} bytes, found {}; split it", Limits::document_bytes,
                                document.text.size()));
    if (const auto bad = find_bad_byte(document.text); bad != std::string_view::npos) return refuse_byte(document, bad);
    const auto tree = tree_from_yaml(document.text, document.first_line);
    if (!tree) return refuse(tree.error().line, tree.error().column, tree.error().message);
    const TreeNode& root = tree->at(tree->root);
    if (root.type == NodeType::null) return;
    Report report(file_);
    read_object(Value(*tree, tree->root, report, ""), report, 0);
  }

 private:
  void refuse_byte(const DocumentText& document, std::size_t at) {
    const auto before = document.text.substr(0, at);
    const auto last = before.rfind('\n');
    const auto line = document.first_line + static_cast<int>(std::ranges::count(before, '\n'));
    const auto column = static_cast<int>(last == std::string_view::npos ? at : at - last - 1) + 1;
    refuse(line, column,
           fmt::format("expected UTF-8 text, found the {} 0x{:02x}",
                       static_cast<unsigned char>(document.text[at]) < 0x80 ? "control character" : "byte",
                       static_cast<unsigned char>(document.text[at])));
  }

  void keep(const Report& report) {
    append_sorted(outcome_.problems, report.problems());
    append_sorted(outcome_.warnings, report.warnings());
  }

  // In the order of the text; reading goes by fields.
  static void append_sorted(std::vector<Problem>& all, const std::vector<Problem>& added) {
    const auto old = static_cast<std::ptrdiff_t>(all.size());
    all.insert(all.end(), added.begin(), added.end());
    std::sort(all.begin() + old, all.end(), [](const Problem& a, const Problem& b) {
      return std::tie(a.line, a.column, a.path) < std::tie(b.line, b.column, b.path);
    });
  }

  // One document, or one item of a List with its own Report.
  void read_object(const Value& root, Report& report, int depth) {
    if (root.node().type == NodeType::map) {
      Fields fields(root);
      judge(root, fields, report, depth);
    } else {
      root.expected("an object with apiVersion, kind and metadata");
    }
    keep(report);
  }

  void judge(const Value& root, Fields& fields, Report& report, int depth) {
    const auto version = fields.take("apiVersion");
    const auto kind = fields.take("kind");
    if (!version && !kind) return root.problem("apiVersion and kind are missing; every Kubernetes object names both");
    const auto version_text =
        version ? version->string() : (void(fields.require("apiVersion", "one such as v1 or apps/v1")), std::nullopt);
    const auto kind_text =
        kind ? kind->string() : (void(fields.require("kind", "one such as Pod or Service")), std::nullopt);
    if (!version_text || !kind_text) return;
    const KindVerdict verdict = judge_kind(*version_text, *kind_text);
    const Value& about = verdict.about_version ? *version : *kind;
    switch (verdict.action) {
      case KindVerdict::Action::refuse:
        return about.problem(verdict.message);
      case KindVerdict::Action::skip:
        return about.warning(verdict.message);
      case KindVerdict::Action::list:
        return read_list(root, fields, depth);
      case KindVerdict::Action::decode:
        break;
    }
    if (!verdict.message.empty()) about.warning(verdict.message);
    Object object = decode_object(*verdict.entry, root);
    if (!report.clean()) return;
    note_repeated(root, object, report);
    std::string json = stored_json(*verdict.entry, root, object);
    outcome_.documents.push_back({std::move(object), std::move(json), place_of(root), asked_of(root)});
  }

  [[nodiscard]] std::vector<Problem> asked_of(const Value& root) const {
    std::vector<Problem> asked;
    const auto add = [&](const std::optional<Value>& above, std::string_view name) {
      const auto value = above ? above->member(name) : std::nullopt;
      if (value) asked.push_back({file_, value->node().line, value->node().column, value->path(), {}});
    };
    const auto spec = root.member("spec");
    add(spec, "loadBalancerIP");
    add(spec, "externalIPs");
    const auto addresses = spec ? spec->member("addresses") : std::nullopt;  // a LoadBalancerPool's
    if (addresses && addresses->node().type == NodeType::list)
      for (const auto& range : addresses->list())
        asked.push_back({file_, range.node().line, range.node().column, range.path(), {}});
    const auto cidrs = spec ? spec->member("cidrs") : std::nullopt;  // a PodAddressPool's
    add(spec, "cidrs");
    if (cidrs && cidrs->node().type == NodeType::list)
      for (const auto& range : cidrs->list()) {
        add(range, "cidr");
        add(range, "blockLength");
      }
    add(spec, "healthCheckNodePort");
    const auto ports = spec ? spec->member("ports") : std::nullopt;
    if (ports && ports->node().type == NodeType::list)
      for (const auto& port : ports->list()) {
        add(port, "nodePort");
        add(port, "targetPort");
      }
    const auto metadata = root.member("metadata");
    add(metadata ? metadata->member("annotations") : std::nullopt, "weft.io/load-balancer-ips");
    return asked;
  }

  [[nodiscard]] Problem place_of(const Value& root) const {
    const Value* found = &root;
    std::optional<Value> spec = field_of(root, "spec");
    std::optional<Value> named;
    for (const auto* name : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"})
      if (spec && !named) named = field_of(*spec, name);
    if (named) found = &*named;
    return {file_, found->node().line, found->node().column, found->path(), {}};
  }

  static std::optional<Value> field_of(const Value& value, std::string_view name) {
    for (const auto& field : value.node().fields)
      if (field.name == name) return value.field(field);
    return std::nullopt;
  }

  void read_list(const Value& root, Fields& fields, int depth) {
    fields.accept({"metadata"});
    const auto items = fields.take("items");
    fields.finish();
    if (depth > 0) return root.problem("a List inside a List; expected objects");
    if (!items) return;
    for (const Value& item : items->list()) {
      Report report(file_);
      read_object(Value(item.tree(), item.id(), report, item.path()), report, depth + 1);
    }
  }

  void note_repeated(const Value& root, const Object& object, Report& report) {
    const Metadata& meta = metadata_of(object);
    const auto [first, fresh] = seen_.try_emplace({kind_of(object), meta.namespace_, meta.name}, root.node().line);
    if (fresh) return;
    report.warning(root.node().line, root.node().column, root.path(),
                   fmt::format("{} {} is given twice, first on line {}; the later one counts",
                               to_string(kind_of(object)), meta.key().to_string(), first->second));
    first->second = root.node().line;
  }

  std::string file_;
  ParseOutcome outcome_;
  std::map<std::tuple<Kind, std::string, std::string>, int> seen_;
};

}  // namespace

std::string Problem::to_string() const {
  std::string text = fmt::format("{}:{}:{}: ", file, line, column);
  if (!path.empty()) text += path + ": ";
  return text + message;
}

Problem Document::refused(std::string_view reason) const {
  const auto end = reason.find(": ");
  const auto path = reason.substr(0, end);
  const auto named = [&](std::string_view wanted) { return std::ranges::find(fields, wanted, &Problem::path); };
  auto found = named(path);
  if (found == fields.end() && path == "spec.loadBalancerIP")
    found = named("metadata.annotations[\"weft.io/load-balancer-ips\"]");
  auto problem = found == fields.end() ? place : *found;
  problem.message = found == fields.end() ? reason : reason.substr(end + 2);
  return problem;
}

ParseOutcome parse_manifests(std::string_view file, std::string_view text) {
  ManifestReader reader(file);
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (text.size() > Limits::text_bytes) {
    reader.refuse(1, 1,
                  fmt::format("expected at most {} bytes, found {}; split the file", Limits::text_bytes, text.size()));
    return std::move(reader).take();
  }
  const auto documents = split_documents(text);
  if (documents.size() > Limits::documents) {
    reader.refuse(
        documents[Limits::documents].first_line, 1,
        fmt::format("expected at most {} documents, found {}; split the file", Limits::documents, documents.size()));
    return std::move(reader).take();
  }
  for (const auto& document : documents) reader.read(document);
  return std::move(reader).take();
}

}  // namespace weft::model
