#include "sources/crd_store/places.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "sources/cluster/spread.h"

namespace weft::crd {
namespace {

constexpr std::size_t longest_name = 253;
constexpr std::size_t longest_kept = 200;  // of a name that cannot stay as it is

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// A subdomain of DNS, as names of objects are.
bool is_dns_name(std::string_view name) {
  if (name.empty() || name.size() > longest_name) return false;
  char before = '.';
  for (const char c : name) {
    if (!is_letter(c) && c != '-' && c != '.') return false;
    if ((before == '.' && !is_letter(c)) || (before == '-' && c == '.')) return false;
    before = c;
  }
  return is_letter(before);
}

// The text itself if it can be a name; else one that people recognize and no other text has.
std::string dns_name(std::string_view text) {
  if (is_dns_name(text)) return std::string(text);
  std::string name;
  for (const char c : text.substr(0, longest_kept)) {
    const char small = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    name += is_letter(small) ? small : '-';
  }
  name.erase(0, name.find_first_not_of('-'));
  return fmt::format("{}{}{:016x}", name, name.empty() ? "x" : "-", cluster::spread(text));
}

// The value of a label: 63 letters, digits and the like, as long as it is a name that can be one.
std::string node_label_of(const std::string& node) {
  constexpr std::size_t longest_label = 63;
  auto name = dns_name(node);
  if (name.size() > longest_label) name = fmt::format("{}-{:016x}", name.substr(0, 46), cluster::spread(node));
  return name;
}

// Pools are cut into blocks of one length each: the bits of the network say all.
std::string block_name(const cluster::Block& block) {
  const auto& cidr = block.cidr;
  if (cidr.is_v4()) return dns_name(fmt::format("{}-{}-{}", block.pool, cidr.address().to_string(), cidr.length()));
  std::string digits;
  const auto& bytes = cidr.address().bytes();
  for (const auto byte : bytes) digits += fmt::format("{:02x}", byte);
  digits.resize(std::max<std::size_t>(1, (cidr.length() + 3) / 4));
  return dns_name(fmt::format("{}-{}-{}", block.pool, digits, cidr.length()));
}

struct ClaimKind {
  std::string_view label;   // and the beginning of the object's name
  std::string_view folder;  // of the key
};
// "roles/egress-" before "roles/": an address of a gateway is a role of a kind of its own.
constexpr std::array<ClaimKind, 5> claim_kinds = {{{"alive", "alive/"},
                                                   {"egress", "roles/egress-"},
                                                   {"role", "roles/"},
                                                   {"operator", "operators/"},
                                                   {"announcer", "announcers/"}}};

constexpr std::string_view endpoints_folder = "endpoints/";
struct PlainFolder {
  std::string_view folder;
  Resource resource;
};
// The rest of these keys is the object's name.
constexpr std::array<PlainFolder, 5> plain_folders = {{{"nodes/", Resource::nodes},
                                                       {"identities/ids/", Resource::identities},
                                                       {"identities/users/", Resource::users},
                                                       {endpoints_folder, Resource::endpoints},
                                                       {"enforcement/", Resource::enforcement}}};
constexpr std::string_view marks_folder = "identities/marks/";
constexpr std::string_view labels_folder = "identities/labels/";
constexpr std::string_view blocks_folder = "blocks/";
constexpr std::string_view pools_key = "pools";

}  // namespace

const ResourceName& name_of(Resource resource) {
  static constexpr std::array<ResourceName, 8> names = {{{"weftnodes", "WeftNode"},
                                                         {"weftblocks", "WeftBlock"},
                                                         {"weftidentities", "WeftIdentity"},
                                                         {"weftidentityusers", "WeftIdentityUsers"},
                                                         {"weftendpoints", "WeftEndpoints"},
                                                         {"weftenforcements", "WeftEnforcement"},
                                                         {"weftpools", "WeftPools"},
                                                         {"weftclaims", "WeftClaim", true}}};
  return names.at(static_cast<std::size_t>(resource));
}

std::string digest_of(std::string_view canonical_labels) {
  return fmt::format("{:016x}", cluster::spread(canonical_labels));
}

Places::Places(cluster::Keyspace keys) : keys_(std::move(keys)), root_(keys_.nodes()) {
  root_.resize(root_.size() - std::string_view("nodes/").size());
}

Result<Place> Places::of(std::string_view key) const {
  WEFT_TRY(const auto parsed, keys_.parse(key));
  Place place{.rest = std::string(key.substr(root_.size()))};
  const std::string_view rest = place.rest;
  if (rest == pools_key) {
    place.resource = Resource::pools;
    place.name = pools_key;
    return place;
  }
  if (const auto* block = std::get_if<cluster::BlockKey>(&parsed)) {
    place.resource = Resource::blocks;
    place.name = block_name(block->block);
    return place;
  }
  if (const auto* labels = std::get_if<cluster::LabelsKey>(&parsed)) {
    place.resource = Resource::identities;
    WEFT_TRY(const auto text, cluster::canonical(labels->labels));
    place.labels_digest = digest_of(text);
    return place;
  }
  if (const auto* endpoints = std::get_if<cluster::EndpointsKey>(&parsed)) {
    place.resource = Resource::endpoints;
    place.node = node_label_of(endpoints->node);
    // No node has such a name of its own.
    place.name = dns_name(endpoints->slice == 0 ? endpoints->node
                                                : fmt::format("{}.slice-{}", endpoints->node, endpoints->slice));
    return place;
  }
  if (rest.starts_with(marks_folder)) {
    place.resource = Resource::identities;
    place.name = rest.substr(marks_folder.size());
    place.mark = true;
    return place;
  }
  for (const auto& plain : plain_folders)
    if (rest.starts_with(plain.folder)) {
      place.resource = plain.resource;
      place.name = dns_name(rest.substr(plain.folder.size()));
      return place;
    }
  for (const auto& kind : claim_kinds)
    if (rest.starts_with(kind.folder)) {
      place.resource = Resource::claims;
      place.claim = kind.label;
      place.name = dns_name(fmt::format("{}-{}", kind.label, rest.substr(kind.folder.size())));
      return place;
    }
  return fail(ErrorCode::invalid,
              fmt::format("key {}: not kept in the API server, which has objects of its own", etcd::printable(key)));
}

Result<Places::Folder> Places::folder(std::string_view prefix) const {
  const auto wrong = [&] {
    return fail(ErrorCode::invalid,
                fmt::format("keys {}*: no kind of what is kept in the API server", etcd::printable(prefix)));
  };
  if (!prefix.starts_with(root_)) return wrong();
  const auto rest = prefix.substr(root_.size());
  // "endpoints/<node>/"
  if (rest.starts_with(endpoints_folder) && rest.size() > endpoints_folder.size() && rest.ends_with('/')) {
    const auto node = rest.substr(endpoints_folder.size(), rest.size() - endpoints_folder.size() - 1);
    if (!cluster::check_name("node", node)) return wrong();
    return Folder{.resource = Resource::endpoints,
                  .claim = {},
                  .node = node_label_of(std::string(node)),
                  .prefix = std::string(prefix)};
  }
  const auto made = [&](Resource resource, std::string_view claim, bool marks) {
    return Folder{
        .resource = resource, .claim = std::string(claim), .node = {}, .marks = marks, .prefix = std::string(prefix)};
  };
  for (const auto& plain : plain_folders)
    if (rest.starts_with(plain.folder)) return made(plain.resource, {}, false);
  if (rest.starts_with(marks_folder)) return made(Resource::identities, {}, true);
  if (rest.starts_with(blocks_folder)) return made(Resource::blocks, {}, false);
  if (rest.starts_with(pools_key)) return made(Resource::pools, {}, false);
  // All roles at once have two labels.
  if (rest == "roles/") return wrong();
  for (const auto& kind : claim_kinds)
    if (rest.starts_with(kind.folder)) return made(Resource::claims, kind.label, false);
  return wrong();
}

Result<std::string> Places::key_of(Resource resource, std::string_view name, std::string_view claim,
                                   const std::string* annotated) const {
  std::string rest;
  if (annotated != nullptr) {
    rest = *annotated;
  } else if (resource == Resource::pools) {
    rest = pools_key;
  } else if (resource == Resource::claims) {
    const auto kind = std::ranges::find(claim_kinds, claim, &ClaimKind::label);
    if (kind == claim_kinds.end() || !name.starts_with(std::string(claim) + "-"))
      return fail(ErrorCode::invalid, fmt::format("the label of its kind is \"{}\"", claim));
    rest = fmt::format("{}{}", kind->folder, name.substr(claim.size() + 1));
  } else {
    const auto plain = std::ranges::find(plain_folders, resource, &PlainFolder::resource);
    if (plain == plain_folders.end()) return fail(ErrorCode::invalid, "it does not say what key it is");
    rest = fmt::format("{}{}", plain->folder, name);
  }
  auto key = root_ + rest;
  WEFT_TRY(const auto place, of(key));
  if (place.resource != resource || place.name != name || place.claim != claim || place.mark || place.labels_digest)
    return fail(ErrorCode::invalid, fmt::format("it says that it is {}, whose name is \"{}\"", rest, place.name));
  return key;
}

}  // namespace weft::crd
