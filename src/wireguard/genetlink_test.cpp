// The kernel's WireGuard, played by a kernel in memory that reads messages by its own code, after linux/wireguard.h:
// the machine that runs the tests may have none.
#include "wireguard/genetlink.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>

#include <cstring>

namespace weft::wireguard {
namespace {

constexpr std::uint16_t family_number = 31;
constexpr std::uint32_t ifindex = 7;

struct Attribute {
  std::uint16_t type = 0;
  std::string_view value;
};

std::vector<Attribute> attributes(std::string_view bytes) {
  std::vector<Attribute> all;
  while (bytes.size() >= 4) {
    std::uint16_t length = 0;
    Attribute one;
    std::memcpy(&length, bytes.data(), 2);
    std::memcpy(&one.type, bytes.data() + 2, 2);
    one.type &= 0x3fff;
    if (length < 4 || length > bytes.size()) {
      ADD_FAILURE() << "an attribute of " << length << " bytes where there are " << bytes.size();
      break;
    }
    one.value = bytes.substr(4, length - 4U);
    all.push_back(one);
    bytes.remove_prefix(std::min<std::size_t>((length + 3U) & ~3U, bytes.size()));
  }
  return all;
}

template <class T>
T as(std::string_view value) {
  T result{};
  EXPECT_EQ(value.size(), sizeof result);
  value.copy(reinterpret_cast<char*>(&result), sizeof result);
  return result;
}

std::string attribute(std::uint16_t type, const std::string& value) {
  const auto length = static_cast<std::uint16_t>(4 + value.size());
  std::string bytes(4, '\0');
  std::memcpy(bytes.data(), &length, 2);
  std::memcpy(bytes.data() + 2, &type, 2);
  bytes += value;
  bytes.resize((bytes.size() + 3) & ~std::size_t{3});
  return bytes;
}
template <class T>
std::string plain(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}
std::string text(const Key& key) { return plain(key.bytes()); }

struct Kernel {
  bool has_wireguard = true;
  std::string key;
  std::uint16_t port = 0;
  std::uint32_t mark = 0;
  struct Peer {
    std::string endpoint;
    std::vector<std::string> allowed;  // family, length, address as they came
    std::uint16_t keepalive = 0;
    int sent = 0;  // packets of its own accord
  };
  std::map<std::string, Peer> peers;
  std::size_t largest = 0;

  void set_peer(std::string_view bytes) {
    std::string name;
    std::uint32_t flags = 0;
    for (const auto& [type, value] : attributes(bytes)) {
      if (type == WGPEER_A_PUBLIC_KEY) name = value;
      if (type == WGPEER_A_FLAGS) flags = as<std::uint32_t>(value);
    }
    ASSERT_EQ(name.size(), 32U);
    if ((flags & WGPEER_F_REMOVE_ME) != 0) {
      peers.erase(name);
      return;
    }
    if ((flags & WGPEER_F_UPDATE_ONLY) != 0 && !peers.contains(name)) return;
    auto& peer = peers[name];
    if ((flags & WGPEER_F_REPLACE_ALLOWEDIPS) != 0) peer.allowed.clear();
    for (const auto& [type, value] : attributes(bytes)) {
      if (type == WGPEER_A_ENDPOINT) peer.endpoint = value;
      if (type == WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL) {
        const auto interval = as<std::uint16_t>(value);
        if (peer.keepalive == 0 && interval != 0) ++peer.sent;
        peer.keepalive = interval;
      }
      if (type == WGPEER_A_ALLOWEDIPS)
        for (const auto& entry : attributes(value)) peer.allowed.emplace_back(entry.value);
    }
  }

  void set(std::string_view bytes) {
    for (const auto& [type, value] : attributes(bytes)) {
      if (type == WGDEVICE_A_IFINDEX) {
        EXPECT_EQ(as<std::uint32_t>(value), ifindex);
      }
      if (type == WGDEVICE_A_PRIVATE_KEY) key = value;
      if (type == WGDEVICE_A_LISTEN_PORT) port = as<std::uint16_t>(value);
      if (type == WGDEVICE_A_FWMARK) mark = as<std::uint32_t>(value);
      if (type == WGDEVICE_A_PEERS)
        for (const auto& peer : attributes(value)) set_peer(peer.value);
    }
  }

