#include "sources/crd_store/objects.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/json_depth.h"
#include "sources/cluster/spread.h"

namespace weft::crd {
namespace {

using nlohmann::json;

constexpr std::size_t deepest = 32;
constexpr std::string_view lease_prefix = "weft-session-";
// What these hold are texts of others by their own names.
constexpr std::array<std::string_view, 2> verbatim = {"labels", "settings"};

bool is_small(char c) { return c >= 'a' && c <= 'z'; }
bool is_big(char c) { return c >= 'A' && c <= 'Z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "boot_id" to "bootId"; nothing where that would not lead back.
std::optional<std::string> to_camel(std::string_view name) {
  std::string camel;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '_' && i > 0 && i + 1 < name.size() && is_small(name[i + 1]))
      camel += static_cast<char>(name[++i] - 'a' + 'A');
    else if (is_small(name[i]) || is_digit(name[i]))
      camel += name[i];
    else
      return std::nullopt;
  }
  return camel;
}

std::optional<std::string> to_snake(std::string_view name) {
  std::string snake;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (is_big(name[i]) && i > 0)
      snake += {'_', static_cast<char>(name[i] - 'A' + 'a')};
    else if (is_small(name[i]) || is_digit(name[i]))
      snake += name[i];
    else
      return std::nullopt;
  }
  return snake;
}

// Every name of a field; false where one cannot be.
bool rename(json& value, std::optional<std::string> (*to)(std::string_view)) {
  if (value.is_array()) return std::ranges::all_of(value, [to](json& element) { return rename(element, to); });
  if (!value.is_object()) return true;
  json renamed = json::object();
  for (auto& [name, inner] : value.items()) {
    auto now = to(name);
    if (!now || renamed.contains(*now)) return false;
    if (std::ranges::find(verbatim, name) == verbatim.end() && !rename(inner, to)) return false;
    renamed.emplace(std::move(*now), std::move(inner));
  }
  value = std::move(renamed);
  return true;
}

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

// A text, or an empty one where it is missing or something else.
std::string text(const json& object, std::string_view key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

const json& part(const json& object, std::string_view key) {
  static const json none = json::object();
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : none;
}

std::uint64_t number(std::string_view digits, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  return error == std::errc() && end == digits.data() + digits.size() ? value : 0;
}

// The beginning of a key of a block, by what its spec says.
std::string block_key(const json& spec) { return fmt::format("blocks/{}/{}", text(spec, "pool"), text(spec, "cidr")); }

// The spec that makes the value, which is the only one it makes.
Result<json> spec_of(const Place& place, std::string_view value) {
  const auto wrong = [&](std::string_view why) {
    return fail(ErrorCode::invalid, fmt::format("key '{}': the value cannot be an object's spec: {}", place.rest, why));
  };
  if (nests_deeper(value, deepest)) return wrong("it nests too deeply");
  auto spec = json::parse(value, nullptr, false);
  if (!spec.is_object()) return wrong("it is no JSON object");
  if (dump(spec) != value) return wrong("it is not spelled as Weft spells it");
  if (place.resource == Resource::blocks && (spec.contains("pool") || spec.contains("cidr")))
    return wrong("it says its pool or CIDR itself");
  const auto whole = spec;
  if (!rename(spec, &to_camel)) return wrong("a field's name is none that leads back");
  if (auto back = spec; !rename(back, &to_snake) || back != whole) return wrong("a field's name does not lead back");
  return spec;
}

std::string value_of(Resource resource, json spec) {
  if (resource == Resource::blocks) {
    spec.erase("pool");
    spec.erase("cidr");
  }
  // A strange one is for who reads the value.
  auto value = spec;
  return dump(rename(value, &to_snake) ? value : spec);
}

}  // namespace

std::string session_text(etcd::LeaseId lease) { return fmt::format("{:016x}", static_cast<std::uint64_t>(lease)); }

std::string lease_name(etcd::LeaseId lease) { return std::string(lease_prefix) + session_text(lease); }

etcd::LeaseId session_of(std::string_view text) {
  if (text.starts_with(lease_prefix)) text.remove_prefix(lease_prefix.size());
  const auto value = text.size() == 16 ? number(text, 16) : 0;
  const auto lease = static_cast<etcd::LeaseId>(value);
  return lease > 0 && session_text(lease) == text ? lease : 0;
}

