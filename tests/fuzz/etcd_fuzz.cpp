// What comes from an etcd server or stands in the configuration: every answer the client decodes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sources/etcd/endpoint.h"
#include "sources/etcd/wire.h"

namespace {

namespace pb = etcdserverpb;
namespace etcd = weft::etcd;

template <class Response>
void decode(std::string_view bytes) {
  Response response;
  if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  static_cast<void>(etcd::wire::decode(response).has_value());
}

void require(bool holds) {
  if (!holds) std::abort();
}

// A batch that is taken for good is in order and at the revision of its last event.
void watch(std::string_view bytes) {
  pb::WatchResponse response;
  if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  const auto batch = etcd::wire::decode(response);
  if (!batch || batch->kind != etcd::WatchBatch::Kind::events) return;
  require(!batch->events.empty() && batch->revision == batch->events.back().kv.mod_revision);
  for (std::size_t i = 1; i < batch->events.size(); ++i)
    require(batch->events[i - 1].kv.mod_revision <= batch->events[i].kv.mod_revision);
}

void endpoint(std::string_view bytes) {
  const auto parsed = etcd::parse_endpoint(bytes);
  if (!parsed) return;
  const auto again = etcd::parse_endpoint(parsed->url());
  require(again.has_value() && *again == *parsed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 8) {
    case 0:
      decode<pb::RangeResponse>(bytes);
      break;
    case 1:
      decode<pb::TxnResponse>(bytes);
      break;
    case 2:
      decode<pb::LeaseGrantResponse>(bytes);
      break;
    case 3:
      decode<pb::LeaseKeepAliveResponse>(bytes);
      break;
    case 4:
      decode<pb::StatusResponse>(bytes);
      break;
    case 5:
      watch(bytes);
      break;
    case 6:
      static_cast<void>(etcd::wire::reason_of(data[0] / 8, bytes));
      static_cast<void>(etcd::printable(bytes));
      break;
    default:
      endpoint(bytes);
  }
  return 0;
}
