// Keys and values that any program with access to etcd may have written: what is taken for good has one spelling, and
// what is refused says which key it was.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "sources/cluster/operator_record.h"
#include "sources/cluster/pod_table.h"
#include "sources/cluster/shared_endpoints.h"
#include "sources/cluster/values.h"

namespace {

namespace cluster = weft::cluster;

constexpr std::string_view name_of_key = "/weft/v1/c/fuzzed";

void require(bool holds) {
  if (!holds) std::abort();
}

// A key that is read is built as it was.
void key(std::string_view bytes) {
  static const auto keys = cluster::Keyspace::make("c").value();
  std::string whole(bytes);
  for (const auto& text : {whole, "/weft/v1/c/" + whole}) {
    const auto parsed = keys.parse(text);
    if (parsed) require(keys.build(*parsed) == text);
    if (const auto* role = parsed ? std::get_if<cluster::RoleKey>(&*parsed) : nullptr)
      if (const auto address = cluster::claimed_address(role->role))
        require(cluster::claim_role(*address) == role->role);
    if (parsed) continue;
    require(parsed.error().message.find(weft::etcd::printable(text)) != std::string::npos);
  }
}

// A value that is read is read again from what encode makes of it.
template <class Decode, class Encode>
void value(std::string_view bytes, Decode decode, Encode encode) {
  const auto first = decode(name_of_key, bytes);
  if (!first) return require(first.error().message.find(name_of_key) != std::string::npos);
  const std::string text = encode(*first);
  const auto again = decode(name_of_key, text);
  require(again.has_value() && *again == *first && encode(*again) == text);
}

// Pods that are read come out of the table as they went in, whatever was there before.
void packed(std::string_view bytes) {
  static cluster::PodTable table("self");
  const auto read = cluster::decode_endpoints(name_of_key, bytes);
  if (!read) return;
  (void)table.replace("node", read->pods);
  require(table.pods_of("node") == read->pods && table.size() == read->pods.size());
  for (const auto& [name, pod] : read->pods) {
    require(table.named(name) == std::vector<cluster::ToldPod>{{"node", name, pod}});
    if (!pod.host_network && !pod.addresses.empty()) require(!table.at(pod.addresses.back()).empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto plain = [](const auto& decoded) { return cluster::encode(decoded); };
  switch (data[0] % 9) {
    case 0:
      key(bytes);
      break;
    case 1:
      value(bytes, cluster::decode_node, plain);
      break;
    case 2:
      value(bytes, cluster::decode_incarnation, plain);
      break;
    case 3:
      value(bytes, cluster::decode_pools, plain);
      break;
    case 4:
      value(bytes, cluster::decode_users, plain);
      break;
    case 5:
      value(bytes, cluster::decode_labels, [](const auto& labels) { return cluster::encode_labels(labels).value(); });
      break;
    case 7:
      value(bytes, cluster::decode_operator, plain);
      break;
    case 6:
      value(bytes, cluster::decode_endpoints, plain);
      packed(bytes);
      break;
    default:
      value(bytes, cluster::decode_number, cluster::encode_number);
  }
  return 0;
}
