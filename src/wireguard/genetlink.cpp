#include "wireguard/genetlink.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <netinet/in.h>

#include <array>
#include <cstring>
#include <iterator>

namespace weft::wireguard {
namespace {

constexpr std::size_t addresses_in_message = 256;  // of some 40 bytes each
constexpr int greeting = 25;                       // seconds, as in uapi.cpp

// A message that grows as far as it has to.
class Builder {
 public:
  Builder(std::uint16_t type, std::uint16_t flags, std::uint8_t command, std::uint8_t version)
      : bytes_(sizeof(nlmsghdr) + sizeof(genlmsghdr)) {
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    genlmsghdr generic{};
    generic.cmd = command;
    generic.version = version;
    std::memcpy(bytes_.data(), &header, sizeof header);
    std::memcpy(bytes_.data() + sizeof header, &generic, sizeof generic);
  }

  void put(std::uint16_t type, const void* data, std::size_t size) {
    append_header(type, size);
    const auto at = bytes_.size();
    bytes_.resize(at + MNL_ALIGN(size));
    std::memcpy(bytes_.data() + at, data, size);
  }
  template <class T>
  void put_value(std::uint16_t type, T value) {
    put(type, &value, sizeof value);
  }
  template <class Fill>
  void nest(std::uint16_t type, Fill fill) {
    const auto at = bytes_.size();
    append_header(static_cast<std::uint16_t>(type | NLA_F_NESTED), 0);
    fill();
    const auto length = static_cast<std::uint16_t>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at + offsetof(nlattr, nla_len), &length, sizeof length);
  }
  Message finish() {
    const auto length = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &length, sizeof length);  // nlmsg_len is the first
    return std::move(bytes_);
  }

 private:
  void append_header(std::uint16_t type, std::size_t size) {
    const nlattr header{static_cast<std::uint16_t>(sizeof(nlattr) + size), type};
    const auto at = bytes_.size();
    bytes_.resize(at + sizeof header);
    std::memcpy(bytes_.data() + at, &header, sizeof header);
  }
  Message bytes_;
};

void put_address(Builder& builder, std::uint16_t type, const IpAddress& address) {
  const auto& bytes = address.bytes();
  address.is_v4() ? builder.put(type, bytes.data() + 12, 4) : builder.put(type, bytes.data(), 16);
}

void put_endpoint(Builder& builder, const Endpoint& endpoint) {
  const auto& bytes = endpoint.address.bytes();
  if (endpoint.address.is_v4()) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(endpoint.port);
    std::memcpy(&to.sin_addr, bytes.data() + 12, 4);
    return builder.put(WGPEER_A_ENDPOINT, &to, sizeof to);
  }
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_port = htons(endpoint.port);
  std::memcpy(&to.sin6_addr, bytes.data(), 16);
  builder.put(WGPEER_A_ENDPOINT, &to, sizeof to);
}

Builder begin_set(std::uint16_t family, std::uint32_t ifindex) {
  Builder builder(family, NLM_F_ACK, WG_CMD_SET_DEVICE, WG_GENL_VERSION);
  builder.put_value<std::uint32_t>(WGDEVICE_A_IFINDEX, ifindex);
  return builder;
}

// Each peer has messages of its own.
template <class Fill>
Message peer_message(std::uint16_t family, std::uint32_t ifindex, const Key& key, std::uint32_t flags, Fill fill) {
  auto builder = begin_set(family, ifindex);
  builder.nest(WGDEVICE_A_PEERS, [&] {
    builder.nest(0, [&] {
      builder.put(WGPEER_A_PUBLIC_KEY, key.bytes().data(), key.bytes().size());
      if (flags != 0) builder.put_value<std::uint32_t>(WGPEER_A_FLAGS, flags);
      fill(builder);
    });
  });
  return builder.finish();
}

