// Tables that are too small for all: who was served stays served, also across a restart, and no namespace takes what is
// another's share.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "control/services/services.h"
#include "control/services/testing.h"

namespace weft::control {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using testing::ip;
using ::testing::IsEmpty;
using testing::Maps;
using ::testing::StartsWith;

using Fit = ServiceCompiler::Fit;

class Share : public ::testing::Test {
 protected:
  // With so many external addresses.
  static model::Service service(const std::string& space, const std::string& name, unsigned external = 0) {
    auto one = testing::service(name);
    one.meta.namespace_ = space;
    for (unsigned i = 0; i < external; ++i) one.external_ips.push_back(IpAddress::v4(0xcb007100U + external_++));
    return one;
  }
  static model::EndpointSlice slice(const std::string& space, const std::string& name, unsigned endpoints) {
    auto one = testing::slice(name + "-1", name, 80);
    one.meta.namespace_ = space;
    for (unsigned i = 0; i < endpoints; ++i)
      one.endpoints.push_back(testing::at(IpAddress::v4(0x0a000000U + external_++).to_string()));
    return one;
  }
  void start() { compiler_ = std::make_unique<ServiceCompiler>(options_, ServiceAssignments()); }
  // With what the maps have.
  void restart() {
    auto after = std::make_unique<ServiceCompiler>(options_, compiler_->assignments());
    after->adopt({maps_.frontends.begin(), maps_.frontends.end()}, maps_.backends, maps_.slots);
    compiler_ = std::move(after);
  }
  void apply(const model::Service& one) { testing::apply(*compiler_, one); }
  // As the agent does: another compile follows while something was freed.
  void compile() {
    for (int round = 0; round == 0 || compiler_->may_fit_more(); ++round) {
      const auto delta = compiler_->compile(Fit::what_fits);
      ASSERT_TRUE(delta) << delta.error().message;
      maps_.write(*delta);
      ASSERT_LE(maps_.frontends.size(), options_.max_frontends);
      ASSERT_LT(round, 8);
    }
  }
  [[nodiscard]] std::vector<std::string> left_out() const {
    std::vector<std::string> names;
    for (const auto& one : compiler_->left_out()) names.push_back(one.owner.to_string());
    return names;
  }
  [[nodiscard]] std::size_t frontends_of(const std::string& space, const std::string& name) const {
    std::size_t count = 0;
    for (const auto* port : compiler_->ports_of({space, name})) count += port->frontends.size();
    return count;
  }