  // In several messages for a peer with more than one address, as the kernel does when one is full.
  [[nodiscard]] std::vector<std::string> dump() const {
    std::vector<std::string> parts{
        attribute(WGDEVICE_A_IFINDEX, plain(ifindex)) + attribute(WGDEVICE_A_PRIVATE_KEY, key) +
        attribute(WGDEVICE_A_LISTEN_PORT, plain(port)) + attribute(WGDEVICE_A_FWMARK, plain(mark))};
    for (const auto& [name, peer] : peers) {
      const auto list = [](auto begin, auto end) {
        std::string all;
        for (; begin != end; ++begin) all += attribute(0x8000, *begin);
        return attribute(0x8000 | WGPEER_A_ALLOWEDIPS, all);
      };
      const struct { std::int64_t seconds = 5, nanoseconds = 6; } time;
      auto next = peer.allowed.begin() + static_cast<long>(std::min<std::size_t>(peer.allowed.size(), 1));
      auto first = attribute(WGPEER_A_PUBLIC_KEY, name) + attribute(WGPEER_A_PRESHARED_KEY, std::string(32, '\0')) +
                   attribute(WGPEER_A_LAST_HANDSHAKE_TIME, plain(time)) +
                   attribute(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, plain(peer.keepalive)) +
                   attribute(WGPEER_A_TX_BYTES, plain(std::uint64_t{70})) +
                   attribute(WGPEER_A_RX_BYTES, plain(std::uint64_t{80})) + list(peer.allowed.begin(), next);
      if (!peer.endpoint.empty()) first += attribute(WGPEER_A_ENDPOINT, peer.endpoint);
      std::vector<std::string> pieces{first};
      while (next != peer.allowed.end()) {
        const auto end = next + std::min<long>(300, peer.allowed.end() - next);
        pieces.push_back(attribute(WGPEER_A_PUBLIC_KEY, name) + list(next, end));
        next = end;
      }
      for (const auto& one : pieces) parts.push_back(attribute(0x8000 | WGDEVICE_A_PEERS, attribute(0x8000, one)));
    }
    return parts;
  }
};

class FakeTransport : public Transport {
 public:
  explicit FakeTransport(Kernel& kernel) : kernel_(kernel) {}
  Result<void> transact(Message& message, const Visit& visit) override {
    const std::string_view bytes(reinterpret_cast<const char*>(message.data()), message.size());
    const auto header = as<nlmsghdr>(bytes.substr(0, sizeof(nlmsghdr)));
    const auto generic = as<genlmsghdr>(bytes.substr(sizeof(nlmsghdr), sizeof(genlmsghdr)));
    EXPECT_EQ(header.nlmsg_len, bytes.size());
    kernel_.largest = std::max(kernel_.largest, bytes.size());
    const auto body = bytes.substr(sizeof(nlmsghdr) + sizeof(genlmsghdr));
    if (header.nlmsg_type == GENL_ID_CTRL) {
      if (!kernel_.has_wireguard) return fail(errno_error("the kernel", ENOENT));
      EXPECT_EQ(attributes(body).at(0).value, std::string_view(WG_GENL_NAME, sizeof WG_GENL_NAME));
      return answer(attribute(CTRL_ATTR_FAMILY_NAME, std::string("wireguard\0", 10)) +
                        attribute(CTRL_ATTR_FAMILY_ID, plain(family_number)),
                    visit);
    }
    EXPECT_EQ(header.nlmsg_type, family_number);
    if (generic.cmd == WG_CMD_SET_DEVICE) {
      kernel_.set(body);
      return {};
    }
    EXPECT_EQ(generic.cmd, WG_CMD_GET_DEVICE);
    EXPECT_EQ(header.nlmsg_flags & NLM_F_DUMP, NLM_F_DUMP);
    for (const auto& part : kernel_.dump()) WEFT_CHECK(answer(part, visit));
    return {};
  }

