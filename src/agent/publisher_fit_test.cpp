// A Service that finds no room in the maps holds up nobody else: pods are attached, policies are enforced, other
// Services are served, and it is served itself once there is room.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/node_testing.h"
#include "agent/publisher.h"
#include "datapath/testing.h"

namespace weft::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto policy =
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: other}\n"
    "spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}]}]}\n";

// With that many endpoints.
std::string service(const std::string& name, int endpoints) {
  auto text = fmt::format(
      "apiVersion: v1\nkind: Service\nmetadata: {{name: {0}, namespace: shop}}\nspec: {{ports: [{{port: 80}}]}}\n---\n"
      "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {{name: {0}-1, namespace: "
      "shop, labels: {{kubernetes.io/service-name: {0}}}}}\nports: [{{port: 80, protocol: TCP}}]\nendpoints:\n",
      name);
  for (int i = 1; i <= endpoints; ++i)
    text += fmt::format("- {{addresses: [10.244.{}.{}]}}\n", 1 + static_cast<int>(name.front()) % 100, i);
  return text + "---\n";
}

class PublisherFit : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(config) << config.error().message;
    node.uplinks[1] = {"eth0", 1500, IpAddress::v4(0xc0000201), {}, {}};
    node.addresses = {IpAddress::v4(0xc0000201)};
    open();
    ASSERT_TRUE(publisher->publish());
  }
  void open() {
    publisher.reset();
    tables = maps.open().value();
    publisher = Publisher::open({*config, store, *objects, *tables}, 0, problems).value();
    objects->on_change([this](const ObjectChange& change) { publisher->object_changed(change); });
    publisher->set_node(node);
    publisher->set_records(records);
    publisher->set_may_announce([](const weft_l2_key&) { return true; });
  }
  static std::vector<model::Document> parse(const std::string& yaml) {
    auto outcome = model::parse_manifests("t.yaml", yaml);
    EXPECT_TRUE(outcome.problems.empty()) << outcome.problems.front().to_string();
    for (auto& document : outcome.documents) Objects::prepare(document);
    return std::move(outcome.documents);
  }
  std::string apply(const std::string& yaml) {
    auto documents = parse(yaml);
    const auto before = publisher->held(documents);
    for (const auto& refusal : publisher->admit(documents)) ADD_FAILURE() << refusal.error.message;
    const auto applied = publisher->apply(documents, before);
    return applied ? "applied" : applied.error().message;
  }
  // As by a larger node, or with larger maps.
  void have(const std::string& yaml) {
    const auto documents = parse(yaml);
    for (const auto& document : documents)
      if (const auto* one = std::get_if<model::Service>(&document.object)) {
        ASSERT_TRUE(publisher->services().assign(*one));
      }
    ASSERT_TRUE(objects->apply(documents));
  }
  Result<std::optional<Error>> remove(const std::string& name) {
    return publisher->remove(
        {{model::Kind::service, {"shop", name}}, {model::Kind::endpoint_slice, {"shop", name + "-1"}}});
  }
  void attach(const std::string& name, const IpAddress& address) {
    const auto id = 100 + static_cast<std::uint32_t>(records.size());
    const auto record = testing::ready_record({"other", name}, id, address);
    records[record.key] = record;
  }
  [[nodiscard]] bool attached(const IpAddress& address) const {
    return maps.endpoints().contains(datapath::to_abi(address));
  }
  [[nodiscard]] std::size_t slots_of(const std::string& name) const {
    const auto ports = publisher->services().ports_of({"shop", name});
    return ports.empty() ? 0 : ports.front()->row.slot_count;
  }
  [[nodiscard]] std::vector<std::string> left_out() const {
    std::vector<std::string> names;
    for (const auto& one : publisher->services().left_out()) names.push_back(one.owner.to_string());
    return names;
  }

  Result<Config> config =
      parse_config("test", "node: here\npod_cidrs: [10.244.0.0/16]\nservice_cidrs: [10.96.0.0/16]\n");
  datapath::testing::FakeMaps maps{{{"weft_slot_v2", 8}}};
  store::Store store = *store::Store::open(":memory:");
  std::vector<std::string> problems;
  std::optional<Objects> objects{std::move(*Objects::load(store, problems))};
  std::unique_ptr<datapath::Tables> tables;
  Node node;
  Publisher::Records records;
  std::unique_ptr<Publisher> publisher;
};

