// Objects that anybody with access to the API server may have written, and keys and values that become objects: what is
// taken for a key is that key's one object, and what is written comes back as it was.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sources/crd_store/objects.h"

namespace {

using weft::crd::Codec;
using weft::crd::Places;
using weft::crd::Resource;

constexpr auto resources = {Resource::nodes,     Resource::blocks, Resource::identities, Resource::users,
                            Resource::endpoints, Resource::pools,  Resource::claims};

void require(bool holds) {
  if (!holds) std::abort();
}

const Codec& codec() {
  static const Codec codec(Places(weft::cluster::Keyspace::make("c").value()), "weft-system");
  return codec;
}

// What is read as a key is an object of the name that the key has.
void object(std::string_view bytes) {
  for (const auto resource : resources) {
    const auto stored = codec().decode(resource, bytes);
    if (!stored) {
      require(!stored.error().message.empty());
      continue;
    }
    const auto place = codec().places().of(stored->kv.key);
    require(place && place->resource == resource && !place->mark && !place->labels_digest);
    require(stored->kv.mod_revision > 0 && stored->kv.version == 1);
  }
}

// "KEY\nVALUE"
void written(std::string_view bytes) {
  const auto end = bytes.find('\n');
  if (end == std::string_view::npos) return;
  const auto place = codec().places().of("/weft/v1/c/" + std::string(bytes.substr(0, end)));
  if (!place || place->mark || place->labels_digest) return;
  const auto text = codec().encode(*place, bytes.substr(end + 1), {.lease = 7, .lease_uid = "u", .revision = 5});
  if (!text) return;
  auto stored = codec().decode(place->resource, *text);
  require(stored.has_value());
  require(stored->kv.key == codec().places().key(place->rest));
  require(stored->kv.value == bytes.substr(end + 1));
  require(stored->kv.lease == 7 && stored->kv.mod_revision == 5);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  object(bytes);
  written(bytes);
  return 0;
}
