#include "sources/cluster/values.h"

#include <fmt/format.h>

#include "abi/endpoint.h"
#include "sources/cluster/value_reader.h"

namespace weft::cluster {
namespace {

constexpr unsigned most_mtu = 65535;
constexpr std::size_t most_of_a_node = 4096;  // addresses, labels, devices
constexpr unsigned most_generation = 0x7fffffff;
constexpr std::uint64_t latest_time = 0xffffffffff;  // seconds; year 36812

PoolRange read_range(Reader& reader, const json& element) {
  PoolRange range;
  const auto cidr = element.is_object() ? element.find("cidr") : element.end();
  const auto length = element.is_object() ? element.find("block_length") : element.end();
  if (!element.is_object() || cidr == element.end() || !cidr->is_string() || length == element.end()) {
    reader.wrong(fmt::format("\"ranges\": {} is no range of a pool", Reader::shortened(element)));
    return range;
  }
  const auto parsed = Cidr::parse(cidr->get_ref<const std::string&>());
  if (!parsed) {
    reader.wrong(fmt::format("\"cidr\": {} is no CIDR", Reader::shortened(*cidr)));
    return range;
  }
  range.cidr = *parsed;
  range.block_length = static_cast<unsigned>(reader.number_of("block_length", *length, 0, 128));
  return range;
}

Pool read_pool(Reader& reader, const json& element) {
  Pool pool;
  const auto name = element.is_object() ? element.find("name") : element.end();
  const auto ranges = element.is_object() ? element.find("ranges") : element.end();
  if (!element.is_object() || name == element.end() || !name->is_string() || ranges == element.end() ||
      !ranges->is_array()) {
    reader.wrong(fmt::format("\"pools\": {} is no pool", Reader::shortened(element)));
    return pool;
  }
  pool.name = name->get<std::string>();
  for (const auto& range : *ranges)
    if (reader.good()) pool.ranges.push_back(read_range(reader, range));
  return pool;
}

// Whether the texts are keys is for who uses them.
void read_keys(Reader& reader, NodeRecord& record) {
  reader.each_object("wireguard", [&](Reader& part) {
    WireGuardKey key;
    key.generation = static_cast<unsigned>(part.number("generation", 1, most_generation));
    key.public_key = part.text("public_key");
    key.port = static_cast<unsigned>(part.number("port", 1, 65535));
    if (!record.wireguard.empty() && record.wireguard.back().generation >= key.generation)
      part.wrong("\"wireguard\": keys are not in the order of their generations");
    if (record.wireguard.size() == 2) part.wrong("\"wireguard\": there are more than two keys");
    record.wireguard.push_back(std::move(key));
  });
  record.settled = static_cast<unsigned>(reader.number("settled", 0, most_generation));
}

std::map<std::string, std::string> read_settings(Reader& reader) {
  std::map<std::string, std::string> settings;
  const auto* found = reader.at("settings");
  if (found == nullptr) return settings;
  if (!found->is_object()) reader.wrong("\"settings\" is no object");
  for (const auto& [key, value] : found->items()) {
    if (!reader.good()) break;
    if (!value.is_string())
      reader.wrong(fmt::format("\"settings\": {} is no text", etcd::printable(key)));
    else
      settings.emplace(key, value.get<std::string>());
  }
  return settings;
}

}  // namespace

std::string encode(const NodeRecord& record) {
  auto value = object();
  value["boot_id"] = record.boot_id;
  value["underlay"] = texts(record.underlay);
  value["mode"] = record.mode;
  value["mtu"] = record.mtu;
  if (!record.wireguard.empty()) {
    auto keys = json::array();
    for (const auto& key : record.wireguard)
      keys.push_back({{"generation", key.generation}, {"public_key", key.public_key}, {"port", key.port}});
    value["wireguard"] = std::move(keys);
    value["settled"] = record.settled;
  }
  value["gateways"] = texts(record.gateways);
  value["zone"] = record.zone;
  value["keep"] = record.keep;
  value["labels"] = record.labels.empty() ? json::object() : json(record.labels);
  value["macs"] = json::array();
  for (const auto& mac : record.macs) value["macs"].push_back(mac.to_string());
  value["taken"] = texts(record.taken);
  if (!record.settings.empty()) value["settings"] = record.settings;
  if (!record.uplinks.empty()) value["uplinks"] = record.uplinks;
  if (record.written != 0) value["written"] = record.written;
  if (record.reads_slices) value["reads_slices"] = true;
  return dump(value);
}

std::string encode(const Incarnation& incarnation) {
  auto value = object();
  value["node"] = incarnation.node;
  value["boot_id"] = incarnation.boot_id;
  return dump(value);
}

std::string encode(const std::vector<Pool>& pools) {
  auto value = object();
  auto list = json::array();
  for (const auto& pool : pools) {
    auto ranges = json::array();
    for (const auto& range : pool.ranges)
      ranges.push_back({{"cidr", range.cidr.to_string()}, {"block_length", range.block_length}});
    list.push_back({{"name", pool.name}, {"ranges", std::move(ranges)}});
  }
  value["pools"] = std::move(list);
  return dump(value);
}

std::string encode(const IdentityUsers& users) {
  auto value = object();
  value["boot_id"] = users.boot_id;
  value["numbers"] = users.numbers;
  if (users.numbers.empty()) value["numbers"] = json::array();
  return dump(value);
}

Result<std::string> encode_labels(const LabelMap& labels) {
  WEFT_CHECK(canonical(labels));
  auto value = object();
  value["labels"] = labels.empty() ? json::object() : json(labels);
  return dump(value);
}

std::string encode_number(IdentityNumber number) {
  auto value = object();
  value["number"] = number;
  return dump(value);
}

std::string encode_mark() { return dump(object()); }

Result<NodeRecord> decode_node(std::string_view key, std::string_view value) {
  Reader reader(key, value);
  NodeRecord record;
  record.boot_id = reader.text("boot_id");
  record.underlay = reader.addresses("underlay");
  record.mode = reader.text("mode");
  record.mtu = static_cast<unsigned>(reader.number("mtu", 0, most_mtu));
  if (reader.has("wireguard")) read_keys(reader, record);
  record.gateways = reader.addresses("gateways");
  record.zone = reader.text("zone");
  record.keep = reader.flag("keep", false);
  if (reader.has("labels")) record.labels = reader.labels("labels");
  if (reader.has("macs"))
    reader.each("macs", [&](const json& element) {
      const auto mac = element.is_string() ? MacAddress::parse(element.get_ref<const std::string&>())
                                           : fail(ErrorCode::invalid, "no text");
      if (!mac) return reader.wrong(fmt::format("\"macs\": {} is no MAC address", Reader::shortened(element)));
      record.macs.push_back(*mac);
    });
  if (reader.has("taken")) record.taken = reader.addresses("taken");
  if (reader.has("settings")) record.settings = read_settings(reader);
  if (reader.has("uplinks"))
    reader.each("uplinks", [&](const json& element) {
      if (!element.is_string()) return reader.wrong("\"uplinks\": an element is no text");
      record.uplinks.push_back(element.get<std::string>());
    });
  record.reads_slices = reader.flag("reads_slices", false);
  if (reader.has("written")) record.written = reader.number("written", 0, latest_time);
  for (const auto& [field, count] : {std::pair("underlay", record.underlay.size()),
                                     {"gateways", record.gateways.size()},
                                     {"labels", record.labels.size()},
                                     {"macs", record.macs.size()},
                                     {"taken", record.taken.size()},
                                     {"settings", record.settings.size()},
                                     {"uplinks", record.uplinks.size()}})
    if (count > most_of_a_node) reader.wrong(fmt::format("\"{}\": more than {} of them", field, most_of_a_node));
  return reader.result(std::move(record));
}

Result<Incarnation> decode_incarnation(std::string_view key, std::string_view value) {
  Reader reader(key, value);
  Incarnation incarnation{.node = reader.text("node"), .boot_id = reader.text("boot_id")};
  if (reader.good())
    if (const auto good = check_name("\"node\"", incarnation.node); !good) reader.wrong(good.error().message);
  return reader.result(std::move(incarnation));
}

Result<std::vector<Pool>> decode_pools(std::string_view key, std::string_view value) {
  Reader reader(key, value);
  std::vector<Pool> pools;
  reader.each("pools", [&](const json& element) { pools.push_back(read_pool(reader, element)); });
  if (reader.good())
    if (const auto good = check_pools(pools); !good) reader.wrong(good.error().message);
  return reader.result(std::move(pools));
}

Result<IdentityUsers> decode_users(std::string_view key, std::string_view value) {
  Reader reader(key, value);
  IdentityUsers users{.boot_id = reader.text("boot_id"), .numbers = {}};
  reader.each("numbers", [&](const json& element) {
    users.numbers.insert(
        static_cast<IdentityNumber>(reader.number_of("numbers", element, WEFT_IDENTITY_FIRST, WEFT_IDENTITY_LAST)));
  });
  return reader.result(std::move(users));
}

Result<LabelMap> decode_labels(std::string_view key, std::string_view value) {
  Reader reader(key, value);
  auto labels = reader.labels("labels");
  if (reader.good())
    if (const auto good = canonical(labels); !good) reader.wrong(good.error().message);
  return reader.result(std::move(labels));
}

Result<IdentityNumber> decode_number(std::string_view key, std::string_view value) {
  Reader reader(key, value);
  const auto number = reader.number("number", WEFT_IDENTITY_FIRST, WEFT_IDENTITY_LAST);
  return reader.result(static_cast<IdentityNumber>(number));
}

}  // namespace weft::cluster
