// Members of a cluster on a fake etcd, and what each was told.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "sources/cluster/member.h"
#include "sources/cluster/testing/test_world.h"

namespace weft::cluster::testing {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline std::vector<Pool> pool(const char* name, const char* cidr, unsigned block_length) {
  return {{.name = name, .ranges = {{.cidr = Cidr::parse(cidr).value(), .block_length = block_length}}}};
}

// A node and what it was told.
struct TestNode {
  std::unique_ptr<etcd::Client> client;
  std::unique_ptr<Member> member;
  std::vector<std::string> refusals;
  std::vector<std::string> troubles;
  std::vector<Block> lost;
  std::vector<std::string> gone;
  std::string renumbered;
  std::vector<std::string> pods;  // each difference: "b: +web-1 -web-2"
};

inline std::string text_of(const EndpointDifference& difference) {
  std::string text;
  for (const auto& [node, pods] : difference.nodes) {
    text += text.empty() ? node + ":" : "; " + node + ":";
    for (const auto& [name, pod] : pods.set) text += " +" + name.name;
    for (const auto& name : pods.gone) text += " -" + name.name;
  }
  return text;
}

inline SharedEndpoints pods(const std::vector<const char*>& names) {
  SharedEndpoints all;
  for (const auto* name : names)
    all[{"shop", name}] = {.addresses = {IpAddress::parse("10.0.1.2").value()}, .identity = 300};
  return all;
}

class MemberTest : public ::testing::Test {
 protected:
  MemberOptions options(const std::string& name, const std::string& boot_id = "boot-1") {
    MemberOptions options;
    options.self = {.name = name,
                    .boot_id = boot_id,
                    .predecessor = {},
                    .record = {.underlay = {IpAddress::parse("192.0.2.1").value()}}};
    options.pools = pool("p", "10.0.0.0/23", 24);
    options.lease = seconds(10);
    options.delay = seconds(60);
    options.round = seconds(15);
    return options;
  }
  std::unique_ptr<TestNode> start(const MemberOptions& options) {
    EXPECT_TRUE(validate(options));
    auto node = std::make_unique<TestNode>();
    node->client = world_.cluster.connect();
    node->member = std::make_unique<Member>(
        *node->client, world_.time, etcd::testing::fixed_random(), options,
        MemberHandlers{
            .nodes = [n = node.get()](
                         const NodeDifference& d) { n->gone.insert(n->gone.end(), d.gone.begin(), d.gone.end()); },
            .refused = [n = node.get()](const Error& error) { n->refusals.push_back(error.message); },
            .blocks_lost = [n = node.get()](const std::vector<Block>& blocks) { n->lost = blocks; },
            .renumbered = [n = node.get()](const LabelMap&, IdentityNumber before,
                                           IdentityNumber now) { n->renumbered = fmt::format("{} {}", before, now); },
            .endpoints = [n = node.get()](const EndpointDifference& d) { n->pods.push_back(text_of(d)); },
            .trouble = [n = node.get()](const Error& error) { n->troubles.push_back(error.message); }});
    world_.time.settle();
    return node;
  }
  // A block, or the error.
  std::string claim(TestNode& node, const std::string& name = "p", Family family = Family::v4) {
    auto answer = std::make_shared<std::string>();
    node.member->blocks().claim(name, family, [answer](const Result<Block>& block) {
      *answer = block ? block->cidr.to_string() : block.error().message;
    });
    world_.run_until([&] { return !answer->empty(); }, seconds(60));
    return *answer;
  }
  IdentityNumber acquire(TestNode& node, const LabelMap& labels) {
    auto answer = std::make_shared<IdentityNumber>(0);
    node.member->identities().acquire(labels, [answer](const Result<IdentityNumber>& number) {
      EXPECT_TRUE(number) << number.error().message;
      *answer = number.value_or(0);
    });
    world_.run_until([&] { return *answer != 0; }, seconds(60));
    return *answer;
  }
  std::size_t keys_below(const std::string& folder) {
    return world_.cluster.store().range({.keys = etcd::Keys::prefix("/weft/v1/default/" + folder)})->kvs.size();
  }

  TestWorld world_;
};

}  // namespace weft::cluster::testing
