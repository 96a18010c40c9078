// What a change costs, counted in work done and not in time, and what fifty thousand Services weigh.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "control/services/services.h"
#include "control/services/testing.h"

namespace weft::control {
namespace {

using testing::ip;
using testing::Maps;

class Cost : public ::testing::Test {
 protected:
  static model::Service service(unsigned i) {
    auto one = testing::service(fmt::format("service-{}", i));
    one.meta.namespace_ = fmt::format("team-{}", i % 100);
    return one;
  }
  static model::EndpointSlice slice(unsigned i) {
    auto one = testing::slice(fmt::format("service-{}-x7k2q", i), fmt::format("service-{}", i), 8080);
    one.meta.namespace_ = fmt::format("team-{}", i % 100);
    for (unsigned j = 0; j < 2; ++j) {
      auto endpoint = testing::at(IpAddress::v4(0x0a000000U + i * 2 + j).to_string());
      endpoint.target_pod = fmt::format("service-{}-5d8f-{}", i, j);
      endpoint.node = fmt::format("node-{}", i % 50);
      one.endpoints.push_back(std::move(endpoint));
    }
    return one;
  }
  static ServiceOptions options() {
    auto result = testing::options({"10.96.0.0/12"}, 1U << 20U);
    result.max_backends = result.max_services = result.max_frontends = 1U << 18U;
    return result;
  }
  static double milliseconds(std::chrono::steady_clock::time_point since) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since).count();
  }
};

// Prints what it took; times are asserted by the benchmark.
TEST_F(Cost, FiftyThousandServicesAreSmallAndAChangeIsOneService) {
  constexpr unsigned count = 50'000;
  malloc_trim(0);
  const auto before = mallinfo2().uordblks + mallinfo2().hblkhd;
  auto start = std::chrono::steady_clock::now();
  ServiceCompiler compiler(options(), {});
  for (unsigned i = 0; i < count; ++i) {
    const auto one = service(i);
    ASSERT_TRUE(compiler.assign(one));
    compiler.upsert(one);
    compiler.upsert(slice(i));
  }
  const auto told = milliseconds(start);
  start = std::chrono::steady_clock::now();
  std::size_t rows = 0;
  {
    const auto delta = compiler.compile();
    ASSERT_TRUE(delta);
    rows = delta->frontends.size();
    EXPECT_EQ(delta->backends.size(), 2 * count);
  }
  const auto compiled = milliseconds(start);
  EXPECT_EQ(rows, count);
  const auto after = mallinfo2().uordblks + mallinfo2().hblkhd;
  if (before != 0) {  // under a sanitizer nothing is told
    const auto each = (after - before) / count;
    fmt::print("{} services: told in {:.0f} ms, compiled in {:.0f} ms, {} bytes each\n", count, told, compiled, each);
    EXPECT_LT(each, 2048U);
  }
  EXPECT_EQ(compiler.work().owners, count);

  start = std::chrono::steady_clock::now();
  auto changed = slice(777);
  changed.endpoints[1].ready = false;
  changed.endpoints[1].serving = false;
  compiler.upsert(changed);
  const auto delta = compiler.compile();
  const auto took = milliseconds(start);
  ASSERT_TRUE(delta);
  EXPECT_EQ(compiler.work().owners, count + 1);
  EXPECT_EQ(compiler.work().backends, 2 * count + 2);
  EXPECT_EQ(delta->frontends.size(), 1U);
  EXPECT_EQ(delta->backends.size(), 1U);  // draining
  EXPECT_EQ(delta->slots.size(), 1U);
  std::vector<double> times{took};
  for (unsigned i = 0; i < 1000; ++i) {
    changed = slice(i * 7);
    changed.endpoints.pop_back();
    start = std::chrono::steady_clock::now();
    compiler.upsert(changed);
    ASSERT_TRUE(compiler.compile());
    times.push_back(milliseconds(start));
  }
  std::ranges::nth_element(times, times.begin() + 500);
  fmt::print("one change: {:.3f} ms, the first {:.3f} ms\n", times[500], took);

  start = std::chrono::steady_clock::now();
  for (unsigned i = 0; i < count; ++i) {
    compiler.forget(service(i).meta.key());
    compiler.erase_service(service(i).meta.key());
    compiler.erase_slice(slice(i).meta.key());
  }
  const auto last = compiler.compile();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->frontends_gone.size(), count);
  EXPECT_EQ(last->backends_gone.size(), 2 * count - 1000);
  fmt::print("all deleted: {:.0f} ms\n", milliseconds(start));
  EXPECT_EQ(compiler.usage().backends, 0U);
}

