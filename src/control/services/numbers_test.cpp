// What must not move: ids and slots over changes, over refused compiles and over a restart; and what maps can hold.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/services/ids.h"
#include "control/services/services.h"
#include "control/services/testing.h"

namespace weft::control {
namespace {

using testing::apply;
using testing::at;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ip;
using ::testing::IsEmpty;
using testing::Maps;
using testing::options;
using testing::pod;
using testing::service;
using ::testing::SizeIs;
using testing::slice;

const auto nothing = [](std::uint32_t) { return false; };
const auto everything = [](std::uint32_t) { return true; };

void two_services(ServiceCompiler& compiler) {
  apply(compiler, service("api", {{"app", "api"}}));
  apply(compiler, service("web", {{"app", "web"}}));
  compiler.upsert(pod("api-0", {{"app", "api"}}, {"10.0.1.1"}));
  compiler.upsert(pod("web-0", {{"app", "web"}}, {"10.0.0.1"}));
  compiler.upsert(pod("web-1", {{"app", "web"}}, {"10.0.0.2"}));
}

weft_service row_of(const ServiceCompiler& compiler, const std::string& name) {
  return compiler.ports_of({"shop", name}).at(0)->row;
}

TEST(Runs, OnlyTheChangedServiceMovesAndItsOldSlotsStayForOneCompile) {
  ServiceCompiler compiler(options({"10.96.0.0/16"}, 8), {});
  two_services(compiler);
  ASSERT_TRUE(compiler.compile());
  const auto api = row_of(compiler, "api");
  const auto web = row_of(compiler, "web");
  compiler.upsert(pod("web-2", {{"app", "web"}}, {"10.0.0.3"}));
  ASSERT_TRUE(compiler.compile());
  EXPECT_EQ(row_of(compiler, "api").first_slot, api.first_slot);
  EXPECT_EQ(row_of(compiler, "web").slot_count, 3U);
  EXPECT_NE(row_of(compiler, "web").first_slot, web.first_slot);
  EXPECT_EQ(compiler.usage().slots, 6U);  // the old run still stands
  compiler.hold_replaced();
  ASSERT_TRUE(compiler.compile());
  EXPECT_EQ(compiler.usage().slots, 6U);
  ASSERT_TRUE(compiler.compile());
  EXPECT_EQ(compiler.usage().slots, 4U);
}

struct Limit {
  const char* what;
  std::uint32_t ServiceOptions::*size;
  std::uint32_t value;
  const char* message;
};

TEST(Overflow, NamesTheServiceAndChangesNothing) {
  for (const auto& [what, size, value, message] : {
           Limit{"slots", &ServiceOptions::max_slots, 6,
                 "service shop/web port 80/TCP: no room for its 3 slots: of 6 slots 1 are free, the longest run of "
                 "them is 1"},
           Limit{"backends", &ServiceOptions::max_backends, 5,
                 "service shop/web port 80/TCP: no room for its 3 backends: of 4 4 are in use and 0 wait"},
       }) {
    auto small = options();
    small.*size = value;
    ServiceCompiler compiler(small, {});
    Maps maps;
    two_services(compiler);
    auto delta = compiler.compile();
    ASSERT_TRUE(delta);
    maps.write(*delta);
    const auto web = row_of(compiler, "web");
    const auto usage = compiler.usage();
    compiler.upsert(pod("api-1", {{"app", "api"}}, {"10.0.1.2"}));  // fits
    compiler.upsert(pod("web-2", {{"app", "web"}}, {"10.0.0.3"}));  // does not
    const auto refused = compiler.compile();
    ASSERT_FALSE(refused) << what;
    EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
    EXPECT_THAT(refused.error().message, HasSubstr(message));
    EXPECT_FALSE(refused.error().hint.empty());
    EXPECT_EQ(row_of(compiler, "web").first_slot, web.first_slot);
    EXPECT_EQ(compiler.usage().backends, usage.backends);
    EXPECT_EQ(compiler.usage().slots, usage.slots);
    EXPECT_FALSE(compiler.compile());  // and again
    compiler.erase_pod({"shop", "web-2"});
    delta = compiler.compile();
    ASSERT_TRUE(delta) << what;
    EXPECT_THAT(delta->backends, SizeIs(1));  // api-1
    compiler.erase_pod({"shop", "api-1"});
    ASSERT_TRUE(compiler.compile());
  }
}

TEST(Overflow, OfFrontendsServicesAndRanges) {
  auto small = options();
  small.max_frontends = 2;
  {
    ServiceCompiler compiler(small, {});
    two_services(compiler);
    ASSERT_TRUE(compiler.compile());
    apply(compiler, service("third"));
    EXPECT_EQ(compiler.compile().error().message,
              "service shop/third port 80/TCP: no room for its frontend 10.96.0.4:80: all 2 of the map are taken");
    EXPECT_EQ(compiler.usage().services, 2U);
    EXPECT_EQ(compiler.by_id(3), nullptr);
  }
  small = options();
  small.max_services = 3;
  {
    ServiceCompiler compiler(small, {});
    two_services(compiler);
    ASSERT_TRUE(compiler.compile());
    apply(compiler, service("third"));
    EXPECT_THAT(compiler.compile().error().message,
                HasSubstr("service shop/third port 80/TCP: no service id is left: of 2 2 are in use"));
  }
  small = options();
  small.max_source_ranges = 1;
  {
    ServiceCompiler compiler(small, {});
    auto web = service("web");
    web.type = model::Service::Type::load_balancer;
    web.ingress = {{ip("203.0.113.1"), false}};
    web.source_ranges = {Cidr::parse("10.0.0.0/8").value(), Cidr::parse("11.0.0.0/8").value()};
    apply(compiler, web);
    EXPECT_THAT(compiler.compile().error().message,
                HasSubstr("service shop/web port 80/TCP: no room for its 2 source ranges: 0 of 1 are in use"));
  }
}

TEST(Overflow, OfOneTableNamesItsService) {
  ServiceCompiler compiler(options({"10.96.0.0/16"}, 16000), {});
  auto web = service("web", {{"app", "web"}});
  web.algorithm = model::Algorithm::maglev;
  apply(compiler, web);
  compiler.upsert(pod("web-0", {{"app", "web"}}, {"10.0.0.1"}));
  ASSERT_TRUE(compiler.compile());  // one backend needs no table
  compiler.upsert(pod("web-1", {{"app", "web"}}, {"10.0.0.2"}));
  const auto refused = compiler.compile();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("service shop/web port 80/TCP: no room for its 16381 slots"));
  EXPECT_THAT(refused.error().hint, HasSubstr("maglev-table-size"));
}

using Fit = ServiceCompiler::Fit;

// As the agent does: another compile follows while something was freed.
void compile_what_fits(ServiceCompiler& compiler, Maps& maps) {
  int rounds = 0;
  do {
    const auto delta = compiler.compile(Fit::what_fits);
    ASSERT_TRUE(delta) << delta.error().message;
    maps.write(*delta);
    ASSERT_LT(++rounds, 8);
  } while (compiler.may_fit_more());
}
std::vector<std::string> left_out(const ServiceCompiler& compiler) {
  std::vector<std::string> names;
  for (const auto& one : compiler.left_out()) names.push_back(one.owner.name);
  return names;
}
void add_pods(ServiceCompiler& compiler, const std::string& app, int first, int last) {
  for (int i = first; i <= last; ++i) {
    auto one = pod(fmt::format("{}-{}", app, i), {{"app", app}}, {});
    one.addresses = {IpAddress::v4(0x0a010000U + static_cast<std::uint32_t>(app.front() * 256 + i))};
    compiler.upsert(one);
  }
}
std::size_t slots_of(const ServiceCompiler& compiler, const std::string& name) {
  const auto ports = compiler.ports_of({"shop", name});
  return ports.empty() ? 0 : ports.at(0)->row.slot_count;
}

TEST(WhatFits, OneThatDoesNotFitLeavesTheOthersAlone) {
  for (const auto& [what, size, value] :
       {std::tuple("slots", &ServiceOptions::max_slots, 12U), std::tuple("backends", &ServiceOptions::max_backends, 9U),
        std::tuple("services", &ServiceOptions::max_services, 3U),
        std::tuple("frontends", &ServiceOptions::max_frontends, 2U)}) {
    auto small = options();
    small.*size = value;
    ServiceCompiler compiler(small, {});
    Maps maps;
    apply(compiler, service("big", {{"app", "big"}}));
    auto big = service("big", {{"app", "big"}});
    big.ports.push_back(testing::port(81, std::uint16_t{8081}, "more"));
    big.ports.push_back(testing::port(82, std::uint16_t{8082}, "most"));
    apply(compiler, big);
    add_pods(compiler, "big", 1, 10);
    two_services(compiler);
    EXPECT_FALSE(compiler.compile()) << what;
    compile_what_fits(compiler, maps);
    EXPECT_THAT(left_out(compiler), ElementsAre("big")) << what;
    EXPECT_THAT(compiler.left_out().at(0).error.message, HasSubstr("service shop/big port 8")) << what;
    EXPECT_EQ(maps.frontends.size(), 2U) << what;
    EXPECT_EQ(slots_of(compiler, "web"), 2U) << what;
    // A change of somebody else is not refused for its sake, one of its own is.
    compiler.upsert(pod("api-0", {{"app", "api"}}, {"10.0.1.9"}));
    EXPECT_TRUE(compiler.compile()) << what;
    big.affinity_seconds = 10;
    compiler.upsert(big);
    EXPECT_FALSE(compiler.compile()) << what;
    compiler.forget({"shop", "big"});
    compiler.erase_service({"shop", "big"});
    EXPECT_TRUE(compiler.compile()) << what;
    EXPECT_THAT(compiler.left_out(), IsEmpty()) << what;
  }
}

TEST(WhatFits, OneWithoutRoomForSourceRangesIsLeftOut) {
  auto small = options();
  small.max_source_ranges = 1;
  ServiceCompiler compiler(small, {});
  Maps maps;
  auto big = service("big");
  big.type = model::Service::Type::load_balancer;
  big.ingress = {{ip("203.0.113.1"), false}};
  big.source_ranges = {Cidr::parse("10.0.0.0/8").value(), Cidr::parse("11.0.0.0/8").value()};
  apply(compiler, big);
  auto small_one = service("small");
  small_one.type = model::Service::Type::load_balancer;
  small_one.ingress = {{ip("203.0.113.2"), false}};
  small_one.source_ranges = {Cidr::parse("10.0.0.0/8").value()};
  apply(compiler, small_one);
  compile_what_fits(compiler, maps);
  EXPECT_THAT(left_out(compiler), ElementsAre("big"));
  EXPECT_EQ(maps.ranges.size(), 1U);
  compiler.erase_service({"shop", "small"});
  big.source_ranges.pop_back();
  compiler.upsert(big);
  compile_what_fits(compiler, maps);
  EXPECT_THAT(compiler.left_out(), IsEmpty());
  EXPECT_EQ(maps.ranges.size(), 1U);
}

// "a" and "b", of three pods each.
void serve_two(ServiceCompiler& compiler, Maps& maps) {
  apply(compiler, service("a", {{"app", "a"}}));
  apply(compiler, service("b", {{"app", "b"}}));
  add_pods(compiler, "a", 1, 3);
  add_pods(compiler, "b", 1, 3);
  compile_what_fits(compiler, maps);
}

TEST(WhatFits, OneThatGrewKeepsWhatItHasAndGrowsWhenThereIsRoom) {
  ServiceCompiler compiler(options({"10.96.0.0/16"}, 8), {});
  Maps maps;
  serve_two(compiler, maps);
  const auto before = row_of(compiler, "a");
  add_pods(compiler, "a", 4, 4);
  compile_what_fits(compiler, maps);
  EXPECT_THAT(left_out(compiler), ElementsAre("a"));
  EXPECT_EQ(std::memcmp(&before, &compiler.ports_of({"shop", "a"}).at(0)->row, sizeof before), 0);
  compiler.erase_service({"shop", "b"});
  compile_what_fits(compiler, maps);
  EXPECT_THAT(compiler.left_out(), IsEmpty());
  EXPECT_EQ(slots_of(compiler, "a"), 4U);
}

// No dead backend stays for want of room, and those that live keep their ids, and with them their connections.
TEST(WhatFits, OneThatLostABackendIsMovedThroughItsOwnRoom) {
  ServiceCompiler compiler(options({"10.96.0.0/16"}, 6), {});
  Maps maps;
  serve_two(compiler, maps);
  const auto before = *compiler.ports_of({"shop", "a"}).at(0);
  compiler.erase_pod({"shop", "a-2"});
  EXPECT_FALSE(compiler.compile());
  compile_what_fits(compiler, maps);
  EXPECT_THAT(compiler.left_out(), IsEmpty());
  const auto& after = *compiler.ports_of({"shop", "a"}).at(0);
  EXPECT_EQ(after.id, before.id);
  ASSERT_EQ(after.backends.size(), 2U);
  EXPECT_EQ(after.backends[0].id, before.backends[0].id);
  EXPECT_EQ(after.backends[1].id, before.backends[2].id);
  EXPECT_EQ(after.row.slot_count, 2U);
}

TEST(WhatFits, OneWhoseBackendIsReplacedGoesOnWithTheRestUntilAnIdIsFree) {
  auto small = options();
  small.max_backends = 4;
  ServiceCompiler compiler(small, {});
  Maps maps;
  apply(compiler, service("a", {{"app", "a"}}));
  add_pods(compiler, "a", 1, 3);
  compile_what_fits(compiler, maps);
  compiler.erase_pod({"shop", "a-1"});
  add_pods(compiler, "a", 4, 4);
  compile_what_fits(compiler, maps);
  EXPECT_THAT(left_out(compiler), ElementsAre("a"));
  EXPECT_EQ(slots_of(compiler, "a"), 2U);
  EXPECT_FALSE(compiler.may_fit_more());
  compiler.release_ids(nothing, nothing);
  EXPECT_TRUE(compiler.may_fit_more());
  compile_what_fits(compiler, maps);
  EXPECT_THAT(compiler.left_out(), IsEmpty());
  EXPECT_EQ(slots_of(compiler, "a"), 3U);
}

TEST(Ids, AreGivenOutAgainOnlyWhenNoFlowNamesThem) {
  auto small = options();
  small.max_backends = 4;
  small.max_services = 3;
  ServiceCompiler compiler(small, {});
  two_services(compiler);
  ASSERT_TRUE(compiler.compile());
  for (const auto* name : {"api", "web"}) {
    compiler.forget({"shop", name});
    compiler.erase_service({"shop", name});
  }
  const auto delta = compiler.compile();
  ASSERT_TRUE(delta);
  EXPECT_THAT(delta->backends_gone, SizeIs(3));
  apply(compiler, service("new", {{"app", "web"}}));
  EXPECT_THAT(compiler.compile().error().message, HasSubstr("of 2 0 are in use and 2 wait"));
  compiler.hold_replaced();
  compiler.release_ids(nothing, nothing);
  EXPECT_FALSE(compiler.compile());  // the maps may still have them
  compiler.erase_service({"shop", "new"});
  ASSERT_TRUE(compiler.compile());
  compiler.upsert(service("new", {{"app", "web"}}));
  compiler.release_ids(everything, everything);
  EXPECT_FALSE(compiler.compile());
  compiler.release_ids(nothing, nothing);
  EXPECT_TRUE(compiler.compile());
}

TEST(Ids, RestBeforeTheyAreUsedAgain) {
  services::IdSpace ids(2000);
  std::vector<std::uint32_t> first;
  for (int i = 0; i < 100; ++i) first.push_back(ids.allocate().value());
  EXPECT_EQ(first.front(), 1U);
  for (const auto id : first) ids.retire(id);
  ids.settle();
  ids.release(nothing);
  EXPECT_EQ(ids.used(), 0U);
  EXPECT_EQ(ids.allocate(), 101U);
  EXPECT_FALSE(ids.claim(0));
  EXPECT_FALSE(ids.claim(101));
  EXPECT_FALSE(ids.claim(2000));
  EXPECT_TRUE(ids.claim(50));
  EXPECT_TRUE(ids.claim(1500));
  EXPECT_FALSE(ids.claim(1500));
  std::set<std::uint32_t> all{50, 101, 1500};
  while (const auto id = ids.allocate()) EXPECT_TRUE(all.insert(*id).second);
  EXPECT_EQ(all.size(), 1999U);
}

class Restart : public ::testing::Test {
 protected:
  std::unique_ptr<ServiceCompiler> restart(const ServiceCompiler& old) {
    auto compiler = std::make_unique<ServiceCompiler>(options_, old.assignments());
    const std::vector<std::pair<weft_service_key, weft_service>> rows(maps_.frontends.begin(), maps_.frontends.end());
    compiler->adopt(rows, maps_.backends, maps_.slots);
    return compiler;
  }
  ServiceDelta compile(ServiceCompiler& compiler) {
    auto delta = compiler.compile();
    EXPECT_TRUE(delta);
    maps_.write(*delta);
    return std::move(*delta);
  }
  ServiceOptions options_ = options();
  Maps maps_;
};

TEST_F(Restart, KeepsIdsAndSlots) {
  ServiceCompiler before(options_, {});
  two_services(before);
  compile(before);
  before.upsert(pod("web-2", {{"app", "web"}}, {"10.0.0.3"}));
  compile(before);
  const auto old = maps_;
  auto after = restart(before);
  two_services(*after);
  after->upsert(pod("web-2", {{"app", "web"}}, {"10.0.0.3"}));
  const auto delta = compile(*after);
  EXPECT_TRUE(delta.whole);
  EXPECT_THAT(delta.backends_new, IsEmpty());
  EXPECT_THAT(delta.services_new, IsEmpty());
  EXPECT_THAT(delta.backends_gone, IsEmpty());
  EXPECT_TRUE(std::ranges::equal(maps_.frontends, old.frontends, [](const auto& a, const auto& b) {
    return std::memcmp(&a.second, &b.second, sizeof a.second) == 0;
  }));
  EXPECT_TRUE(std::ranges::equal(maps_.backends, old.backends,
                                 [](const auto& a, const auto& b) { return std::memcmp(&a, &b, sizeof a) == 0; }));
  EXPECT_EQ(after->usage().slots, before.usage().slots - 2);  // what the last compile had replaced
}

TEST_F(Restart, WhoIsElsewhereStaysUntilThatNodeIsHeardOf) {
  ServiceCompiler before(options_, {});
  apply(before, service("web", {{"app", "web"}}));
  before.upsert(pod("here", {{"app", "web"}}, {"10.0.0.1"}));
  for (const auto* name : {"there-2", "there-3", "leaves-4"}) {
    auto there = pod(name, {{"app", "web"}}, {});
    there.node = "n2";
    there.addresses = {ip(std::string("10.0.1.") + name[std::string_view(name).size() - 1])};
    there.terminating = std::string_view(name).starts_with("leaves");
    there.ready = !there.terminating;
    before.upsert(there);
  }
  compile(before);
  const auto port = [](const ServiceCompiler& compiler) { return compiler.ports_of({"shop", "web"}).at(0); };
  const auto ids = [&](const ServiceCompiler& compiler) {
    std::map<IpAddress, std::uint32_t> all;
    for (const auto& backend : port(compiler)->backends) all.emplace(backend.address, backend.id);
    return all;
  };
  const auto run_of = [&](const ServiceCompiler& compiler) {
    auto run = compiler.run(port(compiler)->row.first_slot, port(compiler)->row.slot_count);
    return std::set<std::uint32_t>(run.begin(), run.end());
  };
  const auto ids_before = ids(before);
  const auto run_before = run_of(before);
  ASSERT_EQ(run_before.size(), 3U);

  auto after = restart(before);
  apply(*after, service("web", {{"app", "web"}}));
  after->upsert(pod("here", {{"app", "web"}}, {"10.0.0.1"}));
  after->set_unheard({ip("10.0.1.2"), ip("10.0.1.3"), ip("10.0.1.4")});
  EXPECT_THAT(compile(*after).backends_gone, IsEmpty());
  EXPECT_EQ(ids(*after), ids_before);
  EXPECT_EQ(run_of(*after), run_before) << "who takes no new connections takes none now";
  // A change here does not touch them either.
  after->erase_pod({"shop", "here"});
  EXPECT_THAT(compile(*after).backends_gone, SizeIs(1));
  EXPECT_EQ(run_of(*after).size(), 2U);
  // They are heard of: one is there no more, without a word about the Service.
  auto there = pod("there-2", {{"app", "web"}}, {"10.0.1.2"});
  there.node = "n2";
  after->upsert(there);
  after->set_unheard({});
  EXPECT_EQ(compile(*after).backends_gone.size(), 2U);
  EXPECT_EQ(ids(*after), (std::map<IpAddress, std::uint32_t>{{ip("10.0.1.2"), ids_before.at(ip("10.0.1.2"))}}));
}

TEST_F(Restart, WhatWentMeanwhileIsFreedLikeAnythingElse) {
  ServiceCompiler before(options_, {});
  two_services(before);
  compile(before);
  const auto api = before.ports_of({"shop", "api"}).at(0)->backends[0].id;
  const auto api_row = row_of(before, "api");
  const auto web_gone = before.ports_of({"shop", "web"}).at(0)->backends[1].id;
  auto after = restart(before);
  apply(*after, service("web", {{"app", "web"}}));
  after->forget({"shop", "api"});
  after->upsert(pod("web-0", {{"app", "web"}}, {"10.0.0.1"}));
  after->upsert(pod("web-3", {{"app", "web"}}, {"10.0.0.4"}));
  const auto delta = compile(*after);
  EXPECT_THAT(delta.backends_gone, ::testing::UnorderedElementsAre(api, web_gone));
  EXPECT_THAT(delta.frontends_gone, SizeIs(1));
  ASSERT_THAT(delta.backends_new, SizeIs(1));
  EXPECT_GT(delta.backends_new[0], web_gone);
  EXPECT_NE(row_of(*after, "web").first_slot, api_row.first_slot);
  EXPECT_EQ(after->usage().slots, 5U);  // 3 of before, still read
  compile(*after);
  EXPECT_EQ(after->usage().slots, 2U);
  EXPECT_EQ(after->usage().services, 1U);
}

TEST_F(Restart, ARefusedFirstCompileForgetsNothing) {
  ServiceCompiler before(options_, {});
  two_services(before);
  compile(before);
  const auto web = row_of(before, "web");
  options_.max_slots = 4;
  auto after = restart(before);
  two_services(*after);
  after->upsert(pod("web-2", {{"app", "web"}}, {"10.0.0.3"}));
  EXPECT_FALSE(after->compile());
  after->erase_pod({"shop", "web-2"});
  const auto delta = compile(*after);
  EXPECT_THAT(delta.backends_new, IsEmpty());
  EXPECT_EQ(row_of(*after, "web").first_slot, web.first_slot);
  EXPECT_EQ(row_of(*after, "web").service_id, web.service_id);
}

// What the maps hold of Services that are gone makes room for those that are there, at once.
TEST_F(Restart, FullMapsTakeWhatFitsAndThenTheRest) {
  options_.max_slots = 6;
  ServiceCompiler before(options_, {});
  apply(before, service("old", {{"app", "old"}}));
  apply(before, service("web", {{"app", "web"}}));
  add_pods(before, "old", 1, 4);
  add_pods(before, "web", 1, 2);
  compile(before);
  const auto web = row_of(before, "web");
  auto after = restart(before);
  after->forget({"shop", "old"});
  apply(*after, service("new", {{"app", "new"}}));
  apply(*after, service("web", {{"app", "web"}}));
  add_pods(*after, "new", 1, 4);
  add_pods(*after, "web", 1, 2);
  ASSERT_FALSE(after->compile());
  auto delta = after->compile(Fit::what_fits);
  ASSERT_TRUE(delta);
  maps_.write(*delta);
  EXPECT_THAT(left_out(*after), ElementsAre("new"));
  EXPECT_EQ(row_of(*after, "web").first_slot, web.first_slot);
  EXPECT_EQ(maps_.frontends.size(), 1U);
  EXPECT_TRUE(after->may_fit_more());
  compile_what_fits(*after, maps_);
  EXPECT_THAT(after->left_out(), IsEmpty());
  EXPECT_EQ(slots_of(*after, "new"), 4U);
}

TEST_F(Restart, OneThatGrewMeanwhileKeepsWhatTheMapsHold) {
  options_.max_slots = 4;
  ServiceCompiler before(options_, {});
  apply(before, service("web", {{"app", "web"}}));
  add_pods(before, "web", 1, 3);
  compile(before);
  const auto web = row_of(before, "web");
  auto after = restart(before);
  apply(*after, service("web", {{"app", "web"}}));
  add_pods(*after, "web", 1, 4);
  compile_what_fits(*after, maps_);
  EXPECT_THAT(left_out(*after), ElementsAre("web"));
  EXPECT_EQ(row_of(*after, "web").service_id, web.service_id);
  EXPECT_EQ(row_of(*after, "web").first_slot, web.first_slot);
  EXPECT_EQ(maps_.frontends.size(), 1U);
}

TEST_F(Restart, RowsThatOverlapOrReachOutsideAreNotAdopted) {
  options_.max_slots = 8;
  ServiceCompiler compiler(options_, {});
  std::vector<std::pair<weft_service_key, weft_service>> rows;
  const auto row = [&](std::uint16_t number, std::uint32_t id, std::uint32_t first, std::uint32_t count) {
    weft_service_key key{};
    key.port = number;
    weft_service value{};
    value.service_id = id;
    value.first_slot = first;
    value.slot_count = count;
    rows.emplace_back(key, value);
  };
  row(1, 1, 0, 4);
  row(2, 2, 3, 2);
  row(3, 3, 7, 2);
  row(4, 4, 0xffff'fff0, 0x20);
  row(5, 0xffff'fff0, 4, 4);
  row(6, 0, 4, 4);
  row(7, 7, 4, 4);
  const std::vector<std::uint32_t> slots(8, 77);
  std::vector<weft_backend> backends(4);
  backends[3].state = WEFT_BACKEND_ACTIVE;
  backends[3].service_id = 99;  // nobody's
  compiler.adopt(rows, backends, slots);
  // Services 1 and 7 hold all slots until the first compile has replaced them.
  two_services(compiler);
  EXPECT_FALSE(compiler.compile());
  for (const auto* name : {"api", "web"}) compiler.erase_service({"shop", name});
  const auto delta = compiler.compile();
  ASSERT_TRUE(delta);
  EXPECT_THAT(delta->backends_gone, ElementsAre(3));
  two_services(compiler);
  EXPECT_TRUE(compiler.compile());
  EXPECT_EQ(compiler.by_id(77), nullptr);
  EXPECT_EQ(compiler.backend_owner(0xffff'ffff), nullptr);
}

}  // namespace
}  // namespace weft::control
