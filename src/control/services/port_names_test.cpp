// A Service's port is known by its name: what it has stays its own when its number is another.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/services/services.h"
#include "control/services/testing.h"

namespace weft::control {
namespace {

using testing::apply;
using ::testing::IsEmpty;
using testing::Maps;
using testing::options;
using testing::pod;
using testing::port;
using testing::service;
using ::testing::SizeIs;

class PortNames : public ::testing::Test {
 protected:
  PortNames() {
    web_.type = model::Service::Type::node_port;
    compiler_.upsert(pod("web-0", {{"app", "web"}}, {"10.0.0.1"}));
    compiler_.upsert(pod("web-1", {{"app", "web"}}, {"10.0.0.2"}));
  }
  ServiceDelta give(std::vector<model::ServicePort> ports) {
    web_.ports = std::move(ports);
    apply(compiler_, web_);
    auto delta = compiler_.compile();
    EXPECT_TRUE(delta) << delta.error().message;
    return delta ? *delta : ServiceDelta();
  }
  [[nodiscard]] const ServicePort& at(std::uint16_t number) const {
    for (const auto* one : compiler_.ports_of({"shop", "web"}))
      if (one->port == number) return *one;
    static const ServicePort none;
    ADD_FAILURE() << "no port " << number;
    return none;
  }
  [[nodiscard]] std::vector<std::uint32_t> backends(std::uint16_t number) const {
    std::vector<std::uint32_t> ids;
    for (const auto& backend : at(number).backends) ids.push_back(backend.id);
    return ids;
  }
  [[nodiscard]] std::uint16_t node_port(std::uint16_t number) const {
    const auto held = compiler_.held({"shop", "web"}).node_ports;
    const auto found = held.find({number, Protocol::tcp});
    return found == held.end() ? std::uint16_t{0} : found->second;
  }
  static model::ServicePort tcp(std::uint16_t number, const std::string& name, std::uint16_t target = 8080) {
    return port(number, target, name);
  }

  ServiceCompiler compiler_{options(), {}};
  model::Service web_ = service("web", {{"app", "web"}});
};

TEST_F(PortNames, AnotherNumberKeepsIdBackendsSlotsAndNodePort) {
  give({tcp(80, "http"), tcp(443, "https", 8443)});
  const auto before = at(80);
  const auto given = node_port(80);
  ASSERT_NE(given, 0);
  const auto delta = give({tcp(8000, "http"), tcp(443, "https", 8443)});
  EXPECT_EQ(at(8000).id, before.id);
  EXPECT_EQ(at(8000).backends, before.backends);
  EXPECT_EQ(at(8000).row.first_slot, before.row.first_slot);
  EXPECT_EQ(node_port(8000), given);
  EXPECT_THAT(delta.backends_gone, IsEmpty()) << "connections to the old number go on";
  EXPECT_THAT(delta.services_new, IsEmpty()) << "its counters are not reset";
  EXPECT_THAT(delta.frontends, SizeIs(1));
  EXPECT_THAT(delta.frontends_gone, SizeIs(1)) << "nobody begins one to the old number";
  EXPECT_EQ(compiler_.find(before.frontends.at(0).address, 80, Protocol::tcp), nullptr);
}

TEST_F(PortNames, TheOnlyPortNeedsNone) {
  give({tcp(80, "")});
  const auto before = at(80);
  give({tcp(81, "")});
  EXPECT_EQ(at(81).id, before.id);
}

TEST_F(PortNames, ThoseThatChangeNumbersCarryTheirBackendsAlong) {
  give({tcp(80, "one"), tcp(81, "two", 9090)});
  const auto one = at(80);
  const auto two = at(81);
  const auto node_one = node_port(80);
  const auto node_two = node_port(81);
  const auto delta = give({tcp(81, "one"), tcp(80, "two", 9090)});
  EXPECT_EQ(at(81).id, one.id);
  EXPECT_EQ(at(80).id, two.id);
  EXPECT_EQ(at(81).backends, one.backends);
  EXPECT_EQ(node_port(81), node_one);
  EXPECT_EQ(node_port(80), node_two);
  EXPECT_THAT(delta.backends_gone, IsEmpty());
  EXPECT_THAT(delta.frontends_gone, IsEmpty());
}

TEST_F(PortNames, ANewPortThatTakesTheOldNumberIsNew) {
  give({tcp(80, "http")});
  const auto before = at(80);
  const auto given = node_port(80);
  give({tcp(80, "other", 9090), tcp(81, "http")});
  EXPECT_EQ(at(81).id, before.id);
  EXPECT_EQ(node_port(81), given);
  EXPECT_NE(at(80).id, before.id);
  EXPECT_NE(node_port(80), given);
  EXPECT_NE(node_port(80), 0);
}

TEST_F(PortNames, AnotherNameForTheSameNumberKeepsThemToo) {
  give({tcp(80, "http")});
  const auto before = at(80);
  const auto given = node_port(80);
  const auto delta = give({tcp(80, "web")});
  EXPECT_EQ(at(80).id, before.id);
  EXPECT_EQ(node_port(80), given);
  EXPECT_THAT(delta.backends_gone, IsEmpty());
}

TEST_F(PortNames, AnotherProtocolIsAnotherPort) {
  give({tcp(80, "http")});
  const auto before = at(80);
  give({port(80, std::uint16_t{8080}, "http", Protocol::udp)});
  EXPECT_NE(at(80).id, before.id);
}

TEST_F(PortNames, AskedTwiceItAnswersTheSame) {
  give({tcp(80, "http"), tcp(443, "https")});
  web_.ports = {tcp(8000, "http"), tcp(443, "https")};
  const auto once = compiler_.assign(web_);
  const auto twice = compiler_.assign(web_);
  ASSERT_TRUE(once && twice);
  EXPECT_EQ(*once, *twice);
}

TEST_F(PortNames, NodePortsOfPortsThatGoAreFree) {
  give({tcp(80, "a"), tcp(81, "b")});
  const auto freed = node_port(80);
  give({tcp(80, "b")});  // the number of the one that goes
  EXPECT_NE(node_port(80), freed);
  auto other = service("other");
  other.type = model::Service::Type::node_port;
  other.ports[0].node_port = freed;
  EXPECT_TRUE(compiler_.assign(other));
}

}  // namespace
}  // namespace weft::control
