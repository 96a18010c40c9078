// Planning, judging and drawing: no sockets here.
#include "lab/probe.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace weft::lab {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const Layout layout("lab", {});

PodPlan pod(const std::string& name, const std::string& workload, const std::vector<const char*>& addresses,
            const std::vector<ResponderPort>& ports) {
  PodPlan plan;
  plan.namespace_ = "shop";
  plan.name = name;
  plan.workload = workload;
  for (const auto* address : addresses) plan.addresses.push_back(*IpAddress::parse(address));
  plan.ports = ports;
  plan.responders = ports;
  return plan;
}

Inventory inventory() {
  Inventory shop;
  shop.pods = {pod("db", "", {"10.0.0.1", "fd00::1"}, {{5432, Protocol::tcp, false}}),
               pod("web-0", "web", {"10.0.0.2", "fd00::2"}, {{80, Protocol::tcp, true}, {53, Protocol::udp, false}}),
               pod("web-1", "web", {"10.0.0.3", "fd00::3"}, {{80, Protocol::tcp, true}, {53, Protocol::udp, false}})};
  const std::vector<ServiceBackend> backends = {{*IpAddress::parse("10.0.0.2"), 80, "shop/web-0"},
                                                {*IpAddress::parse("10.0.0.3"), 80, "shop/web-1"}};
  shop.services = {{"shop/web", *IpAddress::parse("10.96.0.9"), 8000, Protocol::tcp, backends},
                   {"shop/web", *IpAddress::parse("fd00:96::9"), 8000, Protocol::tcp, backends},
                   {"shop/none", *IpAddress::parse("10.96.0.8"), 80, Protocol::tcp, {}}};
  return shop;
}

std::vector<std::string> told(const std::vector<Probe>& probes) {
  std::vector<std::string> lines;
  for (const auto& probe : probes)
    lines.push_back(probe.from + " " + probe.to + " " + (probe.address ? probe.address->to_string() : "-") + " " +
                    std::to_string(probe.port) + "/" + to_string(probe.protocol));
  return lines;
}

std::vector<Probe> plan(const ProbeOptions& options) {
  auto probes = plan_probes(layout, inventory(), options);
  EXPECT_TRUE(probes) << probes.error().message;
  return probes ? *probes : std::vector<Probe>{};
}

TEST(ProbePlan, EverythingWhenNothingIsNamed) {
  const auto probes = plan({});
  EXPECT_EQ(probes.size(), 3U * 5U);
  EXPECT_EQ(told(probes).front(), "shop/db shop/db 10.0.0.1 5432/TCP");
  EXPECT_EQ(probes.front().from_netns, "weft-lab.shop.db");
  EXPECT_TRUE(probes.front().greets);
}

TEST(ProbePlan, WorkloadsStandForTheirPods) {
  EXPECT_THAT(told(plan({.from = {"shop/db"}, .to = {"shop/web"}, .ports = {"80/TCP"}})),
              ElementsAre("shop/db shop/web-0 10.0.0.2 80/TCP", "shop/db shop/web-1 10.0.0.3 80/TCP"));
  EXPECT_EQ(plan({.from = {"shop/web", "shop/web-0"}, .to = {"shop/db"}}).size(), 2U) << "named twice, tried once";
}

TEST(ProbePlan, Families) {
  using Families = ProbeOptions::Families;
  EXPECT_THAT(told(plan({.from = {"shop/db"}, .to = {"shop/web-0"}, .ports = {"80"}, .families = Families::v6})),
              ElementsAre("shop/db shop/web-0 fd00::2 80/TCP"));
  EXPECT_EQ(plan({.from = {"shop/db"}, .to = {"shop/web-0"}, .ports = {"80"}, .families = Families::all}).size(), 2U);
}

