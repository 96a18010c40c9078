// The same on a real API server that has the resources of deploy/kubernetes/crds and the namespace weft-system:
//   WEFT_TEST_KUBECONFIG=/tmp/k/admin.kubeconfig crd_store_test --gtest_filter='CrdOnApiServer.*'
// Whatever Weft has there is erased.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <cstdlib>
#include <set>

#include "sources/cluster/member.h"
#include "sources/crd_store/calls.h"
#include "sources/crd_store/session_reaper.h"
#include "sources/crd_store/store.h"
#include "sources/etcd/grpc_client.h"
#include "sources/etcd/testing/world.h"
#include "sources/kubernetes/kubeconfig.h"

namespace weft::crd::testing {
namespace {

using namespace std::chrono_literals;
using cluster::IdentityNumber;

class CrdOnApiServer : public ::testing::Test {
 protected:
  struct Node {
    std::unique_ptr<kubernetes::Http> http;
    std::unique_ptr<etcd::Client> client;
    std::unique_ptr<cluster::Member> member;
    std::vector<std::string> troubles;
  };

  void SetUp() override {
    const auto* path = std::getenv("WEFT_TEST_KUBECONFIG");
    if (path == nullptr) GTEST_SKIP() << "WEFT_TEST_KUBECONFIG leads to no API server";
    path_ = path;
    http_ = connect();
    for (const auto resource : {Resource::nodes, Resource::blocks, Resource::identities, Resource::users,
                                Resource::endpoints, Resource::enforcement, Resource::pools, Resource::claims})
      erase_all(resource);
    reaper_ = std::move(*SessionReaper::make(*http_, scheduler_, etcd::system_random(), {},
                                             {.ended = [this](const std::string& holder) { ended_.insert(holder); },
                                              .trouble = [](const Error& error) { ADD_FAILURE() << error.text(); }}));
  }

  std::unique_ptr<kubernetes::Http> connect() {
    auto access = kubernetes::read_kubeconfig(path_, {});
    EXPECT_TRUE(access) << access.error().text();
    return std::move(*kubernetes::make_http(loop_, std::move(*access), {}));
  }
  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit = 30s) {
    const auto until = std::chrono::steady_clock::now() + limit;
    while (!done())
      if (loop_.run_one_until(until) == 0) return done();
    return true;
  }
  void erase_all(Resource resource) {
    const auto& name = name_of(resource);
    const auto path =
        fmt::format("/apis/{}/{}{}", group_version, name.namespaced ? "namespaces/weft-system/" : "", name.plural);
    bool done = false;
    const auto transfer = http_->start({.method = "DELETE", .target = path}, {.done = [&](auto) { done = true; }});
    run_until([&] { return done; });
  }

  std::unique_ptr<Node> start(const std::string& name, std::size_t slice = StoreOptions().slice) {
    auto node = std::make_unique<Node>();
    node->http = connect();
    StoreOptions to;
    to.holder = name;
    to.slice = slice;
    to.trouble = [n = node.get()](const Error& error) { n->troubles.push_back(error.text()); };
    node->client = std::move(*make_kubernetes_store(scheduler_, *node->http, to, etcd::system_random()));
    cluster::MemberOptions options;
    options.self = {.name = name,
                    .boot_id = "boot-" + name,
                    .predecessor = {},
                    .record = {.underlay = {IpAddress::parse("192.0.2.1").value()}, .mode = "vxlan", .mtu = 1450}};
    options.pools = {{.name = "default",
                      .ranges = {{.cidr = Cidr::parse("10.0.0.0/16").value(), .block_length = 24},
                                 {.cidr = Cidr::parse("fd00::/48").value(), .block_length = 64}}}};
    options.lease = 3s;
    options.delay = 6s;
    options.round = 2s;
    options.patience = 200ms;
    options.backoff = {20ms, 500ms};
    EXPECT_TRUE(cluster::validate(options));
    node->member =
        std::make_unique<cluster::Member>(*node->client, scheduler_, etcd::system_random(), options,
                                          cluster::MemberHandlers{.trouble = [n = node.get()](const Error& error) {
                                            n->troubles.push_back(error.text());
                                          }});
    return node;
  }
  std::string claim(Node& node, Family family) {
    std::string got;
    node.member->blocks().claim("default", family, [&](const Result<cluster::Block>& block) {
      got = block ? block->cidr.to_string() : block.error().message;
    });
    EXPECT_TRUE(run_until([&] { return !got.empty(); }));
    return got;
  }
  IdentityNumber acquire(Node& node, const LabelMap& labels) {
    IdentityNumber got = 0;
    node.member->identities().acquire(labels, [&](const Result<IdentityNumber>& number) {
      EXPECT_TRUE(number) << number.error().message;
      got = number.value_or(1);
    });
    EXPECT_TRUE(run_until([&] { return got != 0; }));
    return got;
  }
  static void expect_no_trouble(const Node& node) {
    for (const auto& trouble : node.troubles) ADD_FAILURE() << trouble;
  }

