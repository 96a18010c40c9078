// Manifest text: no input crashes the parser, and what it accepts survives the two ways back, from
// the stored JSON and from the YAML shown to users.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "model/expand.h"
#include "model/parse.h"

namespace {

using namespace weft::model;

void require(bool holds, const char* what, std::string_view detail) {
  if (holds) return;
  std::fprintf(stderr, "violated: %s\n%.*s\n", what, static_cast<int>(detail.size()), detail.data());
  std::abort();
}

void forget_location(Object& object) {
  std::visit([](auto& value) { value.meta.location = {}; }, object);
  if (auto* policy = std::get_if<NetworkPolicy>(&object)) {
    for (auto& rule : policy->ingress) rule.line = 0;
    for (auto& rule : policy->egress) rule.line = 0;
  }
}

void check_ways_back(const Document& document) {
  const auto stored = object_from_json(document.json);
  require(stored.has_value(), "stored JSON is read back", stored ? "" : stored.error().message);
  require(*stored == document.object, "stored JSON holds the same object", document.json);

  const auto yaml = yaml_from_json(public_json(document.json));
  auto again = parse_manifests("shown.yaml", yaml);
  require(again.problems.empty(), "the YAML shown is accepted", yaml);
  require(again.documents.size() == 1, "the YAML shown is one document", yaml);
  Object before = document.object;
  forget_location(before);
  forget_location(again.documents.front().object);
  require(before == again.documents.front().object, "the YAML shown holds the same object", yaml);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto outcome = parse_manifests("fuzz.yaml", text);
  for (const auto& document : outcome.documents) check_ways_back(document);
  for (const auto& problem : outcome.problems) {
    require(problem.line >= 1 && problem.column >= 1, "a problem has a place", problem.to_string());
    require(!problem.message.empty(), "a problem says what", problem.to_string());
  }
  (void)object_from_json(text);
  (void)public_json(text);
  (void)yaml_from_json(text);
  (void)pod_json(text, 0);
  return 0;
}