TEST(ProbePlan, ServicesAreTriedAtEachClusterIpAndAskedForEachBackend) {
  const auto probes = plan({.from = {"shop/db"}, .to = {"svc/shop/web"}});
  EXPECT_THAT(told(probes),
              ElementsAre("shop/db svc/shop/web 10.96.0.9 8000/TCP", "shop/db svc/shop/web fd00:96::9 8000/TCP"));
  ASSERT_EQ(probes[0].queries.size(), 2U);
  EXPECT_EQ(probes[0].queries[1].to.here, "shop/web-1");
  EXPECT_EQ(probes[0].queries[1].port, 80);
  EXPECT_TRUE(probes[0].greets);
  EXPECT_TRUE(plan({.from = {"shop/db"}, .to = {"svc/shop/none"}})[0].no_backend);
}

TEST(ProbePlan, AddressesMayBeServicesPodsOrOutside) {
  EXPECT_EQ(plan({.from = {"shop/db"}, .to = {"10.96.0.9"}})[0].queries.size(), 2U);
  EXPECT_THAT(told(plan({.from = {"shop/db"}, .to = {"10.0.0.2"}})),
              ElementsAre("shop/db 10.0.0.2 10.0.0.2 80/TCP", "shop/db 10.0.0.2 10.0.0.2 53/UDP"));
  const auto outside = plan({.from = {"shop/db"}, .to = {"203.0.113.1"}});
  EXPECT_THAT(told(outside), ElementsAre("shop/db 203.0.113.1 203.0.113.1 80/TCP"));
  EXPECT_EQ(outside[0].queries[0].to.here, "203.0.113.1");
  EXPECT_FALSE(outside[0].greets);
}

TEST(ProbePlan, HostAndWorldAreSourcesToo) {
  const auto probes = plan({.from = {"host", "world"}, .to = {"shop/db"}});
  ASSERT_EQ(probes.size(), 2U);
  EXPECT_EQ(probes[0].from_netns, "weft-lab-node1");
  EXPECT_EQ(probes[0].queries[0].from.here, "host");
  EXPECT_EQ(probes[1].from_netns, "weft-lab-world");
  EXPECT_EQ(probes[1].queries[0].from.here, "192.0.2.1");
}

TEST(ProbePlan, IcmpFollowsTheFamily) {
  using Families = ProbeOptions::Families;
  EXPECT_THAT(told(plan({.from = {"shop/db"}, .to = {"shop/web-0"}, .ports = {"ICMP"}, .families = Families::all})),
              ElementsAre("shop/db shop/web-0 10.0.0.2 0/ICMP", "shop/db shop/web-0 fd00::2 0/ICMPv6"));
}

TEST(ProbePlan, MistakesAreNamed) {
  const auto error = [](const ProbeOptions& options) {
    const auto probes = plan_probes(layout, inventory(), options);
    EXPECT_FALSE(probes);
    return probes ? Error{} : probes.error();
  };
  EXPECT_THAT(error({.to = {"shop/nope"}}).message, HasSubstr("shop/nope"));
  EXPECT_THAT(error({.to = {"shop/nope"}}).hint, HasSubstr("shop/web-0"));
  EXPECT_EQ(error({.to = {"svc/shop/nope"}}).code, ErrorCode::not_found);
  EXPECT_EQ(error({.from = {"nope"}}).code, ErrorCode::not_found);
  EXPECT_EQ(error({.ports = {"http"}}).code, ErrorCode::invalid);
  EXPECT_EQ(error({.ports = {"0/TCP"}}).code, ErrorCode::invalid);
  EXPECT_EQ(error({.to = {"svc/shop/web"}, .ports = {"1/TCP"}}).code, ErrorCode::not_found);
  EXPECT_EQ(plan_probes(layout, {}, {}).error().code, ErrorCode::not_found);
}

Verdict verdict(const char* word, const char* rule = R"({"text":"some rule"})") { return {word, rule}; }

