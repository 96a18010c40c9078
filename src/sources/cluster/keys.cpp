#include "sources/cluster/keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "abi/endpoint.h"

namespace weft::cluster {
namespace {

constexpr std::size_t longest_name = 253;
constexpr std::size_t longest_labels = 16384;
constexpr unsigned most_slices = 65535;

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

Result<IdentityNumber> parse_number(std::string_view text) {
  IdentityNumber number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || text.starts_with('0') ||
      number < WEFT_IDENTITY_FIRST || number > WEFT_IDENTITY_LAST)
    return fail(ErrorCode::invalid,
                fmt::format("not an identity's number from {} to {}", +WEFT_IDENTITY_FIRST, +WEFT_IDENTITY_LAST));
  return number;
}

// "<pool>/<address>/<length>"
Result<Block> parse_block(std::string_view text) {
  const auto slash = text.find('/');
  const auto pool = text.substr(0, slash);
  WEFT_CHECK(check_name("pool", pool));
  if (slash == std::string_view::npos) return fail(ErrorCode::invalid, "the block's CIDR is missing");
  const auto rest = text.substr(slash + 1);
  WEFT_TRY(const Cidr cidr, Cidr::parse(rest));
  if (cidr.to_string() != rest)
    return fail(ErrorCode::invalid, fmt::format("the block is to be written \"{}\"", cidr.to_string()));
  return Block{std::string(pool), cidr};
}

Result<LabelMap> parse_labels(std::string_view text) {
  if (text.size() > longest_labels) return fail(ErrorCode::invalid, "the labels are too long");
  LabelMap labels;
  try {
    labels = nlohmann::json::parse(text).get<LabelMap>();
  } catch (const nlohmann::json::exception&) {
    return fail(ErrorCode::invalid, "not a JSON object of labels");
  }
  WEFT_TRY(const std::string spelling, canonical(labels));
  if (spelling != text) return fail(ErrorCode::invalid, "the labels are not spelled as Weft spells them");
  return labels;
}

// "<node>", "<node>/<slice>"
Result<Key> parse_endpoints(std::string_view text) {
  EndpointsKey key{.node = std::string(text.substr(0, text.find('/')))};
  WEFT_CHECK(check_name("node", key.node));
  if (key.node.size() == text.size()) return key;
  const auto digits = text.substr(key.node.size() + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), key.slice);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.starts_with('0') || key.slice == 0 ||
      key.slice > most_slices)
    return fail(ErrorCode::invalid, fmt::format("not a slice's number from 1 to {}", most_slices));
  return key;
}

// "<kind>/<name>", "<kind>/<namespace>/<name>"
Result<Key> parse_object(std::string_view text) {
  ObjectKey key;
  const auto first = text.find('/');
  const auto last = text.rfind('/');
  if (first == std::string_view::npos) return fail(ErrorCode::invalid, "the object's name is missing");
  key.kind = text.substr(0, first);
  if (last != first) {
    key.namespace_ = text.substr(first + 1, last - first - 1);
    WEFT_CHECK(check_name("namespace", key.namespace_));
  }
  key.name = text.substr(last + 1);
  WEFT_CHECK(check_name("kind", key.kind));
  WEFT_CHECK(check_name("object", key.name));
  return key;
}

// "<first>/<second>", two names.
template <class Kind>
Result<Key> two_names(std::string_view text, std::string_view first, std::string_view second,
                      std::string_view missing) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return fail(ErrorCode::invalid, fmt::format("{} is missing", missing));
  WEFT_CHECK(check_name(first, text.substr(0, slash)));
  WEFT_CHECK(check_name(second, text.substr(slash + 1)));
  return Kind{std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
}

Result<Key> parse_announcer(std::string_view text) {
  WEFT_TRY(const auto address, IpAddress::parse(text));
  if (address.to_string() != text)
    return fail(ErrorCode::invalid, fmt::format("the address is to be written \"{}\"", address.to_string()));
  return AnnouncerKey{address};
}

template <class Kind>
Result<Key> named(std::string_view what, std::string_view name) {
  WEFT_CHECK(check_name(what, name));
  return Kind{std::string(name)};
}

// `rest` is what follows the cluster.
Result<Key> parse_rest(std::string_view rest) {
  const auto below = [&rest](std::string_view folder) {
    if (!rest.starts_with(folder)) return false;
    rest.remove_prefix(folder.size());
    return true;
  };
  if (below("nodes/")) return named<NodeKey>("node", rest);
  if (below("alive/")) return named<AliveKey>("node", rest);
  if (below("endpoints/")) return parse_endpoints(rest);
  if (below("enforcement/")) return named<EnforcementKey>("node", rest);
  if (below("state/objects/")) return parse_object(rest);
  if (below("state/assignments/")) return two_names<AssignmentKey>(rest, "namespace", "Service", "the Service's name");
  if (rest == "state/assignments-epoch") return AssignmentsEpochKey{};
  if (rest == "state/founding") return FoundingKey{};
  if (rest == "pools") return PoolsKey{};
  if (below("roles/")) return named<RoleKey>("role", rest);
  if (below("operators/")) return two_names<OperatorKey>(rest, "operator", "run", "the operator's run");
  if (below("announcers/")) return parse_announcer(rest);
  if (below("identities/users/")) return named<UsersKey>("node", rest);
  if (below("blocks/")) {
    WEFT_TRY(Block block, parse_block(rest));
    return BlockKey{std::move(block)};
  }
  if (below("identities/ids/")) {
    WEFT_TRY(const IdentityNumber number, parse_number(rest));
    return IdentityKey{number};
  }
  if (below("identities/marks/")) {
    WEFT_TRY(const IdentityNumber number, parse_number(rest));
    return MarkKey{number};
  }
  if (below("identities/labels/")) {
    WEFT_TRY(LabelMap labels, parse_labels(rest));
    return LabelsKey{std::move(labels)};
  }
  return fail(ErrorCode::invalid, "no kind of key that this version of Weft knows");
}

}  // namespace

