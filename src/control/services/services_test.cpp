#include "control/services/services.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace weft::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

ServiceOptions options(std::initializer_list<const char*> cidrs = {"10.96.0.0/16"}, std::uint32_t slots = 65536) {
  ServiceOptions result;
  for (const auto* cidr : cidrs) result.cluster_cidrs.push_back(Cidr::parse(cidr).value());
  result.max_slots = slots;
  return result;
}

model::ServicePort port(std::uint16_t number, model::PortReference target, const std::string& name = "",
                        Protocol protocol = Protocol::tcp) {
  model::ServicePort result;
  result.name = name;
  result.protocol = protocol;
  result.port = number;
  result.target_port = std::move(target);
  return result;
}

model::Service service(const std::string& name, LabelMap selector = {}) {
  model::Service result;
  result.meta.namespace_ = "shop";
  result.meta.name = name;
  if (!selector.empty()) result.selector = std::move(selector);
  result.ports = {port(80, std::uint16_t{8080})};
  return result;
}

ServicePod pod(const std::string& name, LabelMap labels, std::initializer_list<const char*> addresses) {
  ServicePod result;
  result.key = {"shop", name};
  result.labels = std::move(labels);
  for (const auto* address : addresses) result.addresses.push_back(ip(address));
  return result;
}

model::EndpointSlice slice(const std::string& name, const std::string& of, std::uint16_t number,
                           Family family = Family::v4) {
  model::EndpointSlice result;
  result.meta.namespace_ = "shop";
  result.meta.name = name;
  result.meta.labels["kubernetes.io/service-name"] = of;
  result.family = family;
  result.ports = {{"", Protocol::tcp, number}};
  return result;
}

model::SliceEndpoint at(const char* address, bool ready = true, bool serving = true, bool terminating = false) {
  model::SliceEndpoint result;
  result.addresses = {ip(address)};
  result.ready = ready;
  result.serving = serving;
  result.terminating = terminating;
  return result;
}

void add(ServiceInput& input, const model::Service& one) { input.services[one.meta.key()] = one; }
void add(ServiceInput& input, const model::EndpointSlice& one) { input.slices[one.meta.key()] = one; }

// "10.0.0.1:8080" of each backend, sorted.
std::vector<std::string> addresses(const ServiceFrontend& frontend) {
  std::vector<std::string> result;
  for (const auto& backend : frontend.backends)
    result.push_back(backend.address.to_string() + ":" + std::to_string(backend.port));
  std::ranges::sort(result);
  return result;
}

const weft_service& row_of(const CompiledServices& compiled, std::uint32_t id) {
  for (const auto& [key, row] : compiled.frontend_rows)
    if (row.service_id == id) return row;
  throw std::runtime_error("no row");
}

// --- Cluster IPs ----------------------------------------------------------------------------------

TEST(ClusterIp, AllocatesKeepsAndReusesLate) {
  ServiceCompiler compiler(options({"10.96.0.0/29"}), {});
  EXPECT_THAT(compiler.assign(service("a")).value(), ElementsAre(ip("10.96.0.2")));
  EXPECT_THAT(compiler.assign(service("b")).value(), ElementsAre(ip("10.96.0.3")));
  EXPECT_THAT(compiler.assign(service("a")).value(), ElementsAre(ip("10.96.0.2")));
  compiler.forget({"shop", "a"});
  for (const auto* name : {"c", "d", "e", "f"}) EXPECT_TRUE(compiler.assign(service(name)));
  EXPECT_THAT(compiler.state().cluster_ips.at({"shop", "f"}), ElementsAre(ip("10.96.0.2")));
  const auto error = compiler.assign(service("g")).error();
  EXPECT_EQ(error.code, ErrorCode::exhausted);
  EXPECT_EQ(error.message, "service shop/g: no cluster IP is free in 10.96.0.0/29: all 5 are taken");
  EXPECT_FALSE(compiler.state().cluster_ips.contains({"shop", "g"}));
}

