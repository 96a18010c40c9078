// Prints what a compile costs at two sizes. No assertions on time: machines differ.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <vector>

#include "control/policy/test_world.h"

namespace weft::control {
namespace {

using namespace test;  // NOLINT: the builders are this test's vocabulary

// `pods` pods of `workloads` workloads in `spaces` namespaces under `policies` policies, of which
// each isolates a workload and lets two others in on two ports, over a default deny per namespace.
void fill(World& world, int pods, int workloads, int spaces, int policies) {
  const auto label = [&](int workload) {
    return LabelMap{{"app", fmt::format("app-{}", workload)}, {"team", fmt::format("team-{}", workload % 7)}};
  };
  world.input.endpoints.reserve(static_cast<std::size_t>(pods));
  for (int i = 0; i < pods; ++i) {
    const int workload = i % workloads;
    PolicyEndpoint added{.pod = {fmt::format("space-{}", workload % spaces), fmt::format("pod-{:05}", i)},
                         .labels = label(workload),
                         .ports = {{"http", 8080, Protocol::tcp}},
                         .addresses = {IpAddress::v4(0x0a010000).plus(static_cast<std::uint64_t>(i) + 2)}};
    added.identity = world.identities.acquire(identity_labels(added.pod.namespace_, added.labels, added.ports)).value();
    world.input.endpoints.push_back(std::move(added));
  }
  std::ranges::sort(world.input.endpoints, {}, &PolicyEndpoint::pod);
  for (int i = 0; i < policies; ++i) {
    const auto space = fmt::format("space-{}", i % spaces);
    auto& policy = world.policy(fmt::format("{}/policy-{}", space, i), i < spaces ? LabelMap{} : label(i % workloads));
    if (i < spaces) continue;
    policy.ingress = {{.peers = {test::pods(label((i + spaces) % workloads)), test::pods(label((i + 1) % workloads))},
                       .ports = {port(80), named("http")}},
                      {.peers = {namespaces({{"kubernetes.io/metadata.name", fmt::format("space-{}", i % spaces)}})},
                       .ports = {port(9090)}},
                      {.peers = {block(fmt::format("10.{}.0.0/16", i % 200))}}};
  }
}

void report(const char* name, World& world) {
  std::vector<double> milliseconds;
  for (int i = 0; i < 21; ++i) {
    const auto start = std::chrono::steady_clock::now();
    world.compile();
    milliseconds.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::ranges::sort(milliseconds);
  fmt::print("{}: compile {:.2f} ms median, {:.2f} ms worst; {} rows, {} classes, {} CIDRs\n", name, milliseconds[10],
             milliseconds.back(), world.compiled.rows.size(), world.compiler.classes().size(),
             world.compiled.cidrs.size());
}

TEST(PolicyTiming, Prints) {
  World node;
  fill(node, 100, 25, 5, 100);
  report("100 pods, 25 identities, 100 policies", node);
  EXPECT_FALSE(node.compiled.rows.empty());
  World large;
  fill(large, 5000, 300, 20, 500);
  report("5000 pods, 300 identities, 500 policies", large);
  EXPECT_EQ(large.identities.all().size(), 300U);
}

}  // namespace
}  // namespace weft::control