 private:
  static Result<void> answer(const std::string& body, const Visit& visit) {
    nlmsghdr header{};
    header.nlmsg_len = static_cast<std::uint32_t>(sizeof header + sizeof(genlmsghdr) + body.size());
    const auto whole = plain(header) + plain(genlmsghdr{}) + body;
    std::vector<std::uint64_t> aligned(whole.size() / 8 + 1);
    std::memcpy(aligned.data(), whole.data(), whole.size());
    return visit(reinterpret_cast<const nlmsghdr*>(aligned.data()));
  }
  Kernel& kernel_;
};

Key key(char last) {
  Key::Bytes bytes{};
  bytes.back() = static_cast<std::uint8_t>(last);
  return Key(bytes);
}
Cidr cidr(const std::string& text) { return Cidr::parse(text).value(); }

DeviceConfig config() {
  DeviceConfig config;
  config.private_key = key(9);
  config.port = 51871;
  config.mark = 0x57;
  config.peers[key(1)] = {Endpoint::parse("192.0.2.2:51871").value(), {cidr("10.1.0.0/24"), cidr("fd00:1::/64")}, 0};
  config.peers[key(2)] = {Endpoint::parse("[2001:db8::3]:51871").value(), {cidr("10.2.0.0/24")}, 25};
  return config;
}

std::unique_ptr<Device> device(Kernel& kernel) {
  return kernel_device(std::make_unique<FakeTransport>(kernel), family_number, ifindex);
}

TEST(KernelWireGuard, IsAskedFor) {
  Kernel kernel;
  FakeTransport transport(kernel);
  EXPECT_EQ(find_family(transport).value(), family_number);
  kernel.has_wireguard = false;
  EXPECT_EQ(find_family(transport).error().code, ErrorCode::unsupported);
}

TEST(KernelWireGuard, IsWhatItWasToldToBe) {
  Kernel kernel;
  const auto made = device(kernel);
  ASSERT_TRUE(made->write(difference(config(), {}, {}, {key(1)})));
  EXPECT_EQ(kernel.port, 51871);
  EXPECT_EQ(kernel.peers.at(text(key(1))).sent, 1) << "greeted";
  EXPECT_EQ(kernel.peers.at(text(key(1))).keepalive, 0);
  const auto state = made->read();
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_TRUE(difference(config(), *state, {}, {}).empty());
  EXPECT_EQ(state->peers.at(key(1)).last_handshake, 5'000'000'006);
  EXPECT_EQ(state->peers.at(key(2)).sent, 70U);
  EXPECT_EQ(state->peers.at(key(2)).received, 80U);
}

TEST(KernelWireGuard, TakesChanges) {
  Kernel kernel;
  const auto made = device(kernel);
  ASSERT_TRUE(made->write(difference(config(), {}, {}, {})));
  auto other = config();
  other.peers.erase(key(2));
  other.peers[key(1)].allowed = {cidr("10.2.0.0/24")};
  ASSERT_TRUE(made->write(difference(other, made->read().value(), {}, {})));
  EXPECT_EQ(kernel.peers.size(), 1U);
  EXPECT_TRUE(difference(other, made->read().value(), {}, {}).empty());
  DeviceChange late;
  late.peers[key(5)].keepalive = 3;
  ASSERT_TRUE(made->write(late));
  EXPECT_FALSE(kernel.peers.contains(text(key(5)))) << "one that has gone stays away";
}

TEST(KernelWireGuard, ManyAddressesTakeManyMessages) {
  Kernel kernel;
  const auto made = device(kernel);
  auto many = config();
  for (int i = 0; i < 5000; ++i)
    many.peers[key(1)].allowed.insert(cidr("10." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ".0/24"));
  ASSERT_TRUE(made->write(difference(many, {}, {}, {})));
  EXPECT_LT(kernel.largest, 16384U);
  EXPECT_TRUE(difference(many, made->read().value(), {}, {}).empty());
}

TEST(KernelWireGuard, ABadAnswerIsAnError) {
  const auto read = [](const std::string& body) {
    nlmsghdr header{};
    header.nlmsg_len = static_cast<std::uint32_t>(sizeof header + sizeof(genlmsghdr) + body.size());
    const auto whole = plain(header) + plain(genlmsghdr{}) + body;
    std::vector<std::uint64_t> aligned(whole.size() / 8 + 1);
    std::memcpy(aligned.data(), whole.data(), whole.size());
    DeviceState state;
    return read_kernel(reinterpret_cast<const nlmsghdr*>(aligned.data()), state).has_value();
  };
  EXPECT_TRUE(read(attribute(WGDEVICE_A_LISTEN_PORT, plain(std::uint16_t{7}))));
  EXPECT_FALSE(read(attribute(WGDEVICE_A_PRIVATE_KEY, "short")));
  EXPECT_FALSE(read(attribute(WGDEVICE_A_PEERS, attribute(0, attribute(WGPEER_A_RX_BYTES, "12345678"))))) << "no key";
  auto cut = attribute(WGDEVICE_A_LISTEN_PORT, plain(std::uint16_t{7}));
  cut[0] = 100;
  EXPECT_FALSE(read(cut));
}

}  // namespace
}  // namespace weft::wireguard