TEST(ClusterIp, Requested) {
  ServiceCompiler compiler(options({"10.96.0.0/24"}), {});
  const auto asking = [&](const char* name, const char* address) {
    auto result = service(name);
    result.cluster_ips = {ip(address)};
    return compiler.assign(result);
  };
  EXPECT_THAT(asking("dns", "10.96.0.10").value(), ElementsAre(ip("10.96.0.10")));
  EXPECT_THAT(asking("kubernetes", "10.96.0.1").value(), ElementsAre(ip("10.96.0.1")));
  EXPECT_EQ(asking("b", "10.96.0.10").error().message,
            "service shop/b: cluster IP 10.96.0.10 belongs to service shop/dns");
  EXPECT_EQ(asking("b", "10.97.0.1").error().message,
            "service shop/b: cluster IP 10.97.0.1 is outside the range 10.96.0.0/24");
  EXPECT_THAT(asking("b", "10.96.0.0").error().message, HasSubstr("is reserved in the range"));
  EXPECT_THAT(asking("b", "10.96.0.255").error().message, HasSubstr("is reserved in the range"));
  EXPECT_THAT(asking("b", "fd96::1").error().message, HasSubstr("shop/b: wants IPv6"));
  // A request may change; the old address is free again, and undoing it gives it back.
  EXPECT_THAT(asking("dns", "10.96.0.20").value(), ElementsAre(ip("10.96.0.20")));
  compiler.restore({"shop", "dns"}, {ip("10.96.0.10")});
  EXPECT_THAT(asking("b", "10.96.0.20").value(), ElementsAre(ip("10.96.0.20")));
  EXPECT_EQ(asking("c", "10.96.0.10").error().code, ErrorCode::exists);
  compiler.restore({"shop", "dns"}, {});
  EXPECT_TRUE(asking("c", "10.96.0.10"));
}

TEST(ClusterIp, HeadlessAndExternalNameHaveNone) {
  ServiceCompiler compiler(options(), {});
  auto changing = service("a");
  EXPECT_THAT(compiler.assign(changing).value(), SizeIs(1));
  changing.headless = true;
  EXPECT_THAT(compiler.assign(changing).value(), IsEmpty());
  auto external = service("b");
  external.type = model::Service::Type::external_name;
  EXPECT_THAT(compiler.assign(external).value(), IsEmpty());
  EXPECT_THAT(compiler.state().cluster_ips, IsEmpty());
  ServiceInput input;
  add(input, changing);
  add(input, external);
  EXPECT_THAT(compiler.compile(input).value().frontends, IsEmpty());
}

TEST(ClusterIp, Families) {
  using Policy = model::Service::FamilyPolicy;
  struct Case {
    const char* what;
    std::vector<const char*> ranges;
    Policy policy;
    std::vector<Family> families;
    std::vector<Family> expected;  // empty: an error
  };
  const auto v4 = Family::v4;
  const auto v6 = Family::v6;
  const std::vector<const char*> both{"10.96.0.0/16", "fd96::/108"};
  const std::vector<const char*> both_v6_first{"fd96::/108", "10.96.0.0/16"};
  const std::vector<const char*> only_v4{"10.96.0.0/16"};
  for (const auto& [what, ranges, policy, families, expected] : {
           Case{"single takes the first configured", both, Policy::single_stack, {}, {v4}},
           Case{"single takes the first configured (6)", both_v6_first, Policy::single_stack, {}, {v6}},
           Case{"single with a family", both, Policy::single_stack, {v6}, {v6}},
           Case{"single with two families", both, Policy::single_stack, {v6, v4}, {}},
           Case{"single with a family the cluster lacks", only_v4, Policy::single_stack, {v6}, {}},
           Case{"prefer", both, Policy::prefer_dual_stack, {}, {v4, v6}},
           Case{"prefer in the order given", both, Policy::prefer_dual_stack, {v6}, {v6, v4}},
           Case{"prefer with one range", only_v4, Policy::prefer_dual_stack, {}, {v4}},
           Case{"require", both, Policy::require_dual_stack, {v4, v6}, {v4, v6}},
           Case{"require with one range", only_v4, Policy::require_dual_stack, {}, {}},
           Case{"no range at all", {}, Policy::single_stack, {}, {}},
           Case{"the same family twice", both, Policy::require_dual_stack, {v4, v4}, {}},
       }) {
    ServiceOptions configured;
    for (const auto* range : ranges) configured.cluster_cidrs.push_back(Cidr::parse(range).value());
    ServiceCompiler compiler(configured, {});
    auto asking = service("a");
    asking.family_policy = policy;
    asking.families = families;
    const auto given = compiler.assign(asking);
    ASSERT_EQ(given.has_value(), !expected.empty()) << what;
    if (!given) continue;
    std::vector<Family> got;
    for (const auto& address : *given) got.push_back(address.family());
    EXPECT_EQ(got, expected) << what;
  }
}

