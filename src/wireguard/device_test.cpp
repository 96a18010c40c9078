// Keys, what is changed of a device, and the text and the messages in which its implementations are told.
#include "wireguard/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wireguard/uapi.h"

namespace weft::wireguard {
namespace {

using testing::HasSubstr;
using testing::Not;

// A pair made by `wg genkey` and `wg pubkey`.
const Key secret = Key::from_base64("IDDnOKj5jDfbA+EGc9psKQTaLCJNz1BkigWsnN1Wn0Q=").value();
const Key shown = Key::from_base64("07kdibYCYr1VhnaKGAkwxlZE/TbrQzmCZVoQyrULWAQ=").value();
const Key first = Key::from_hex(std::string(63, '0') + "1").value();
const Key second = Key::from_hex(std::string(63, '0') + "2").value();
Cidr cidr(const char* text) { return Cidr::parse(text).value(); }
Endpoint endpoint(const char* text) { return Endpoint::parse(text).value(); }

DeviceConfig config() {
  DeviceConfig config;
  config.private_key = secret;
  config.port = 51871;
  config.peers[first] = {endpoint("192.0.2.2:51871"), {cidr("10.1.0.0/24"), cidr("fd00:1::/64")}, 0};
  config.peers[second] = {endpoint("[2001:db8::3]:51871"), {cidr("10.2.0.0/24")}, 25};
  return config;
}

DeviceState as_configured(const DeviceConfig& config) {
  DeviceState state{config.private_key, config.port, config.mark, {}};
  for (const auto& [key, peer] : config.peers) static_cast<Peer&>(state.peers[key]) = peer;
  return state;
}

std::map<Key, Endpoint> told(const DeviceConfig& config) {
  std::map<Key, Endpoint> all;
  for (const auto& [key, peer] : config.peers) all.emplace(key, *peer.endpoint);
  return all;
}

TEST(WireGuardKey, AreWrittenAsEverybodyWritesThem) {
  const auto key = Key::from_base64("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=");
  ASSERT_TRUE(key);
  EXPECT_EQ(key->base64(), "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=");
  EXPECT_EQ(Key::from_hex(key->hex()).value(), *key);
  EXPECT_FALSE(Key::from_base64("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg"));
  EXPECT_FALSE(Key::from_base64("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dh=")) << "bits after the last byte";
  EXPECT_FALSE(Key::from_base64("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8D!="));
  EXPECT_FALSE(Key::from_hex(std::string(64, 'g')));
  EXPECT_FALSE(Key::from_hex("00"));
}

TEST(WireGuardKey, ThePublicOneFollowsFromThePrivateOne) {
  EXPECT_EQ(public_key_of(secret).value(), shown);
  const auto one = generate_private_key().value();
  const auto other = generate_private_key().value();
  EXPECT_NE(one, other);
  EXPECT_NE(public_key_of(one).value(), public_key_of(other).value());
  EXPECT_EQ(one.bytes().front() & 7, 0);
  EXPECT_EQ(one.bytes().back() & 0xc0, 0x40);
}

TEST(WireGuardEndpoint, OfBothFamilies) {
  EXPECT_EQ(endpoint("192.0.2.1:51871").to_string(), "192.0.2.1:51871");
  EXPECT_EQ(endpoint("[2001:db8::1]:51871").to_string(), "[2001:db8::1]:51871");
  for (const auto* text : {"", "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:1x", "host:1", "[]:1"})
    EXPECT_FALSE(Endpoint::parse(text)) << text;
}

TEST(WireGuardDifference, NothingWhereAllIsAsWanted) {
  EXPECT_TRUE(difference(config(), as_configured(config()), told(config()), {}).empty());
}

TEST(WireGuardDifference, AFreshDeviceIsToldEverything) {
  const auto change = difference(config(), {}, {}, {first});
  EXPECT_EQ(change.private_key, secret);
  EXPECT_EQ(change.port, 51871);
  EXPECT_FALSE(change.mark);
  ASSERT_EQ(change.peers.size(), 2U);
  EXPECT_TRUE(change.peers.at(first).add);
  EXPECT_TRUE(change.peers.at(first).greet);
  EXPECT_FALSE(change.peers.at(first).replace_allowed);
  EXPECT_EQ(change.peers.at(second).keepalive, 25);
}

TEST(WireGuardDifference, AnEndpointThatWasLearntStays) {
  auto state = as_configured(config());
  state.peers[first].endpoint = endpoint("198.51.100.7:1024");
  EXPECT_TRUE(difference(config(), state, told(config()), {}).empty());
  EXPECT_TRUE(difference(config(), state, {}, {}).empty()) << "nobody knows what it was told: it stays";
  auto moved = config();
  moved.peers[first].endpoint = endpoint("192.0.2.9:51871");
  EXPECT_EQ(difference(moved, state, told(config()), {}).peers.at(first).endpoint, endpoint("192.0.2.9:51871"));
}

TEST(WireGuardDifference, AddressesThatOnlyGrowAreAddedWithoutAGap) {
  auto more = config();
  more.peers[first].allowed.insert(cidr("10.1.1.0/24"));
  auto change = difference(more, as_configured(config()), told(config()), {});
  EXPECT_EQ(change.peers.at(first).allow, std::set{cidr("10.1.1.0/24")});
  EXPECT_FALSE(change.peers.at(first).replace_allowed);
  auto other = config();
  other.peers[first].allowed = {cidr("10.9.0.0/24")};
  change = difference(other, as_configured(config()), told(config()), {});
  EXPECT_TRUE(change.peers.at(first).replace_allowed);
  EXPECT_EQ(change.peers.at(first).allow, std::set{cidr("10.9.0.0/24")});
}

TEST(WireGuardDifference, WhoIsNotWantedGoes) {
  auto fewer = config();
  fewer.peers.erase(second);
  const auto change = difference(fewer, as_configured(config()), told(config()), {});
  ASSERT_EQ(change.peers.size(), 1U);
  EXPECT_TRUE(change.peers.at(second).remove);
}

TEST(WireGuardUapi, AChangeInLines) {
  const auto text = uapi_set(difference(config(), {}, {}, {first}));
  EXPECT_EQ(text, "set=1\nprivate_key=" + secret.hex() + "\nlisten_port=51871\npublic_key=" + first.hex() +
                      "\nendpoint=192.0.2.2:51871\nallowed_ip=10.1.0.0/24\nallowed_ip=fd00:1::/64\n"
                      "persistent_keepalive_interval=0\npersistent_keepalive_interval=25\npublic_key=" +
                      first.hex() + "\nupdate_only=true\npersistent_keepalive_interval=0\npublic_key=" + second.hex() +
                      "\nendpoint=[2001:db8::3]:51871\nallowed_ip=10.2.0.0/24\npersistent_keepalive_interval=25\n\n");
  DeviceChange change;
  change.peers[first] = {.endpoint = {}, .allow = {cidr("10.9.0.0/24")}, .replace_allowed = true, .keepalive = {}};
  change.peers[second].remove = true;
  EXPECT_EQ(uapi_set(change), "set=1\npublic_key=" + second.hex() + "\nremove=true\npublic_key=" + first.hex() +
                                  "\nupdate_only=true\nreplace_allowed_ips=true\nallowed_ip=10.9.0.0/24\n\n");
}

TEST(WireGuardUapi, AnAnswerIsRead) {
  const auto state =
      parse_uapi("private_key=" + secret.hex() + "\nlisten_port=51871\nfwmark=7\npublic_key=" + first.hex() +
                 "\npreshared_key=" + Key().hex() +
                 "\nprotocol_version=1\nendpoint=[2001:db8::3]:9\nlast_handshake_time_sec=5\n"
                 "last_handshake_time_nsec=6\ntx_bytes=7\nrx_bytes=8\npersistent_keepalive_interval=25\n"
                 "allowed_ip=10.1.0.0/24\nallowed_ip=fd00:1::/64\npublic_key=" +
                 second.hex() + "\nerrno=0\n\n");
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->private_key, secret);
  EXPECT_EQ(state->port, 51871);
  EXPECT_EQ(state->mark, 7U);
  const auto& peer = state->peers.at(first);
  EXPECT_EQ(peer.endpoint, endpoint("[2001:db8::3]:9"));
  EXPECT_EQ(peer.last_handshake, 5'000'000'006);
  EXPECT_EQ(peer.sent, 7U);
  EXPECT_EQ(peer.received, 8U);
  EXPECT_EQ(peer.keepalive, 25);
  EXPECT_EQ(peer.allowed, (std::set{cidr("10.1.0.0/24"), cidr("fd00:1::/64")}));
  EXPECT_TRUE(state->peers.contains(second));
}

TEST(WireGuardUapi, ABadAnswerIsToldWithoutItsSecrets) {
  const auto why = [](const std::string& text) { return parse_uapi(text).error().message; };
  EXPECT_THAT(why("errno=-22\n\n"), HasSubstr("Invalid argument"));
  EXPECT_THAT(why("private_key=secret\nerrno=0\n\n"), HasSubstr("line 1"));
  EXPECT_THAT(why("private_key=secret\nerrno=0\n\n"), Not(HasSubstr("secret\n")));
  EXPECT_THAT(why("listen_port=70000\nerrno=0\n\n"), HasSubstr("listen_port: no number"));
  EXPECT_THAT(why("listen_port=1\n\n"), HasSubstr("does not say"));
  EXPECT_THAT(why("listen_port=1\nerrno=0\n"), HasSubstr("no end"));
  EXPECT_THAT(why("listen_port"), HasSubstr("ends within a line"));
  EXPECT_THAT(why("a\n\n"), HasSubstr("key=value"));
  const auto peer = "public_key=" + first.hex() + "\n";
  EXPECT_THAT(why(peer + peer + "errno=0\n\n"), HasSubstr("a second time"));
  EXPECT_THAT(why(peer + "allowed_ip=10.0.0.0/33\nerrno=0\n\n"), HasSubstr("allowed_ip"));
  EXPECT_THAT(why(peer + "endpoint=here\nerrno=0\n\n"), HasSubstr("endpoint"));
}

TEST(WireGuardUapi, NobodyAtTheSocketIsAMatterOfTime) {
  const auto device = open_uapi("/nowhere/at/all.sock");
  EXPECT_EQ(device->read().error().code, ErrorCode::unavailable);
  EXPECT_EQ(open_uapi(std::string(200, 'x'))->read().error().code, ErrorCode::invalid);
}

}  // namespace
}  // namespace weft::wireguard
