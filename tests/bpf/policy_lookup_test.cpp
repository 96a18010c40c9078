// The datapath's policy lookup and its twin in user space (control::evaluate) give the same verdict
// under the same rule, on random rows and random packets.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "control/policy/policy.h"
#include "fixture.h"

namespace weft::test {
namespace {

constexpr std::uint32_t kClass = 5;

class Dice {
 public:
  explicit Dice(std::uint32_t seed) : engine_(seed) {}
  std::uint32_t below(std::uint32_t bound) {
    return std::uniform_int_distribution<std::uint32_t>(0, bound - 1)(engine_);
  }
  bool one_in(std::uint32_t n) { return below(n) == 0; }
  template <class T, std::size_t N>
  const T& of(const T (&values)[N]) {
    return values[below(N)];
  }

 private:
  std::mt19937 engine_;
};

constexpr std::uint16_t kPorts[] = {0, 1, 79, 80, 81, 443, 8080, 32767, 32768, 65535};
constexpr std::uint8_t kProtocols[] = {kTcp, kUdp, kSctp};
constexpr std::uint32_t kPeers[] = {WEFT_IDENTITY_ANY, 1001, 1002, WEFT_IDENTITY_FIRST_CIDR + 1};

weft_policy_key random_key(Dice& dice, weft_direction direction) {
  const auto length = dice.one_in(3) ? 16u : dice.below(17);
  const auto port = static_cast<std::uint16_t>(dice.one_in(4) ? dice.below(65536) : dice.of(kPorts));
  const auto mask = length == 0 ? 0u : 0xffffu << (16 - length);
  weft_policy_key key{};
  key.policy_class = dice.one_in(6) ? kClass + 1 : kClass;
  key.identity = dice.of(kPeers);
  key.port = static_cast<std::uint16_t>(port & mask);
  key.protocol = length == 0 && dice.one_in(2) ? 0 : dice.of(kProtocols);
  key.direction_prefix = static_cast<std::uint8_t>(static_cast<unsigned>(direction) << 7 | length);
  return key;
}

struct Rules {
  control::PolicyRows rows;
  control::EndpointPolicy endpoint;
};

Rules random_rules(Dice& dice, weft_direction direction) {
  Rules rules;
  const auto count = dice.below(12);
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto key = random_key(dice, direction);
    const auto verdict = static_cast<std::uint8_t>(dice.one_in(4) ? WEFT_POLICY_DENY : WEFT_POLICY_ALLOW);
    rules.rows.insert_or_assign(key, weft_policy_entry{100 + i, verdict, {}});
    // now and then a length the mask does not name: both must skip it
    if (!dice.one_in(10)) rules.endpoint.prefix_mask[direction] |= 1u << (key.direction_prefix & 0x7f);
  }
  rules.endpoint.policy_class = kClass;
  rules.endpoint.enforced[direction] = !dice.one_in(10);
  rules.endpoint.default_rule[direction] = 70;
  return rules;
}

Row policed(const Net& net, char letter, weft_direction direction, const control::EndpointPolicy& endpoint,
            std::uint32_t cidr_identity) {
  return pod(net, letter,
             {.policy_class = endpoint.policy_class,
              .ingress_enforced = direction == WEFT_INGRESS && endpoint.enforced[direction],
              .egress_enforced = direction == WEFT_EGRESS && endpoint.enforced[direction],
              .prefix_mask = endpoint.prefix_mask[direction],
              .cidr_identity = cidr_identity,
              .default_rule = {70, 70}});
}

void compare(Datapath& datapath, const Net& net, weft_direction direction, Dice& dice) {
  const auto rules = random_rules(dice, direction);
  const auto cidr = dice.one_in(2) ? WEFT_IDENTITY_FIRST_CIDR + 1u : 0u;
  datapath.clear();
  standard(net)(datapath);
  const char subject = direction == WEFT_INGRESS ? 'b' : 'a';
  policed(net, subject, direction, rules.endpoint, 0)(datapath);
  pod(net, subject == 'a' ? 'b' : 'a', {.cidr_identity = cidr})(datapath);
  for (const auto& [key, entry] : rules.rows) datapath.put("weft_policy_v1", key, entry);
  const std::uint32_t peer = subject == 'a' ? 1002 : 1001;
  for (int i = 0; i < 12; ++i) {
    const auto protocol = dice.of(kProtocols);
    const auto port = static_cast<std::uint16_t>(dice.one_in(4) ? dice.below(65536) : dice.of(kPorts));
    auto packet = udp(net.a, static_cast<std::uint16_t>(40000 + i), net.b, port);
    packet.protocol = protocol;
    packet.tcp_flags = kSyn;
    const auto want =
        control::evaluate(rules.rows, rules.endpoint, direction, peer, cidr, static_cast<Protocol>(protocol), port);
    const auto result = datapath.run(Hook::from_pod, packet, {.ifindex = kPodA});
    const auto events = datapath.events();
    ASSERT_EQ(want.allowed ? kActRedirect : kActShot, result.verdict) << "protocol " << +protocol << " port " << port;
    ASSERT_EQ(1u, events.size());
    EXPECT_EQ(want.rule, direction == WEFT_INGRESS ? events[0].ingress_rule : events[0].egress_rule)
        << "protocol " << +protocol << " port " << port;
  }
}

TEST(PolicyLookup, AgreesWithItsTwin) {
  auto& datapath = Datapath::shared();
  for (std::uint32_t seed = 0; seed < 400 && !HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Dice dice(seed);
    compare(datapath, seed % 2 ? net_v4() : net_v6(), seed % 4 < 2 ? WEFT_INGRESS : WEFT_EGRESS, dice);
  }
}

}  // namespace
}  // namespace weft::test
