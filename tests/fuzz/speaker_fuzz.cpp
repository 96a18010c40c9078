// What BIRD and FRR say of peers and routes: the first byte chooses who says it.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "speaker/bird_text.h"
#include "speaker/frr_text.h"

namespace {

using namespace weft;

void bird(std::string_view text) {
  speaker::BirdReader reader;
  // In two pieces: where they meet must not matter.
  const auto half = text.size() / 2;
  if (!reader.feed(text.substr(0, half)) || !reader.feed(text.substr(half))) return;
  while (const auto answer = reader.take()) {
    (void)speaker::parse_bird_peers(*answer);
    for (const auto& route : speaker::parse_bird_routes(*answer, IpAddress::v4(1), true))
      if (!Cidr::parse(route.prefix.to_string())) __builtin_trap();
  }
}

void frr(std::string_view text) {
  (void)speaker::parse_frr_peers(text);
  (void)speaker::parse_frr_routes(text, IpAddress::v4(1), true);
  (void)speaker::parse_frr_routes(text, IpAddress::v4(1), false);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);  // NOLINT
  data[0] % 2 == 0 ? bird(text) : frr(text);
  return 0;
}