TEST_F(PublisherFit, PodsPoliciesAndOtherServicesGoOnBesideOneThatDoesNotFit) {
  have(service("big", 9));
  have(service("web", 2));
  attach("a", IpAddress::v4(0x0af4020a));
  ASSERT_TRUE(publisher->publish());
  EXPECT_THAT(left_out(), ::testing::ElementsAre("shop/big"));
  EXPECT_TRUE(attached(IpAddress::v4(0x0af4020a)));
  EXPECT_EQ(slots_of("web"), 2U);
  EXPECT_EQ(apply(policy), "applied");
  EXPECT_FALSE(maps.policy().empty());
  EXPECT_EQ(apply(service("api", 1)), "applied") << "another's Service is no reason to refuse one";
  EXPECT_EQ(slots_of("api"), 1U);
  attach("b", IpAddress::v4(0x0af4020b));
  ASSERT_TRUE(publisher->publish());
  EXPECT_TRUE(attached(IpAddress::v4(0x0af4020b)));
  ASSERT_TRUE(publisher->set_healthy(IpAddress::v4(0x0af40101), 80, Protocol::tcp, false));
  ASSERT_TRUE(remove("big"));
  EXPECT_THAT(left_out(), IsEmpty());
}

TEST_F(PublisherFit, OnesOwnRequestIsRefusedAndChangesNothing) {
  ASSERT_EQ(apply(service("web", 3)), "applied");
  const auto before = maps.frontends();
  EXPECT_THAT(apply(service("big", 9)), HasSubstr("nothing was applied"));
  EXPECT_THAT(apply(service("web", 6)), HasSubstr("nothing was applied"));
  EXPECT_EQ(slots_of("web"), 3U);
  EXPECT_THAT(left_out(), IsEmpty());
  EXPECT_TRUE(datapath::testing::same(maps.frontends(), before));
}

TEST_F(PublisherFit, WhatIsDeletedMakesRoomAtOnce) {
  ASSERT_EQ(apply(service("old", 6)), "applied");
  have(service("new", 5));
  ASSERT_TRUE(publisher->publish());
  EXPECT_THAT(left_out(), ::testing::ElementsAre("shop/new"));
  ASSERT_TRUE(remove("old"));
  EXPECT_THAT(left_out(), IsEmpty());
  EXPECT_EQ(slots_of("new"), 5U);
  EXPECT_EQ(maps.frontends().size(), 1U);
}

// The maps are full of Services that went while no agent ran.
TEST_F(PublisherFit, ARestartWithFullMapsHeals) {
  ASSERT_EQ(apply(service("web", 2)), "applied");
  ASSERT_EQ(apply(service("old", 6)), "applied");
  objects->on_change([](const ObjectChange&) {});
  ASSERT_TRUE(
      objects->remove({{model::Kind::service, {"shop", "old"}}, {model::Kind::endpoint_slice, {"shop", "old-1"}}}));
  ASSERT_TRUE(objects->apply(parse(service("new", 6))));
  attach("a", IpAddress::v4(0x0af4020a));
  open();
  ASSERT_TRUE(publisher->publish());
  EXPECT_THAT(left_out(), IsEmpty());
  EXPECT_EQ(slots_of("new"), 6U);
  EXPECT_EQ(slots_of("web"), 2U);
  EXPECT_EQ(maps.frontends().size(), 2U);
  EXPECT_TRUE(attached(IpAddress::v4(0x0af4020a)));
}

}  // namespace
}  // namespace weft::agent