void put_peer(std::vector<Message>& messages, std::uint16_t family, std::uint32_t ifindex, const Key& key,
              const PeerChange& change) {
  if (change.remove) {
    messages.push_back(peer_message(family, ifindex, key, WGPEER_F_REMOVE_ME, [](Builder&) {}));
    return;
  }
  const auto interval = [&](std::uint16_t seconds) {
    messages.push_back(peer_message(family, ifindex, key, WGPEER_F_UPDATE_ONLY, [&](Builder& builder) {
      builder.put_value<std::uint16_t>(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, seconds);
    }));
  };
  auto next = change.allow.begin();
  for (bool first = true; first || next != change.allow.end(); first = false) {
    const auto flags = (first && change.replace_allowed ? std::uint32_t{WGPEER_F_REPLACE_ALLOWEDIPS} : 0U) |
                       (first && change.add ? 0U : std::uint32_t{WGPEER_F_UPDATE_ONLY});
    messages.push_back(peer_message(family, ifindex, key, flags, [&](Builder& builder) {
      if (first && change.endpoint) put_endpoint(builder, *change.endpoint);
      if (next == change.allow.end()) return;
      builder.nest(WGPEER_A_ALLOWEDIPS, [&] {
        for (std::size_t i = 0; i < addresses_in_message && next != change.allow.end(); ++i, ++next)
          builder.nest(0, [&] {
            builder.put_value<std::uint16_t>(WGALLOWEDIP_A_FAMILY, next->is_v4() ? AF_INET : AF_INET6);
            put_address(builder, WGALLOWEDIP_A_IPADDR, next->address());
            builder.put_value<std::uint8_t>(WGALLOWEDIP_A_CIDR_MASK, static_cast<std::uint8_t>(next->length()));
          });
      });
    }));
  }
  const auto keepalive = change.keepalive.value_or(0);
  if (change.greet) {
    interval(0);
    interval(greeting);
  }
  if (change.keepalive || change.greet) interval(keepalive);
}

std::unexpected<Error> malformed(const char* what) {
  return fail(ErrorCode::invalid, std::string("the kernel's answer about a WireGuard device: ") + what);
}

// A copy, because an attribute is aligned to four bytes only.
template <class T>
Result<T> value_of(const nlattr* attribute) {
  T value{};
  if (mnl_attr_get_payload_len(attribute) < sizeof value) return malformed("an attribute is too short");
  std::memcpy(&value, mnl_attr_get_payload(attribute), sizeof value);
  return value;
}

Result<Key> key_of(const nlattr* attribute) {
  WEFT_TRY(const auto bytes, value_of<Key::Bytes>(attribute));
  return Key(bytes);
}

template <class Visit>
Result<void> each_attribute(const char* begin, std::size_t left, Visit visit) {
  while (left >= sizeof(nlattr)) {
    const auto* attribute = reinterpret_cast<const nlattr*>(begin);
    if (attribute->nla_len < sizeof(nlattr) || attribute->nla_len > left) return malformed("an attribute has no end");
    WEFT_CHECK(visit(attribute));
    const std::size_t whole = MNL_ALIGN(attribute->nla_len);
    if (whole >= left) break;
    begin += whole;
    left -= whole;
  }
  return {};
}

template <class Visit>
Result<void> each_nested(const nlattr* nest, Visit visit) {
  return each_attribute(static_cast<const char*>(mnl_attr_get_payload(nest)), mnl_attr_get_payload_len(nest), visit);
}

template <class Visit>
Result<void> each_of(const nlmsghdr* message, Visit visit) {
  constexpr auto header = sizeof(nlmsghdr) + sizeof(genlmsghdr);
  if (message->nlmsg_len < header) return malformed("it is too short");
  return each_attribute(reinterpret_cast<const char*>(message) + header, message->nlmsg_len - header, visit);
}

IpAddress address_of(const void* bytes, bool v4) {
  IpAddress::Bytes all{};
  if (v4) {
    all[10] = all[11] = 0xff;
    std::memcpy(all.data() + 12, bytes, 4);
  } else {
    std::memcpy(all.data(), bytes, 16);
  }
  return IpAddress(all);
}