Result<std::string> Codec::encode(const Place& place, std::string_view value, const Writing& writing) const {
  WEFT_TRY(auto spec, spec_of(place, value));
  const auto& name = name_of(place.resource);
  json labels = json::object();
  json annotations{{write_annotation, fmt::format("{:016x}", writing.nonce)}};
  if (place.resource == Resource::blocks) {
    const auto rest = std::string_view(place.rest).substr(std::string_view("blocks/").size());
    const auto slash = rest.find('/');
    spec["pool"] = rest.substr(0, slash);
    spec["cidr"] = rest.substr(slash + 1);
  } else if (const auto key = places_.key_of(place.resource, place.name, place.claim, nullptr);
             !key || *key != places_.key(place.rest)) {
    annotations[key_annotation] = place.rest;
  }
  if (place.resource == Resource::identities) {
    const auto found = spec.find("labels");
    labels[labels_label] = digest_of(found == spec.end() ? "" : dump(*found));
    if (writing.marked) annotations[unused_annotation] = "true";
  }
  if (!place.claim.empty()) labels[claim_label] = place.claim;
  if (!place.node.empty()) labels[node_label] = place.node;
  json metadata{{"name", place.name}, {"annotations", std::move(annotations)}};
  if (writing.lease != 0) {
    labels[session_label] = session_text(writing.lease);
    if (!writing.lease_uid.empty())
      metadata["ownerReferences"] = {{{"apiVersion", "coordination.k8s.io/v1"},
                                      {"kind", "Lease"},
                                      {"name", lease_name(writing.lease)},
                                      {"uid", writing.lease_uid}}};
  }
  if (!labels.empty()) metadata["labels"] = std::move(labels);
  if (name.namespaced) metadata["namespace"] = namespace_;
  if (writing.revision != 0) metadata["resourceVersion"] = std::to_string(writing.revision);
  return dump({{"apiVersion", group_version},
               {"kind", name.kind},
               {"metadata", std::move(metadata)},
               {"spec", std::move(spec)}});
}

Result<Stored> Codec::decode(Resource resource, std::string_view text_of_it) const {
  const auto& kind = name_of(resource).kind;
  if (nests_deeper(text_of_it, deepest)) return fail(ErrorCode::invalid, fmt::format("a {} nests too deeply", kind));
  const auto object = json::parse(text_of_it, nullptr, false);
  if (!object.is_object()) return fail(ErrorCode::invalid, fmt::format("a {} is no JSON object", kind));
  const auto& metadata = part(object, "metadata");
  const auto name = text(metadata, "name");
  const auto wrong = [&](std::string_view why) {
    return fail(ErrorCode::invalid, fmt::format("{} {}: {}; it is left alone", kind, etcd::printable(name), why),
                "delete it, if it is not Weft's");
  };
  const auto& labels = part(metadata, "labels");
  const auto& annotations = part(metadata, "annotations");
  const auto& spec = part(object, "spec");
  const bool partial = text(object, "kind") == "PartialObjectMetadata";
  auto annotated = resource == Resource::blocks && !partial ? block_key(spec) : text(annotations, key_annotation);
  const auto key = places_.key_of(resource, name, text(labels, claim_label), annotated.empty() ? nullptr : &annotated);
  if (!key) return wrong(key.error().message);
  const auto revision = number(text(metadata, "resourceVersion"), 10);
  if (revision == 0 || revision > static_cast<std::uint64_t>(INT64_MAX))
    return wrong(fmt::format("metadata.resourceVersion {} is no number, and Weft must compare them",
                             etcd::printable(text(metadata, "resourceVersion"))));
  Stored stored{.kv = {.key = *key}, .uid = text(metadata, "uid")};
  stored.kv.mod_revision = static_cast<etcd::Revision>(revision);
  stored.kv.create_revision = static_cast<etcd::Revision>((cluster::spread(stored.uid) >> 1) | 1);
  stored.kv.version = 1;
  stored.kv.lease = session_of(text(labels, session_label));
  stored.marked = annotations.contains(unused_annotation);
  stored.nonce = number(text(annotations, write_annotation), 16);
  if (!partial) stored.kv.value = value_of(resource, spec);
  return stored;
}

}  // namespace weft::crd