  std::string path_;
  asio::io_context loop_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{loop_.get_executor()};
  etcd::AsioScheduler scheduler_{loop_};
  std::unique_ptr<kubernetes::Http> http_;
  std::unique_ptr<SessionReaper> reaper_;
  std::set<std::string> ended_;
};

TEST_F(CrdOnApiServer, NodesShareBlocksNumbersAndPodsUntilTheyAreGone) {
  auto a = start("node-a");
  auto b = start("node-b");
  ASSERT_TRUE(run_until(
      [&] { return a->member->registry().nodes().size() == 2 && a->member->registry().nodes().at("node-b").alive; }));
  EXPECT_NE(claim(*a, Family::v4), claim(*b, Family::v4));
  EXPECT_NE(claim(*a, Family::v6), claim(*b, Family::v6));
  const LabelMap web{{"k8s:app", "web"}, {"k8s:io.kubernetes.pod.namespace", "shop"}};
  const auto number = acquire(*a, web);
  EXPECT_EQ(acquire(*b, web), number);
  cluster::SharedEndpoints pods;
  pods[{"shop", "web-1"}] = {.addresses = {IpAddress::parse("10.0.1.2").value()}, .identity = number};
  a->member->endpoint_publisher().publish(pods);
  ASSERT_TRUE(run_until([&] { return b->member->endpoints().pods_of("node-a") == pods; }));
  ASSERT_TRUE(run_until([&] { return a->member->role().holder() || b->member->role().holder(); }));
  run_until([] { return false; }, 8s);
  EXPECT_TRUE(a->member->registry().membership() && b->member->registry().membership());
  expect_no_trouble(*a);
  expect_no_trouble(*b);
  // One that goes without a word is found to be away, and what it had is collected by the other.
  a.reset();
  ASSERT_TRUE(run_until([&] { return !b->member->registry().nodes().at("node-a").alive; }));
  EXPECT_TRUE(ended_.contains("node-a"));
  ASSERT_TRUE(run_until([&] { return !b->member->registry().nodes().contains("node-a"); }, 60s));
  ASSERT_TRUE(run_until([&] { return b->member->blocks().owners().size() == 2; }));
  b->member->identities().release(web);
  ASSERT_TRUE(run_until([&] { return b->member->identities().all().empty(); }, 60s));
  expect_no_trouble(*b);
}

cluster::SharedEndpoints some_pods(unsigned count) {
  cluster::SharedEndpoints pods;
  for (unsigned i = 0; i < count; ++i)
    pods[{"shop", fmt::format("frontend-7d9f8b6c5d-{:05}", i)}] = {
        .addresses = {IpAddress::v4(0x0a000100 + i)}, .identity = 300, .ports = {{"http", 8080, Protocol::tcp}}};
  return pods;
}

// Told for people: what one pod that starts is to each node that watches, in one object and in slices.
TEST_F(CrdOnApiServer, WhatAPodThatStartsSendsToAWatch) {
  for (const auto& [slice, count] : std::vector<std::pair<std::size_t, unsigned>>{
           {0, 110}, {StoreOptions().slice, 110}, {0, 4000}, {StoreOptions().slice, 6000}}) {
    const auto node = start("node-a", slice);
    auto pods = some_pods(count);
    const auto began = std::chrono::steady_clock::now();
    node->member->endpoint_publisher().publish(pods);
    ASSERT_TRUE(run_until([&] { return node->member->endpoint_publisher().published(); }, 120s));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    ASSERT_TRUE(run_until([&] { return node->member->endpoints().pods_of("node-a") == pods; }));
    std::size_t bytes = 0;
    bool listed = false;
    kubernetes::Request all{.target = "/apis/weft.io/v1alpha1/weftendpoints?limit=1"};
    std::string version;
    const auto list = http_->start(std::move(all), {.done = [&](kubernetes::Outcome<kubernetes::Answer> answer) {
                                     ASSERT_TRUE(answer && answer->good());
                                     const auto at = answer->body.find("\"resourceVersion\":\"") + 19;
                                     version = answer->body.substr(at, answer->body.find('"', at) - at);
                                     listed = true;
                                   }});
    ASSERT_TRUE(run_until([&] { return listed; }));
    bool opened = false;
    kubernetes::Request watch{.target = "/apis/weft.io/v1alpha1/weftendpoints?watch=1&resourceVersion=" + version};
    watch.stream = true;
    const auto stream = http_->start(std::move(watch), {.opened = [&] { opened = true; },
                                                        .bytes = [&](std::string_view some) { bytes += some.size(); },
                                                        .done = [](auto) {}});
    ASSERT_TRUE(run_until([&] { return opened; }));
    run_until([] { return false; }, 500ms);
    bytes = 0;
    constexpr unsigned changes = 10;
    for (unsigned i = 0; i < changes; ++i) {
      const auto name = std::next(pods.begin(), static_cast<std::ptrdiff_t>(i * count / changes))->first;
      pods.at(name).ready = false;
      node->member->endpoint_publisher().publish(pods);
      ASSERT_TRUE(run_until([&] { return node->member->endpoint_publisher().published(); }));
    }
    run_until([] { return false; }, 500ms);
    fmt::print("{} pods in objects of {}: written in {:.2f} s, {} bytes on a watch for each change\n", count,
               slice == 0 ? "all" : std::to_string(slice), took.count(), bytes / changes);
    EXPECT_GT(bytes, 0U);
    EXPECT_LT(slice == 0 ? 0 : bytes / changes, 16384U);
    expect_no_trouble(*node);
    node->member->endpoint_publisher().publish({});
    ASSERT_TRUE(run_until([&] { return node->member->endpoint_publisher().published(); }, 120s));
    bool closed = false;
    node->member->registry().close([&](auto) { closed = true; });
    ASSERT_TRUE(run_until([&] { return closed; }));
    erase_all(Resource::endpoints);
  }
}

TEST_F(CrdOnApiServer, TwelveNodesStartAtOnceWithTheSameLabels) {
  std::vector<std::unique_ptr<Node>> nodes;
  for (int i = 0; i < 12; ++i) nodes.push_back(start(fmt::format("node-{}", i)));
  std::map<LabelMap, std::set<IdentityNumber>> numbers;
  std::set<std::string> blocks;
  int answers = 0;
  for (const auto& node : nodes) {
    node->member->blocks().claim("default", Family::v4, [&](const Result<cluster::Block>& block) {
      ++answers;
      ASSERT_TRUE(block) << block.error().message;
      EXPECT_TRUE(blocks.insert(block->cidr.to_string()).second);
    });
    for (int i = 0; i < 5; ++i) {
      const LabelMap labels{{"k8s:app", fmt::format("app-{}", i)}};
      node->member->identities().acquire(labels, [&, labels](const Result<IdentityNumber>& number) {
        ++answers;
        ASSERT_TRUE(number) << number.error().message;
        numbers[labels].insert(*number);
      });
    }
  }
  ASSERT_TRUE(run_until([&] { return answers == 12 * 6; }, 120s)) << answers;
  EXPECT_EQ(numbers.size(), 5U);
  for (const auto& [labels, all] : numbers) EXPECT_EQ(all.size(), 1U);
  const bool all_known = run_until([&] {
    return std::ranges::all_of(nodes, [](const auto& node) { return node->member->identities().all().size() == 5; });
  });
  EXPECT_TRUE(all_known);
}

}  // namespace
}  // namespace weft::crd::testing