Result<Endpoint> endpoint_of(const nlattr* attribute) {
  WEFT_TRY(const auto family, value_of<sa_family_t>(attribute));
  if (family == AF_INET) {
    WEFT_TRY(const auto v4, value_of<sockaddr_in>(attribute));
    return Endpoint{address_of(&v4.sin_addr, true), ntohs(v4.sin_port)};
  }
  WEFT_TRY(const auto v6, value_of<sockaddr_in6>(attribute));
  return Endpoint{address_of(&v6.sin6_addr, false), ntohs(v6.sin6_port)};
}

Result<Cidr> allowed_of(const nlattr* nest) {
  std::uint16_t family = 0;
  std::uint8_t length = 0;
  const nlattr* address = nullptr;
  WEFT_CHECK(each_nested(nest, [&](const nlattr* attribute) -> Result<void> {
    const auto type = mnl_attr_get_type(attribute);
    if (type == WGALLOWEDIP_A_FAMILY) {
      WEFT_TRY(family, value_of<std::uint16_t>(attribute));
    } else if (type == WGALLOWEDIP_A_CIDR_MASK) {
      WEFT_TRY(length, value_of<std::uint8_t>(attribute));
    } else if (type == WGALLOWEDIP_A_IPADDR) {
      address = attribute;
    }
    return {};
  }));
  const bool v4 = family == AF_INET;
  if (address == nullptr || mnl_attr_get_payload_len(address) < (v4 ? 4U : 16U) || length > (v4 ? 32 : 128))
    return malformed("an allowed address is none");
  return Cidr(address_of(mnl_attr_get_payload(address), v4), length);
}

Result<void> read_attribute(const nlattr* attribute, PeerState& peer) {
  switch (mnl_attr_get_type(attribute)) {
    case WGPEER_A_ENDPOINT: {
      WEFT_TRY(peer.endpoint, endpoint_of(attribute));
      return {};
    }
    case WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL: {
      WEFT_TRY(peer.keepalive, value_of<std::uint16_t>(attribute));
      return {};
    }
    case WGPEER_A_LAST_HANDSHAKE_TIME: {
      struct {
        std::int64_t seconds, nanoseconds;
      } time{};
      WEFT_TRY(time, value_of<decltype(time)>(attribute));
      constexpr std::int64_t most_seconds = 9'000'000'000;  // that fit as nanoseconds
      constexpr std::int64_t nanoseconds = 1'000'000'000;
      if (time.seconds < 0 || time.seconds > most_seconds || time.nanoseconds < 0 || time.nanoseconds >= nanoseconds)
        return malformed("the time of a handshake is none");
      peer.last_handshake = time.seconds * nanoseconds + time.nanoseconds;
      return {};
    }
    case WGPEER_A_RX_BYTES: {
      WEFT_TRY(peer.received, value_of<std::uint64_t>(attribute));
      return {};
    }
    case WGPEER_A_TX_BYTES: {
      WEFT_TRY(peer.sent, value_of<std::uint64_t>(attribute));
      return {};
    }
    case WGPEER_A_ALLOWEDIPS:
      return each_nested(attribute, [&](const nlattr* entry) -> Result<void> {
        WEFT_TRY(const auto cidr, allowed_of(entry));
        peer.allowed.insert(cidr);
        return {};
      });
    default:
      return {};
  }
}

Result<void> read_peer(const nlattr* nest, DeviceState& state) {
  std::optional<Key> key;
  WEFT_CHECK(each_nested(nest, [&](const nlattr* attribute) -> Result<void> {
    if (mnl_attr_get_type(attribute) != WGPEER_A_PUBLIC_KEY) return {};
    WEFT_TRY(key, key_of(attribute));
    return {};
  }));
  if (!key) return malformed("a peer has no key");
  auto& peer = state.peers[*key];
  return each_nested(nest, [&](const nlattr* attribute) { return read_attribute(attribute, peer); });
}

class KernelDevice : public Device {
 public:
  KernelDevice(std::unique_ptr<Transport> transport, std::uint16_t family, std::uint32_t ifindex)
      : transport_(std::move(transport)), family_(family), ifindex_(ifindex) {}

  Result<DeviceState> read() override {
    DeviceState state;
    auto message = kernel_get(family_, ifindex_);
    WEFT_CHECK(transport_->transact(message, [&](const nlmsghdr* answer) { return read_kernel(answer, state); }));
    return state;
  }

