#include "wireguard/uapi.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>

namespace weft::wireguard {
namespace {

// To be switched on is what makes a device send at once; how long it then stays so does not matter.
constexpr int greeting = 25;

void put_peer(std::string& text, const Key& key, const PeerChange& change) {
  text += fmt::format("public_key={}\n", key.hex());
  if (change.remove) {
    text += "remove=true\n";
    return;
  }
  if (!change.add) text += "update_only=true\n";
  if (change.endpoint) text += fmt::format("endpoint={}\n", change.endpoint->to_string());
  if (change.replace_allowed) text += "replace_allowed_ips=true\n";
  for (const auto& cidr : change.allow) text += fmt::format("allowed_ip={}\n", cidr.to_string());
  if (change.greet) text += "persistent_keepalive_interval=0\n";
  const auto keepalive = change.keepalive.value_or(0);
  if (change.keepalive || change.greet)
    text += fmt::format("persistent_keepalive_interval={}\n", change.greet && keepalive == 0 ? greeting : keepalive);
  // The device sends at the end of a peer's lines, so the interval is put back in lines of their own.
  if (change.greet && keepalive == 0)
    text += fmt::format("public_key={}\nupdate_only=true\npersistent_keepalive_interval=0\n", key.hex());
}

// Lines of an answer, read with distrust.
class Parser {
 public:
  Result<DeviceState> parse(std::string_view text) {
    while (!text.empty()) {
      const auto end = text.find('\n');
      if (end == std::string_view::npos) return fail(ErrorCode::invalid, "WireGuard's answer ends within a line");
      const auto line = text.substr(0, end);
      text.remove_prefix(end + 1);
      ++line_;
      if (line.empty()) return finish();
      WEFT_CHECK(take(line));
    }
    return fail(ErrorCode::invalid, "WireGuard's answer has no end");
  }

 private:
  Result<void> take(std::string_view line) {
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) return wrong("no \"key=value\"");
    const auto name = line.substr(0, equals);
    const auto value = line.substr(equals + 1);
    if (name == "errno") {
      error_ = value;
      return {};
    }
    if (name == "public_key") {
      const auto key = Key::from_hex(value);
      if (!key) return wrong("public_key: not 64 hex digits");
      const auto [entry, added] = state_.peers.try_emplace(*key);
      peer_ = &entry->second;
      return added ? Result<void>() : wrong("public_key: a second time");
    }
    return peer_ == nullptr ? take_device(name, value) : take_peer(name, value);
  }

  Result<void> take_device(std::string_view name, std::string_view value) {
    if (name == "private_key") {
      const auto key = Key::from_hex(value);
      if (!key) return wrong("private_key: not 64 hex digits");
      state_.private_key = *key;
    } else if (name == "listen_port") {
      return number(name, value, state_.port);
    } else if (name == "fwmark") {
      return number(name, value, state_.mark);
    }
    return {};
  }

  Result<void> take_peer(std::string_view name, std::string_view value) {
    if (name == "endpoint") {
      const auto endpoint = Endpoint::parse(value);
      if (!endpoint) return wrong("endpoint: no address and port");
      peer_->endpoint = *endpoint;
    } else if (name == "allowed_ip") {
      const auto cidr = Cidr::parse(value);
      if (!cidr) return wrong("allowed_ip: no range of addresses");
      peer_->allowed.insert(*cidr);
    } else if (name == "last_handshake_time_sec") {
      std::int64_t seconds = 0;
      WEFT_CHECK(number(name, value, seconds));
      if (seconds < 0 || seconds > most_seconds) return wrong("last_handshake_time_sec: no time");
      peer_->last_handshake = seconds * nanoseconds + peer_->last_handshake % nanoseconds;
    } else if (name == "last_handshake_time_nsec") {
      std::uint32_t part = 0;
      WEFT_CHECK(number(name, value, part));
      if (part >= nanoseconds) return wrong("last_handshake_time_nsec: no part of a second");
      peer_->last_handshake += part - peer_->last_handshake % nanoseconds;
    } else if (name == "tx_bytes") {
      return number(name, value, peer_->sent);
    } else if (name == "rx_bytes") {
      return number(name, value, peer_->received);
    } else if (name == "persistent_keepalive_interval") {
      return number(name, value, peer_->keepalive);
    }
    return {};
  }

  Result<DeviceState> finish() {
    if (error_.empty()) return fail(ErrorCode::invalid, "WireGuard's answer does not say whether it is an error");
    if (error_ == "0") return std::move(state_);
    int number = 0;
    std::from_chars(error_.data(), error_.data() + error_.size(), number);
    return fail(ErrorCode::io, fmt::format("WireGuard: {}", std::strerror(number < 0 ? -number : number)));
  }

  template <class T>
  Result<void> number(std::string_view name, std::string_view value, T& slot) const {
    const auto read = std::from_chars(value.data(), value.data() + value.size(), slot);
    if (read.ec == std::errc() && read.ptr == value.data() + value.size()) return {};
    return wrong(fmt::format("{}: no number that fits", name));
  }

  // The line itself is not quoted: it may hold a key.
  [[nodiscard]] std::unexpected<Error> wrong(std::string_view why) const {
    return fail(ErrorCode::invalid, fmt::format("line {} of WireGuard's answer: {}", line_, why));
  }

  static constexpr std::int64_t nanoseconds = 1'000'000'000;
  static constexpr std::int64_t most_seconds = 9'000'000'000;

  DeviceState state_;
  PeerState* peer_ = nullptr;
  std::string_view error_;
  int line_ = 0;
};

}  // namespace

std::string uapi_set(const DeviceChange& change) {
  std::string text = "set=1\n";
  if (change.private_key) text += fmt::format("private_key={}\n", change.private_key->hex());
  if (change.port) text += fmt::format("listen_port={}\n", *change.port);
  if (change.mark) text += fmt::format("fwmark={}\n", *change.mark);
  // What goes makes room for addresses of what comes.
  for (const bool gone : {true, false})
    for (const auto& [key, peer] : change.peers)
      if (peer.remove == gone) put_peer(text, key, peer);
  return text + "\n";
}

Result<DeviceState> parse_uapi(std::string_view text) { return Parser().parse(text); }

}  // namespace weft::wireguard