TEST(ClusterIp, GrowsToDualStackAndBackKeepingWhatItHas) {
  ServiceCompiler compiler(options({"10.96.0.0/16", "fd96::/108"}), {});
  auto asking = service("a");
  ASSERT_TRUE(compiler.assign(asking));
  asking.family_policy = model::Service::FamilyPolicy::prefer_dual_stack;
  EXPECT_THAT(compiler.assign(asking).value(), ElementsAre(ip("10.96.0.2"), ip("fd96::2")));
  asking.family_policy = model::Service::FamilyPolicy::single_stack;
  EXPECT_THAT(compiler.assign(asking).value(), ElementsAre(ip("10.96.0.2")));
  auto wants_it = service("b");
  wants_it.cluster_ips = {ip("fd96::2")};
  EXPECT_TRUE(compiler.assign(wants_it));
  auto mixed = service("c");
  mixed.families = {Family::v6};
  mixed.cluster_ips = {ip("10.96.0.9")};
  EXPECT_THAT(compiler.assign(mixed).error().message,
              HasSubstr("clusterIPs[0] is 10.96.0.9, but ipFamilies[0] is IPv6"));
}

// --- Endpoints ------------------------------------------------------------------------------------

TEST(Endpoints, PodsBySelector) {
  ServiceCompiler compiler(options(), {});
  ServiceInput input;
  add(input, service("web", {{"app", "web"}, {"tier", "front"}}));
  auto elsewhere = pod("web-9", {{"app", "web"}, {"tier", "front"}}, {"10.0.0.9"});
  elsewhere.key.namespace_ = "other";
  auto unready = pod("web-2", {{"app", "web"}, {"tier", "front"}}, {"10.0.0.2"});
  unready.ready = false;
  input.pods = {pod("web-0", {{"app", "web"}, {"tier", "front"}, {"more", "x"}}, {"10.0.0.5", "fd00::5"}),
                pod("web-1", {{"app", "web"}, {"tier", "back"}}, {"10.0.0.6"}),
                pod("web-3", {{"app", "web"}, {"tier", "front"}}, {}), unready, elsewhere};
  auto compiled = compiler.compile(input).value();
  ASSERT_THAT(compiled.frontends, SizeIs(1));
  EXPECT_THAT(addresses(compiled.frontends[0]), ElementsAre("10.0.0.5:8080"));
  EXPECT_EQ(compiled.frontends[0].backends[0].pod, (model::ObjectKey{"shop", "web-0"}));
  EXPECT_TRUE(compiled.frontends[0].backends[0].ready);

  input.services.begin()->second.publish_not_ready = true;
  compiled = compiler.compile(input).value();
  EXPECT_THAT(addresses(compiled.frontends[0]), ElementsAre("10.0.0.2:8080", "10.0.0.5:8080"));
}

TEST(Endpoints, NamedTargetPortsAreResolvedPerPod) {
  ServiceCompiler compiler(options(), {});
  ServiceInput input;
  auto web = service("web", {{"app", "web"}});
  web.ports = {port(80, std::string("http"), "http"), port(53, std::string("dns"), "dns", Protocol::udp)};
  add(input, web);
  input.pods = {pod("a", {{"app", "web"}}, {"10.0.0.1"}), pod("b", {{"app", "web"}}, {"10.0.0.2"}),
                pod("c", {{"app", "web"}}, {"10.0.0.3"})};
  input.pods[0].ports = {{"http", 8080, Protocol::tcp, 0}, {"dns", 53, Protocol::tcp, 0}};
  input.pods[1].ports = {{"http", 9090, Protocol::tcp, 0}, {"dns", 5353, Protocol::udp, 0}};
  const auto compiled = compiler.compile(input).value();
  ASSERT_THAT(compiled.frontends, SizeIs(2));
  EXPECT_EQ(compiled.frontends[0].port_name, "dns");
  EXPECT_THAT(addresses(compiled.frontends[0]), ElementsAre("10.0.0.2:5353"));
  EXPECT_EQ(compiled.frontends[0].backends[0].protocol, Protocol::udp);
  EXPECT_THAT(addresses(compiled.frontends[1]), ElementsAre("10.0.0.1:8080", "10.0.0.2:9090"));
}

