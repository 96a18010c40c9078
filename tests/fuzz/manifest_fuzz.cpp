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

// As an API server sends it; what is understood is stored, and understood again.
void check_from_api(Kind kind, std::string_view json) {
  const auto read = object_from_api(kind, "https://fuzz", json);
  if (!read) return require(!read.error().message.empty(), "a refusal says why", json);
  require(kind_of(read->object) == kind, "it is of the kind that was asked for", json);
  const auto stored = object_from_json(read->json);
  require(stored.has_value(), "what an API server sent is read back", stored ? read->json : stored.error().message);
  require(*stored == read->object, "stored JSON of an API server's object holds the same", read->json);
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
  for (const auto& document : outcome.documents) {
    check_from_api(kind_of(document.object), document.json);
    check_from_api(kind_of(document.object), public_json(document.json));
  }
  for (auto kind = 0; kind <= static_cast<int>(Kind::pod_address_pool); ++kind)
    check_from_api(static_cast<Kind>(kind), text);
  (void)object_from_json(text);
  (void)public_json(text);
  (void)yaml_from_json(text);
  (void)pod_json(text, 0);
  return 0;
}