  Result<void> write(const DeviceChange& change) override {
    for (auto& message : kernel_set(family_, ifindex_, change))
      WEFT_CHECK(transport_->transact(message, [](const nlmsghdr*) { return Result<void>(); }));
    return {};
  }

 private:
  std::unique_ptr<Transport> transport_;
  std::uint16_t family_;
  std::uint32_t ifindex_;
};

}  // namespace

std::vector<Message> kernel_set(std::uint16_t family, std::uint32_t ifindex, const DeviceChange& change) {
  std::vector<Message> messages;
  if (change.private_key || change.port || change.mark) {
    auto builder = begin_set(family, ifindex);
    if (change.private_key)
      builder.put(WGDEVICE_A_PRIVATE_KEY, change.private_key->bytes().data(), change.private_key->bytes().size());
    if (change.port) builder.put_value<std::uint16_t>(WGDEVICE_A_LISTEN_PORT, *change.port);
    if (change.mark) builder.put_value<std::uint32_t>(WGDEVICE_A_FWMARK, *change.mark);
    messages.push_back(builder.finish());
  }
  // What goes makes room for addresses of what comes.
  for (const bool gone : {true, false})
    for (const auto& [key, peer] : change.peers)
      if (peer.remove == gone) put_peer(messages, family, ifindex, key, peer);
  return messages;
}

Message kernel_get(std::uint16_t family, std::uint32_t ifindex) {
  Builder builder(family, NLM_F_DUMP, WG_CMD_GET_DEVICE, WG_GENL_VERSION);
  builder.put_value<std::uint32_t>(WGDEVICE_A_IFINDEX, ifindex);
  return builder.finish();
}

Result<void> read_kernel(const nlmsghdr* message, DeviceState& state) {
  return each_of(message, [&](const nlattr* attribute) -> Result<void> {
    switch (mnl_attr_get_type(attribute)) {
      case WGDEVICE_A_PRIVATE_KEY: {
        WEFT_TRY(state.private_key, key_of(attribute));
        return {};
      }
      case WGDEVICE_A_LISTEN_PORT: {
        WEFT_TRY(state.port, value_of<std::uint16_t>(attribute));
        return {};
      }
      case WGDEVICE_A_FWMARK: {
        WEFT_TRY(state.mark, value_of<std::uint32_t>(attribute));
        return {};
      }
      case WGDEVICE_A_PEERS:
        return each_nested(attribute, [&](const nlattr* peer) { return read_peer(peer, state); });
      default:
        return {};
    }
  });
}

Result<std::uint16_t> find_family(Transport& transport) {
  Builder builder(GENL_ID_CTRL, NLM_F_ACK, CTRL_CMD_GETFAMILY, 1);
  builder.put(CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME, sizeof WG_GENL_NAME);
  auto message = builder.finish();
  std::uint16_t family = 0;
  const auto asked = transport.transact(message, [&](const nlmsghdr* answer) -> Result<void> {
    return each_of(answer, [&](const nlattr* attribute) -> Result<void> {
      if (mnl_attr_get_type(attribute) != CTRL_ATTR_FAMILY_ID) return {};
      WEFT_TRY(family, value_of<std::uint16_t>(attribute));
      return {};
    });
  });
  if (!asked && asked.error().code != ErrorCode::not_found) return fail(asked.error());
  if (family == 0) return fail(ErrorCode::unsupported, "this kernel has no WireGuard");
  return family;
}

std::unique_ptr<Device> kernel_device(std::unique_ptr<Transport> transport, std::uint16_t family,
                                      std::uint32_t ifindex) {
  return std::make_unique<KernelDevice>(std::move(transport), family, ifindex);
}

Result<std::unique_ptr<Device>> open_kernel(std::uint32_t ifindex) {
  WEFT_TRY(auto transport, open_transport());
  WEFT_TRY(const auto family, find_family(*transport));
  return kernel_device(std::move(transport), family, ifindex);
}

}  // namespace weft::wireguard