TEST(Endpoints, SlicesOfAServiceWithoutSelector) {
  ServiceCompiler compiler(options(), {});
  ServiceInput input;
  add(input, service("db"));
  add(input, service("web", {{"app", "web"}}));
  auto one = slice("db-1", "db", 5432);
  one.endpoints = {at("192.0.2.1"), at("192.0.2.2", false, false), at("192.0.2.3", false, true, true)};
  one.endpoints[0].target_pod = "db-0";
  auto two = slice("db-2", "db", 5433);
  two.endpoints = {at("192.0.2.1"), at("192.0.2.4")};
  two.endpoints[1].addresses.push_back(ip("192.0.2.5"));  // the same endpoint again
  auto wrong_port = slice("db-3", "db", 1);
  wrong_port.ports[0].name = "admin";
  wrong_port.endpoints = {at("192.0.2.6")};
  auto ignored = slice("web-1", "web", 80);  // web has a selector
  ignored.endpoints = {at("192.0.2.7")};
  add(input, one);
  add(input, two);
  add(input, wrong_port);
  add(input, ignored);
  auto compiled = compiler.compile(input).value();
  ASSERT_THAT(compiled.frontends, SizeIs(2));
  EXPECT_THAT(addresses(compiled.frontends[0]), ElementsAre("192.0.2.1:5432", "192.0.2.1:5433", "192.0.2.4:5433"));
  EXPECT_EQ(compiled.frontends[0].backends[0].pod, (model::ObjectKey{"shop", "db-0"}));
  EXPECT_THAT(compiled.frontends[1].backends, IsEmpty());

  // None ready: the serving and terminating one serves.
  input.slices.erase({"shop", "db-2"});
  input.slices[{"shop", "db-1"}].endpoints[0].ready = false;
  input.slices[{"shop", "db-1"}].endpoints[0].serving = false;
  compiled = compiler.compile(input).value();
  EXPECT_THAT(addresses(compiled.frontends[0]), ElementsAre("192.0.2.3:5432"));
  EXPECT_FALSE(compiled.frontends[0].backends[0].ready);

  input.services[{"shop", "db"}].publish_not_ready = true;
  compiled = compiler.compile(input).value();
  EXPECT_THAT(addresses(compiled.frontends[0]), SizeIs(3));
}

TEST(Endpoints, EachFamilyHasItsOwn) {
  ServiceCompiler compiler(options({"10.96.0.0/16", "fd96::/108"}), {});
  ServiceInput input;
  auto web = service("web", {{"app", "web"}});
  web.family_policy = model::Service::FamilyPolicy::require_dual_stack;
  add(input, web);
  input.pods = {pod("a", {{"app", "web"}}, {"fd00::1", "10.0.0.1"}), pod("b", {{"app", "web"}}, {"10.0.0.2"})};
  const auto compiled = compiler.compile(input).value();
  ASSERT_THAT(compiled.frontends, SizeIs(2));
  EXPECT_EQ(compiled.frontends[0].address, ip("10.96.0.2"));
  EXPECT_THAT(addresses(compiled.frontends[0]), ElementsAre("10.0.0.1:8080", "10.0.0.2:8080"));
  EXPECT_EQ(compiled.frontends[1].address, ip("fd96::2"));
  EXPECT_THAT(addresses(compiled.frontends[1]), ElementsAre("fd00::1:8080"));
  EXPECT_NE(compiled.frontends[0].id, compiled.frontends[1].id);
}

// --- Rows and numbers -----------------------------------------------------------------------------

TEST(Rows, AreInTheMapsByteOrder) {
  ServiceCompiler compiler(options({"10.96.0.0/16", "fd96::/108"}), {});
  ServiceInput input;
  auto web = service("web", {{"app", "web"}});
  web.family_policy = model::Service::FamilyPolicy::require_dual_stack;
  web.affinity_seconds = 10800;
  web.ports = {port(0x1234, std::uint16_t{0x5678}, "", Protocol::sctp)};
  add(input, web);
  input.pods = {pod("a", {{"app", "web"}}, {"10.0.0.1", "fd00::1"})};
  const auto compiled = compiler.compile(input).value();
  ASSERT_THAT(compiled.frontend_rows, SizeIs(2));
  const auto& [key, row] = *compiled.frontend_rows.begin();  // ::ffff:10.96.0.2 sorts before fd96::2
  const std::array<unsigned char, 20> expected_key{0,    0,    0,  0,  0, 0, 0,    0,    0,   0,
                                                   0xff, 0xff, 10, 96, 0, 2, 0x12, 0x34, 132, 0};
  EXPECT_EQ(std::memcmp(&key, expected_key.data(), sizeof key), 0);
  EXPECT_EQ(row.service_id, compiled.frontends[0].id);
  EXPECT_EQ(row.slot_count, 1U);
  EXPECT_EQ(row.affinity_seconds, 10800U);
  const auto& backend = compiled.backend_rows.at(compiled.slot_rows.at(row.first_slot));
  const std::array<unsigned char, 20> expected_backend{0,    0,    0,  0, 0, 0, 0,    0,    0,   0,
                                                       0xff, 0xff, 10, 0, 0, 1, 0x56, 0x78, 132, 0};
  EXPECT_EQ(std::memcmp(&backend, expected_backend.data(), sizeof backend), 0);
  const auto& backend6 = compiled.backend_rows.at(compiled.frontends[1].backends[0].id);
  const auto address6 = ip("fd00::1");
  EXPECT_EQ(std::memcmp(&backend6.addr, address6.bytes().data(), 16), 0);
}