  static inline unsigned external_ = 0;
  ServiceOptions options_ = testing::options();
  std::unique_ptr<ServiceCompiler> compiler_;
  Maps maps_;
};

TEST_F(Share, ARestartKeepsWhoWasServedWhateverTheOrder) {
  options_.max_frontends = 4;
  start();
  const auto a = service("team", "a");
  const auto b = service("team", "b");
  const auto y = service("team", "y");
  const auto z = service("team", "z", 1);
  for (const auto& one : {y, z}) apply(one);
  compile();
  for (const auto& one : {a, b}) apply(one);
  compile();
  EXPECT_THAT(left_out(), ElementsAre("team/b"));
  restart();
  // One that is new, and one that grew meanwhile.
  auto more = a;
  more.external_ips = {ip("192.0.2.7"), ip("192.0.2.8")};
  for (const auto& one : {b, service("team", "0"), more, y, z}) apply(one);
  compile();
  EXPECT_THAT(left_out(), ElementsAre("team/0", "team/a", "team/b"));
  EXPECT_EQ(frontends_of("team", "a"), 1U);
  EXPECT_EQ(frontends_of("team", "y"), 1U);
  EXPECT_EQ(frontends_of("team", "z"), 2U);
}

TEST_F(Share, AGreedyNamespaceStopsNoSmallOne) {
  options_.max_frontends = 20;
  start();
  for (unsigned i = 0; i < 30; ++i) apply(service("greedy", fmt::format("g{}", i)));
  compile();
  EXPECT_EQ(maps_.frontends.size(), 20U);
  apply(service("small", "web"));
  apply(service("small", "api", 2));
  compile();
  EXPECT_THAT(left_out(), Each(StartsWith("greedy/")));
  EXPECT_EQ(left_out().size(), 14U);
  EXPECT_EQ(frontends_of("small", "api"), 3U);
  EXPECT_EQ(maps_.frontends.size(), 20U);
  // Whatever more it asks for, and after a restart in whatever order.
  for (unsigned i = 30; i < 40; ++i) apply(service("greedy", fmt::format("g{}", i)));
  compile();
  EXPECT_THAT(left_out(), Each(StartsWith("greedy/")));
  restart();
  for (unsigned i = 0; i < 40; ++i) apply(service("greedy", fmt::format("g{}", i)));
  apply(service("small", "web"));
  apply(service("small", "another"));
  compile();
  EXPECT_THAT(left_out(), Each(StartsWith("greedy/")));
  // Its share is not more than that.
  for (unsigned i = 0; i < 30; ++i) apply(service("small", fmt::format("s{}", i)));
  compile();
  std::size_t small = 0;
  for (const auto& [key, row] : maps_.frontends)
    small += compiler_->by_id(row.service_id)->service.namespace_ == "small" ? 1 : 0;
  EXPECT_EQ(small, 10U);
  EXPECT_EQ(maps_.frontends.size(), 20U);
}

TEST_F(Share, OneThatGivesWayKeepsItsClusterIp) {
  options_.max_frontends = 20;
  start();
  apply(service("greedy", "big", 19));
  apply(service("greedy", "bigger", 30));
  compile();
  EXPECT_EQ(frontends_of("greedy", "big"), 20U);
  apply(service("small", "web", 3));
  compile();
  EXPECT_EQ(frontends_of("small", "web"), 4U);
  EXPECT_EQ(frontends_of("greedy", "big"), 1U);
  EXPECT_EQ(frontends_of("greedy", "bigger"), 1U) << "new ones get it before others get more";
  compiler_->erase_service({"small", "web"});
  compile();
  EXPECT_THAT(left_out(), ElementsAre("greedy/big", "greedy/bigger")) << "both have something, and neither fits";
}

TEST_F(Share, HoldsForEachTable) {
  for (const auto& [what, table, size] : {std::tuple("services", &ServiceOptions::max_services, 11U),
                                          std::tuple("backends", &ServiceOptions::max_backends, 21U),
                                          std::tuple("slots", &ServiceOptions::max_slots, 20U)}) {
    options_ = testing::options();
    options_.*table = size;
    maps_ = {};
    start();
    for (unsigned i = 0; i < 15; ++i) {
      const auto name = fmt::format("g{}", i);
      apply(service("greedy", name));
      compiler_->upsert(slice("greedy", name, 2));
    }
    compile();
    ASSERT_FALSE(left_out().empty()) << what;
    apply(service("small", "web"));
    compiler_->upsert(slice("small", "web", 3));
    for (int sweep = 0; sweep < 3; ++sweep) {
      compile();
      // Greedy ones that change meanwhile do not take the room.
      compiler_->upsert(slice("greedy", fmt::format("g{}", 14 - sweep), 2));
      const auto unused = [](std::uint32_t) { return false; };
      compiler_->release_ids(unused, unused);
      compile();
    }
    EXPECT_THAT(left_out(), Each(StartsWith("greedy/"))) << what;
    ASSERT_EQ(compiler_->ports_of({"small", "web"}).size(), 1U) << what;
    EXPECT_EQ(compiler_->ports_of({"small", "web"}).at(0)->row.slot_count, 3U) << what;
  }
}

TEST_F(Share, TheApiServersServiceIsServedFirst) {
  options_.max_frontends = 3;
  start();
  for (const auto* name : {"a", "b", "c", "d"}) apply(service("default", name));
  compile();
  apply(service("default", "kubernetes"));
  compile();
  EXPECT_EQ(frontends_of("default", "kubernetes"), 1U);
  EXPECT_EQ(left_out().size(), 2U);
}

}  // namespace
}  // namespace weft::control