// Whatever it depends on, a change looks at what depends on it and at nothing else.
TEST_F(Cost, IsThatOfWhatDependsOnTheChange) {
  constexpr unsigned count = 300;
  ServiceCompiler compiler(options(), {});
  compiler.set_node({"here", "east", {ip("192.0.2.1")}});
  for (unsigned i = 0; i < count; ++i) {
    auto one = service(i);
    one.meta.namespace_ = "shop";
    if (i % 3 == 0) one.selector = LabelMap{{"tier", "front"}, {"app", fmt::format("app-{}", i)}};
    testing::apply(compiler, one);
    auto endpoints = slice(i);
    endpoints.meta.namespace_ = "shop";
    if (i == 100) endpoints.endpoints[0].addresses = {ip("192.0.2.1")};
    if (i == 101) endpoints.endpoints[0].addresses = {ip("192.0.2.2")};
    if (i == 103 || i == 104) endpoints.endpoints[0].addresses = {ip("10.9.9.9")};
    if (i % 3 != 0) compiler.upsert(endpoints);
  }
  ASSERT_TRUE(compiler.compile());
  auto work = compiler.work();
  const auto costs = [&](std::uint64_t owners, const char* what) {
    const auto delta = compiler.compile();
    ASSERT_TRUE(delta) << what;
    EXPECT_EQ(compiler.work().owners - work.owners, owners) << what;
    work = compiler.work();
  };
  costs(0, "nothing");
  auto pod = testing::pod("app-6-0", {{"tier", "front"}, {"app", "app-6"}, {"hash", "x"}}, {"10.1.0.1"});
  compiler.upsert(pod);
  costs(1, "a pod of one selector");
  compiler.upsert(pod);
  costs(0, "the same again");
  pod.labels["app"] = "app-9";
  compiler.upsert(pod);
  costs(2, "from one selector to another");
  pod.labels["app"] = "nobody's";
  compiler.upsert(pod);
  costs(1, "away");
  pod.labels["app"] = "somebody's";
  compiler.upsert(pod);
  costs(0, "labels nobody selects");
  pod.host_ports = {{std::nullopt, 8080, 80, Protocol::tcp}};
  compiler.upsert(pod);
  costs(1, "a host port");
  compiler.erase_pod(pod.key);
  costs(1, "the host port's pod gone");
  compiler.set_node({"here", "east", {ip("192.0.2.1"), ip("192.0.2.2")}});
  costs(1, "an address more on the node");
  compiler.set_node({"here", "east", {ip("192.0.2.2")}});
  costs(1, "an address less on the node");
  compiler.set_healthy(ip("10.9.9.9"), 8080, Protocol::tcp, false);
  costs(2, "a backend of two services unhealthy");
  compiler.set_healthy(ip("10.9.9.9"), 8080, Protocol::tcp, false);
  costs(0, "the same again");
  compiler.upsert(testing::pod("other", {}, {"10.9.9.9"}));
  costs(2, "a pod at the address of an endpoint of two services");
}

TEST_F(Cost, AnUnchangedSetOfBackendsRebuildsNoTable) {
  ServiceCompiler compiler(options(), {});
  auto one = testing::service("web");
  one.algorithm = model::Algorithm::maglev;
  testing::apply(compiler, one);
  auto endpoints = testing::slice("web-1", "web", 80);
  for (const auto* address : {"10.0.0.1", "10.0.0.2", "10.0.0.3"}) endpoints.endpoints.push_back(testing::at(address));
  compiler.upsert(endpoints);
  ASSERT_TRUE(compiler.compile());
  EXPECT_EQ(compiler.work().tables, 1U);
  one.affinity_seconds = 10;
  compiler.upsert(one);
  endpoints.endpoints.push_back(testing::at("10.0.0.4", false, false));
  compiler.upsert(endpoints);
  auto delta = compiler.compile();
  ASSERT_TRUE(delta);
  EXPECT_EQ(compiler.work().tables, 1U);
  EXPECT_TRUE(delta->slots.empty());
  EXPECT_EQ(delta->frontends.size(), 1U);
  endpoints.endpoints[3].ready = true;
  compiler.upsert(endpoints);
  ASSERT_TRUE(compiler.compile());
  EXPECT_EQ(compiler.work().tables, 2U);
  one.maglev_table_size = 1021;
  compiler.upsert(one);
  ASSERT_TRUE(compiler.compile());
  EXPECT_EQ(compiler.work().tables, 3U);
  EXPECT_EQ(compiler.ports_of({"shop", "web"}).at(0)->row.slot_count, 1021U);
}

}  // namespace
}  // namespace weft::control