TEST(Rows, AServiceWithoutEndpointsStillHasAFrontend) {
  ServiceCompiler compiler(options(), {});
  ServiceInput input;
  add(input, service("web", {{"app", "web"}}));
  const auto compiled = compiler.compile(input).value();
  ASSERT_THAT(compiled.frontend_rows, SizeIs(1));
  EXPECT_EQ(compiled.frontend_rows.begin()->second.slot_count, 0U);
  EXPECT_THAT(compiled.slot_rows, IsEmpty());
}

ServiceInput two_services() {
  ServiceInput input;
  add(input, service("api", {{"app", "api"}}));
  add(input, service("web", {{"app", "web"}}));
  input.pods = {pod("api-0", {{"app", "api"}}, {"10.0.1.1"}), pod("web-0", {{"app", "web"}}, {"10.0.0.1"}),
                pod("web-1", {{"app", "web"}}, {"10.0.0.2"})};
  return input;
}

TEST(Runs, OnlyTheChangedServiceMovesAndItsOldSlotsStayForOneCompile) {
  ServiceCompiler compiler(options(), {});
  auto input = two_services();
  const auto first = compiler.compile(input).value();
  const auto api = row_of(first, first.frontends[0].id);
  const auto web = row_of(first, first.frontends[1].id);
  input.pods.push_back(pod("web-2", {{"app", "web"}}, {"10.0.0.3"}));
  const auto second = compiler.compile(input).value();
  const auto web2 = row_of(second, web.service_id);
  EXPECT_EQ(row_of(second, api.service_id).first_slot, api.first_slot);
  EXPECT_EQ(web2.slot_count, 3U);
  EXPECT_GE(web2.first_slot, web.first_slot + 2);
  for (std::uint32_t i = 0; i < 2; ++i)
    EXPECT_EQ(second.slot_rows.at(web.first_slot + i), first.slot_rows.at(web.first_slot + i));
  const auto third = compiler.compile(input).value();
  EXPECT_EQ(row_of(third, web.service_id).first_slot, web2.first_slot);
  EXPECT_FALSE(third.slot_rows.contains(web.first_slot));
  // The numbers of the untouched backends stay.
  EXPECT_EQ(third.frontends[1].backends[0], first.frontends[1].backends[0]);
  EXPECT_EQ(third.frontends[1].backends[1], first.frontends[1].backends[1]);
}

TEST(Runs, ExhaustionNamesTheServiceAndLeavesTheRunsAlone) {
  ServiceCompiler compiler(options({"10.96.0.0/16"}, 6), {});
  auto input = two_services();
  const auto good = compiler.compile(input).value();
  input.pods.push_back(pod("api-1", {{"app", "api"}}, {"10.0.1.2"}));  // fits: 2
  input.pods.push_back(pod("web-2", {{"app", "web"}}, {"10.0.0.3"}));  // does not: 3
  const auto refused = compiler.compile(input);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
  EXPECT_EQ(
      refused.error().message,
      "service shop/web port 80/TCP: no room for its 3 backends: of 6 slots 1 are free, the longest run of them is 1");
  input = two_services();
  const auto again = compiler.compile(input).value();
  EXPECT_EQ(again.slot_rows, good.slot_rows);
  EXPECT_EQ(again.frontends, good.frontends);
  EXPECT_EQ(compiler.state().backend_ids.size(), 3U);
}