TEST(Judge, WireAndEngine) {
  const auto agrees = [](std::optional<bool> reachable, const char* word, bool refused = false) {
    return judge({}, {.reachable = reachable, .refused = refused}, {verdict(word)}).agrees;
  };
  EXPECT_EQ(agrees(true, "allow"), true);
  EXPECT_EQ(agrees(false, "deny"), true);
  EXPECT_EQ(agrees(true, "deny"), false);
  EXPECT_EQ(agrees(false, "allow"), false);
  EXPECT_EQ(agrees(false, "allow", true), true) << "nobody listens, but it arrived";
  EXPECT_EQ(agrees(false, "deny", true), false) << "it arrived though it is denied";
  EXPECT_EQ(agrees(std::nullopt, "allow"), std::nullopt);
  EXPECT_EQ(agrees(true, ""), std::nullopt);
}

TEST(Judge, OfSeveralBackendsTheOneThatAnsweredCounts) {
  const auto probe = plan({.from = {"shop/db"}, .to = {"svc/shop/web"}})[0];
  const std::vector<Verdict> mixed = {verdict("deny"), verdict("allow")};
  EXPECT_EQ(judge(probe, {.reachable = true, .answered_by = "web-1"}, mixed).agrees, true);
  EXPECT_EQ(judge(probe, {.reachable = true, .answered_by = "web-0"}, mixed).agrees, false);
  EXPECT_EQ(judge(probe, {.reachable = true}, mixed).verdict.verdict, "allow");
  EXPECT_EQ(judge(probe, {.reachable = false}, mixed).verdict.verdict, "deny");
}

TEST(Judge, AServiceWithoutBackendsReachesNobody) {
  const auto probe = plan({.from = {"shop/db"}, .to = {"svc/shop/none"}})[0];
  EXPECT_EQ(judge(probe, {.reachable = false}, {verdict("allow")}).agrees, true);
  EXPECT_EQ(judge(probe, {.reachable = true}, {verdict("allow")}).agrees, false);
}

TEST(ProbeOutput, JsonHasEveryField) {
  const auto probe = plan({.from = {"shop/db"}, .to = {"shop/web-0"}, .ports = {"80"}})[0];
  const auto list = json::parse(
      probes_to_json({judge(probe, {.reachable = true, .answered_by = "web-0", .latency_us = 7}, {verdict("allow")}),
                      judge(probe, {.error = "no"}, {})}));
  EXPECT_EQ(list[0], json::parse(R"({"from":"shop/db","to":"shop/web-0","address":"10.0.0.2","port":80,
    "protocol":"TCP","reachable":true,"verdict":"allow","rule":{"text":"some rule"},"answered_by":"web-0",
    "error":null,"latency_us":7,"agrees":true})"));
  EXPECT_TRUE(list[1]["reachable"].is_null());
  EXPECT_TRUE(list[1]["rule"].is_null());
}

TEST(ProbeOutput, Matrix) {
  std::vector<ProbeResult> results;
  for (const auto& probe : plan({.from = {"shop/db", "shop/web-0"}, .to = {"shop/web-0"}})) {
    const bool denied = probe.from == "shop/db" && probe.port == 53;
    results.push_back(judge(probe, {.reachable = !denied},
                            {denied ? verdict("deny", R"({"text":"default deny by shop/lock"})") : verdict("allow")}));
  }
  EXPECT_EQ(draw_matrix(results, false),
            "            shop/web-0:80/TCP\n"
            "            │ shop/web-0:53/UDP\n"
            "shop/db     ✓ ✗\n"
            "shop/web-0  ✓ ✓\n"
            "\n"
            "✓ allowed and reached (3)\n"
            "✗ denied and stopped (1)\n"
            "\n"
            "denied by:\n"
            "  default deny by shop/lock\n"
            "    from shop/db\n"
            "      to shop/web-0:53/UDP\n");
  results[0].wire.reachable = false;
  results[0] = judge(results[0].probe, results[0].wire, {verdict("allow")});
  EXPECT_THAT(draw_matrix(results, false), HasSubstr("disagreements:\n  shop/db -> shop/web-0:80/TCP"));
  EXPECT_THAT(draw_matrix(results, true), HasSubstr("\033["));
  EXPECT_THAT(draw_matrix(results, false), Not(HasSubstr("\033[")));
}

}  // namespace
}  // namespace weft::lab
