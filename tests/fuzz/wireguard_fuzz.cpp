// What a WireGuard device may answer, in either of its languages, and what another node may call a key or an endpoint.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "wireguard/genetlink.h"
#include "wireguard/uapi.h"

namespace {

namespace wireguard = weft::wireguard;

void require(bool holds) {
  if (!holds) std::abort();
}

// What is read as text is understood again when it is written.
void text(std::string_view bytes) {
  const auto state = wireguard::parse_uapi(bytes);
  if (!state) return require(!state.error().message.empty());
  wireguard::DeviceConfig config{state->private_key, state->port, state->mark, {}};
  for (const auto& [key, peer] : state->peers) config.peers[key] = peer;
  require(wireguard::difference(config, *state, {}, {}).empty());
}

void key(std::string_view bytes) {
  if (const auto parsed = wireguard::Key::from_base64(bytes)) require(parsed->base64() == bytes);
  if (const auto endpoint = wireguard::Endpoint::parse(bytes))
    require(wireguard::Endpoint::parse(endpoint->to_string()).value() == *endpoint);
}

void message(std::string_view bytes) {
  std::vector<std::uint64_t> aligned((sizeof(nlmsghdr) + bytes.size()) / 8 + 1);
  nlmsghdr header{};
  header.nlmsg_len = static_cast<std::uint32_t>(sizeof header + bytes.size());
  std::memcpy(aligned.data(), &header, sizeof header);
  std::memcpy(reinterpret_cast<char*>(aligned.data()) + sizeof header, bytes.data(), bytes.size());
  wireguard::DeviceState state;
  (void)wireguard::read_kernel(reinterpret_cast<const nlmsghdr*>(aligned.data()), state);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      text(bytes);
      break;
    case 1:
      key(bytes);
      break;
    default:
      message(bytes);
  }
  return 0;
}