TEST(Runs, ANumberThatWasLetGoIsReusedLast) {
  ServiceCompiler compiler(options(), {});
  auto input = two_services();
  const auto old = compiler.compile(input).value();
  input.pods.clear();
  input.services.clear();
  ASSERT_TRUE(compiler.compile(input));
  input = two_services();
  for (auto& one : input.pods) one.addresses = {one.addresses[0].plus(100)};
  const auto now = compiler.compile(input).value();
  for (const auto& [id, backend] : now.backend_rows) EXPECT_FALSE(old.backend_rows.contains(id));
  for (const auto& frontend : now.frontends)
    for (const auto& other : old.frontends) EXPECT_NE(frontend.id, other.id);
}

TEST(Restart, NumbersAreKeptAndRunsAdopted) {
  ServiceCompiler before(options(), {});
  auto input = two_services();
  ASSERT_TRUE(before.compile(input));
  input.pods.push_back(pod("web-2", {{"app", "web"}}, {"10.0.0.3"}));
  ASSERT_TRUE(before.compile(input));
  const auto old = before.compile(input).value();

  ServiceCompiler after(options(), before.state());
  after.adopt(old.frontend_rows, old.slot_rows);
  const auto same = after.compile(input).value();
  EXPECT_EQ(same.frontends, old.frontends);
  EXPECT_EQ(same.slot_rows, old.slot_rows);

  // A Service that went away meanwhile keeps its slots until its frontend is gone from the map.
  ServiceCompiler later(options(), before.state());
  later.adopt(old.frontend_rows, old.slot_rows);
  const auto api = row_of(old, old.frontends[0].id);
  input.services.erase({"shop", "api"});
  input.pods.push_back(pod("web-3", {{"app", "web"}}, {"10.0.0.4"}));
  const auto changed = later.compile(input).value();
  EXPECT_EQ(changed.slot_rows.at(api.first_slot), old.slot_rows.at(api.first_slot));
  EXPECT_THAT(changed.frontends, SizeIs(1));
  EXPECT_FALSE(later.compile(input).value().slot_rows.contains(api.first_slot));
}

TEST(Restart, WithoutTheNumbersNothingInTheMapsIsReused) {
  ServiceCompiler before(options(), {});
  auto input = two_services();
  const auto old = before.compile(input).value();
  ServiceCompiler after(options(), {});
  after.adopt(old.frontend_rows, old.slot_rows);
  const auto fresh = after.compile(input).value();
  for (const auto& frontend : fresh.frontends) {
    for (const auto& other : old.frontends) EXPECT_NE(frontend.id, other.id);
    for (const auto& backend : frontend.backends) EXPECT_FALSE(old.backend_rows.contains(backend.id));
  }
  for (const auto& [slot, backend] : old.slot_rows) EXPECT_EQ(fresh.slot_rows.at(slot), backend);
}

TEST(Restart, TextsThatMeanNothingAreForgotten) {
  ServiceState state;
  state.backend_ids = {{"10.0.0.1:8080/TCP", 7}, {"nonsense", 8},         {"10.0.0.1:x/TCP", 9},
                       {"10.0.0.9:1/TCP", 0},    {"fd00:0::1:80/TCP", 3}, {"10.0.0.2:8080/TCP", 7}};
  ServiceCompiler compiler(options(), state);
  auto input = two_services();
  const auto compiled = compiler.compile(input).value();
  EXPECT_EQ(compiler.state().backend_ids.at("10.0.0.1:8080/TCP"), 7U);
  EXPECT_EQ(compiler.state().backend_ids.size(), 3U);
  for (const auto& [text, id] : compiler.state().backend_ids) EXPECT_TRUE(id == 7 || id > 9) << text;
  EXPECT_THAT(compiled.backend_rows, SizeIs(3));
}

TEST(Restart, RowsFromTheMapThatOverlapOrReachOutsideAreNotAdopted) {
  ServiceCompiler compiler(options({"10.96.0.0/16"}, 8), {});
  std::map<weft_service_key, weft_service, ServiceKeyLess> rows;
  const auto row = [&](std::uint16_t number, std::uint32_t id, std::uint32_t first, std::uint32_t count) {
    weft_service_key key{};
    key.port = number;
    rows[key] = weft_service{id, first, count, 0};
  };
  row(1, 1, 0, 4);
  row(2, 2, 3, 2);
  row(3, 3, 7, 2);
  row(4, 4, 0xffff'fff0, 0x20);
  row(5, 5, 4, 4);
  compiler.adopt(rows, {});
  // Services 1 and 5 hold all slots until they have been replaced.
  auto input = two_services();
  EXPECT_FALSE(compiler.compile(input));
}

}  // namespace
}  // namespace weft::control
