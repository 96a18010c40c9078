#include "sources/cluster/enforcement.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "sources/cluster/keys.h"
#include "sources/cluster/value_reader.h"

namespace weft::cluster {
namespace {

constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
constexpr std::size_t longest_reason = 512;

// What is told is as long as what is read, and ends between two characters of UTF-8.
std::string cut(std::string reason) {
  if (reason.size() <= longest_reason) return reason;
  auto end = longest_reason;
  while (end > 0 && (static_cast<unsigned char>(reason[end]) & 0xc0) == 0x80) --end;
  reason.resize(end);
  return reason;
}

auto order(const EnforcedPolicy& policy) { return std::tie(policy.namespace_, policy.name); }

auto lower_bound(const std::vector<EnforcedPolicy>& policies, std::string_view namespace_, std::string_view name) {
  return std::ranges::lower_bound(policies, std::pair(namespace_, name), std::less<>(), [](const auto& policy) {
    return std::pair<std::string_view, std::string_view>(policy.namespace_, policy.name);
  });
}

void set(json& value, const char* generation, const char* digest, const PolicyVersion& version) {
  if (version.generation != 0)
    value[generation] = version.generation;
  else if (!version.digest.empty())
    value[digest] = version.digest;
}

json policy_json(const EnforcedPolicy& policy) {
  json value{{"namespace", policy.namespace_},
             {"name", policy.name},
             {"uid", policy.uid},
             {"state", policy.enforced() ? "enforced" : "failed"}};
  set(value, "generation", "digest", policy.version);
  if (policy.enforced()) return value;
  value["reason"] = cut(policy.reason);
  set(value, "kept_generation", "kept_digest", policy.kept);
  return value;
}

PolicyVersion read_version(Reader& reader, const char* generation, const char* digest) {
  PolicyVersion version;
  if (reader.has(generation))
    version.generation = reader.number(generation, 1, most);
  else if (reader.has(digest))
    version.digest = reader.text(digest);
  return version;
}

EnforcedPolicy read_policy(Reader& reader) {
  EnforcedPolicy policy{.namespace_ = reader.text("namespace"), .name = reader.text("name"), .uid = reader.text("uid")};
  for (const auto& [what, text] : {std::pair("\"namespace\"", &policy.namespace_), {"\"name\"", &policy.name}})
    if (const auto good = check_name(what, *text); !good) reader.wrong(good.error().message);
  policy.version = read_version(reader, "generation", "digest");
  if (policy.version.empty()) reader.wrong("\"generation\": neither that nor \"digest\" is there");
  const auto state = reader.text("state");
  if (state == "enforced") return policy;
  if (state != "failed") reader.wrong("\"state\": " + etcd::printable(state) + " is neither enforced nor failed");
  policy.reason = cut(reader.text("reason"));
  if (policy.reason.empty()) policy.reason = "it does not say why";
  policy.kept = read_version(reader, "kept_generation", "kept_digest");
  return policy;
}

}  // namespace

std::string PolicyVersion::to_string() const {
  if (generation != 0) return std::to_string(generation);
  return digest.empty() ? "none" : digest;
}

bool Enforcement::tells_as(const Enforcement& other) const {
  return std::tie(boot_id, policies, omitted) == std::tie(other.boot_id, other.policies, other.omitted);
}

const EnforcedPolicy* Enforcement::find(std::string_view namespace_, std::string_view name) const {
  const auto found = lower_bound(policies, namespace_, name);
  return found == policies.end() || found->namespace_ != namespace_ || found->name != name ? nullptr : &*found;
}

bool Enforcement::omits(std::string_view namespace_, std::string_view name) const {
  return omitted != 0 && lower_bound(policies, namespace_, name) == policies.end();
}

std::string encode(const Enforcement& enforcement) {
  auto value = object();
  value["boot_id"] = enforcement.boot_id;
  value["seen"] = enforcement.seen;
  auto policies = json::array();
  std::size_t enforced = 0;
  for (const auto& policy : enforcement.policies) {
    policies.push_back(policy_json(policy));
    if (policy.enforced()) ++enforced;
  }
  value["policies"] = std::move(policies);
  // For people.
  value["enforced"] = enforced;
  value["failed"] = enforcement.policies.size() - enforced;
  if (enforcement.omitted != 0) value["omitted"] = enforcement.omitted;
  return dump(value);
}

std::string encode_within(Enforcement enforcement, std::size_t most_bytes) {
  auto text = encode(enforcement);
  while (text.size() > most_bytes && !enforcement.policies.empty()) {
    const auto before = enforcement.policies.size();
    const auto fitting = static_cast<std::size_t>(static_cast<double>(before) * static_cast<double>(most_bytes) /
                                                  static_cast<double>(text.size()));
    const auto now = std::min(fitting, before - 1);
    enforcement.omitted += before - now;
    enforcement.policies.resize(now);
    text = encode(enforcement);
  }
  return text;
}

Result<Enforcement> decode_enforcement(std::string_view key, std::string_view value) {
  Reader reader(key, value);
  Enforcement enforcement{.boot_id = reader.text("boot_id"), .seen = reader.number("seen", 0, most), .policies = {}};
  reader.each_object("policies", [&](Reader& element) {
    auto policy = read_policy(element);
    if (!enforcement.policies.empty() && order(enforcement.policies.back()) >= order(policy))
      element.wrong("\"policies\": they are not in the order of their names");
    enforcement.policies.push_back(std::move(policy));
  });
  if (reader.has("omitted")) enforcement.omitted = reader.number("omitted", 0, most);
  return reader.result(std::move(enforcement));
}

}  // namespace weft::cluster
