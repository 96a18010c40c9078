#include "agent/announce.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

class AnnounceTest : public ::testing::Test {
 protected:
  AnnounceTest() {
    control::ServiceOptions options;
    options.cluster_cidrs = {Cidr::parse("10.96.0.0/16").value()};
    services.emplace(options, control::ServiceAssignments());
    node.uplinks[3].name = "uplink0";
    objects->on_change([this](const ObjectChange& change) {
      const auto* service = change.object == nullptr ? nullptr : std::get_if<model::Service>(change.object);
      if (change.key.kind != model::Kind::service) return;
      facts.changed(change.key.key, service);
      if (service == nullptr) return services->erase_service(change.key.key);
      ASSERT_TRUE(services->assign(*service));
      services->upsert(*service);
    });
  }
  void apply(const std::string& text) {
    auto outcome = model::parse_manifests("test.yaml", text);
    for (const auto& problem : outcome.problems) ADD_FAILURE() << problem.to_string();
    ASSERT_TRUE(objects->apply(outcome.documents));
    ASSERT_TRUE(services->compile());
  }
  std::vector<std::string> announced() {
    std::vector<std::string> result;
    for (const auto& [key, row] : announced_rows(*objects, facts, *services, node))
      result.push_back(datapath::from_abi(key.addr).to_string());
    return result;
  }

  store::Store store = *store::Store::open(":memory:");
  std::vector<std::string> problems;
  Result<Objects> objects = Objects::load(store, problems);
  std::optional<control::ServiceCompiler> services;
  ServiceFacts facts;
  Node node;
};

constexpr auto announcement =
    "apiVersion: weft.io/v1alpha1\nkind: L2Announcement\nmetadata: {name: some}\n"
    "spec: {serviceSelector: {matchLabels: {tell: 'yes'}}}\n---\n";

TEST_F(AnnounceTest, TheAddressesOfTheServicesTheSelectorNames) {
  apply(
      "apiVersion: v1\nkind: Service\nmetadata: {name: told, labels: {tell: 'yes'}}\n"
      "spec: {ports: [{port: 80}], externalIPs: [192.0.2.80]}\n---\n"
      "apiVersion: v1\nkind: Service\nmetadata: {name: untold}\n"
      "spec: {ports: [{port: 80}], externalIPs: [192.0.2.81]}\n---\n"
      "apiVersion: v1\nkind: Service\nmetadata: {name: inside, labels: {tell: 'yes'}}\nspec: {ports: [{port: 80}]}\n");
  EXPECT_THAT(announced(), ::testing::IsEmpty());
  apply(announcement);
  EXPECT_THAT(announced(), ::testing::ElementsAre("192.0.2.80"));
  EXPECT_EQ(facts.announceable().size(), 2U) << "one without such addresses is not kept";
  node.addresses.insert(ip("192.0.2.80"));
  EXPECT_THAT(announced(), ::testing::IsEmpty()) << "the node answers for its own";
}

TEST_F(AnnounceTest, AServiceThatLosesItsAddressOrItsLabelIsNoLongerAnnounced) {
  const auto service = [](const std::string& label, const std::string& addresses) {
    return "apiVersion: v1\nkind: Service\nmetadata: {name: web, labels: {tell: '" + label +
           "'}}\nspec: {ports: [{port: 80}], externalIPs: [" + addresses + "]}\n";
  };
  apply(announcement + service("yes", "192.0.2.80"));
  EXPECT_THAT(announced(), ::testing::ElementsAre("192.0.2.80"));
  apply(service("no", "192.0.2.80"));
  EXPECT_THAT(announced(), ::testing::IsEmpty());
  apply(service("yes", ""));
  EXPECT_THAT(announced(), ::testing::IsEmpty());
  EXPECT_TRUE(facts.announceable().empty());
  apply(service("yes", "192.0.2.80"));
  ASSERT_TRUE(objects->remove({{model::Kind::service, {"default", "web"}}}));
  ASSERT_TRUE(services->compile());
  EXPECT_THAT(announced(), ::testing::IsEmpty());
  EXPECT_TRUE(facts.announceable().empty());
}

}  // namespace
}  // namespace weft::agent