std::string Block::to_string() const { return fmt::format("{} {}", pool, cidr.to_string()); }

Result<void> check_name(std::string_view what, std::string_view name) {
  if (name.empty()) return fail(ErrorCode::invalid, fmt::format("{}: the name is missing", what));
  if (name.size() > longest_name)
    return fail(ErrorCode::invalid, fmt::format("{}: the name is longer than {} bytes", what, longest_name));
  const bool good = is_alphanumeric(name.front()) && std::ranges::all_of(name, [](char c) {
                      return is_alphanumeric(c) || c == '-' || c == '_' || c == '.';
                    });
  if (good) return {};
  return fail(ErrorCode::invalid, fmt::format("{}: {} is not a name", what, etcd::printable(name)),
              "use letters, digits, \"-\", \"_\" and \".\", beginning with a letter or digit");
}

Result<std::string> canonical(const LabelMap& labels) {
  std::string text;
  try {
    text = nlohmann::json(labels).dump();
  } catch (const nlohmann::json::exception&) {
    return fail(ErrorCode::invalid, "the labels hold bytes that are not UTF-8");
  }
  // An empty map makes "null" of its own accord.
  if (labels.empty()) text = "{}";
  if (text.size() > longest_labels)
    return fail(ErrorCode::invalid,
                fmt::format("the labels are {} bytes long; {} are the most", text.size(), longest_labels),
                "leave labels out that no policy selects by");
  return text;
}

// A role's name has no colons, and no address has an underline.
std::string claim_role(const IpAddress& address) {
  auto text = address.to_string();
  std::ranges::replace(text, ':', '_');
  return std::string(claim_role_prefix) + text;
}

Result<IpAddress> claimed_address(std::string_view role) {
  if (!role.starts_with(claim_role_prefix)) return fail(ErrorCode::invalid, "no role of an address");
  std::string text(role.substr(claim_role_prefix.size()));
  std::ranges::replace(text, '_', ':');
  WEFT_TRY(const auto address, IpAddress::parse(text));
  // One spelling of each: another one would be a second claim of the same address.
  if (claim_role(address) != role) return fail(ErrorCode::invalid, "an address in another spelling");
  return address;
}

Result<Keyspace> Keyspace::make(const std::string& cluster) {
  WEFT_CHECK(check_name("cluster", cluster));
  return Keyspace("/weft/v1/" + cluster + "/");
}

std::string Keyspace::build(const Key& key) const {
  struct Builder {
    const Keyspace& keys;
    std::string operator()(const NodeKey& key) const { return keys.nodes() + key.node; }
    std::string operator()(const AliveKey& key) const { return keys.alive() + key.node; }
    std::string operator()(const PoolsKey&) const { return keys.root_ + "pools"; }
    std::string operator()(const BlockKey& key) const {
      return fmt::format("{}{}/{}", keys.blocks(), key.block.pool, key.block.cidr.to_string());
    }
    std::string operator()(const IdentityKey& key) const { return fmt::format("{}{}", keys.identities(), key.number); }
    std::string operator()(const LabelsKey& key) const {
      return fmt::format("{}identities/labels/{}", keys.root_, canonical(key.labels).value_or(""));
    }
    std::string operator()(const UsersKey& key) const { return keys.users() + key.node; }
    std::string operator()(const MarkKey& key) const { return fmt::format("{}{}", keys.marks(), key.number); }
    std::string operator()(const EndpointsKey& key) const {
      return key.slice == 0 ? keys.endpoints() + key.node : fmt::format("{}{}", keys.slices_of(key.node), key.slice);
    }
    std::string operator()(const EnforcementKey& key) const { return keys.enforcement() + key.node; }
    std::string operator()(const ObjectKey& key) const {
      return key.namespace_.empty() ? fmt::format("{}{}/{}", keys.objects(), key.kind, key.name)
                                    : fmt::format("{}{}/{}/{}", keys.objects(), key.kind, key.namespace_, key.name);
    }
    std::string operator()(const AssignmentKey& key) const {
      return fmt::format("{}{}/{}", keys.assignments(), key.namespace_, key.name);
    }
    std::string operator()(const AssignmentsEpochKey&) const { return keys.state() + "assignments-epoch"; }
    std::string operator()(const FoundingKey&) const { return keys.state() + "founding"; }
    std::string operator()(const RoleKey& key) const { return keys.roles() + key.role; }
    std::string operator()(const OperatorKey& key) const {
      return fmt::format("{}{}/{}", keys.operators(), key.name, key.run);
    }
    std::string operator()(const AnnouncerKey& key) const { return keys.announcers() + key.address.to_string(); }
  };
  return std::visit(Builder{*this}, key);
}

Result<Key> Keyspace::parse(std::string_view key) const {
  const auto wrong = [&](Error why) { return fail(why.in("key " + etcd::printable(key))); };
  if (!key.starts_with(root_))
    return wrong({ErrorCode::invalid, fmt::format("not below {}", etcd::printable(root_)), {}});
  auto parsed = parse_rest(key.substr(root_.size()));
  if (!parsed) return wrong(parsed.error());
  return parsed;
}

}  // namespace weft::cluster
