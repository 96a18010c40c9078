// Nodes whose requests overtake each other, get lost and come late, that crash, are cut off and come back, by chance
// from a seed: what no two nodes may have is asked for all the time.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "sources/cluster/member.h"
#include "sources/crd_store/testing/kubernetes_world.h"

namespace weft::crd::testing {
namespace {

using cluster::Block;
using cluster::IdentityNumber;
using std::chrono::milliseconds;
using std::chrono::seconds;

const std::vector<LabelMap> label_sets{{{"app", "a"}}, {{"app", "b"}}, {{"app", "c"}}};
const std::vector<std::string> addresses{"192.0.2.1", "192.0.2.2"};

class Orders {
 public:
  explicit Orders(std::uint64_t seed)
      : random_([state = seed * 0x9e3779b97f4a7c15 + 1]() mutable {
          state ^= state << 13;
          state ^= state >> 7;
          state ^= state << 17;
          return state;
        }) {
    add_resources(server_.store());
    server_.store().put("/api/v1/namespaces/kube-system", {{"metadata", {{"name", "kube-system"}, {"uid", "s"}}}});
    server_.set_delay([this] { return milliseconds(random_() % 4 == 0 ? random_() % 40 : random_() % 4); });
    operator_ = server_.connect();
    reaper_ = std::move(*SessionReaper::make(*operator_, time_, random_, {}, {}));
    for (const auto* name : {"a", "b", "c"}) nodes_.push_back({.name = name});
  }

  void run(seconds time) {
    const auto until = time_.now() + time;
    while (time_.now() < until && !::testing::Test::HasFailure()) {
      act();
      for (int i = 0; i < 20; ++i) {
        time_.advance(milliseconds(random_() % 10));
        check();
      }
    }
    settle();
  }

 private:
  struct Node {
    std::string name;
    std::unique_ptr<kubernetes::Http> http;
    std::unique_ptr<etcd::Client> client;
    std::unique_ptr<cluster::Member> member;
    std::set<std::size_t> labels;  // acquired, by their place
    bool cut = false;
    std::vector<Block> remembered;  // what it had when it last ran
    cluster::SharedEndpoints pods;  // it has
    std::uint64_t epoch = 0;        // of its membership, and since when
    etcd::Scheduler::Time joined{};
  };

  bool chance(std::uint64_t of) { return random_() % of == 0; }

  void act() {
    auto& node = nodes_[random_() % nodes_.size()];
    if (!node.member) return start(node);
    switch (random_() % 16) {
      case 0:
        return crash(node);
      case 1:
        node.cut = !node.cut;
        return server_.cut(*node.http, node.cut);
      case 2:
        return server_.lose_answers(1, "weft.io");
      case 3:
        return server_.break_watches();
      case 4:
        if (chance(4)) server_.store().compact();
        return;
      case 5:
      case 6:
        return node.member->blocks().claim("p", Family::v4, [](const auto&) {});
      case 7:
        if (const auto blocks = node.member->blocks().blocks(); !blocks.empty())
          node.member->blocks().release(blocks[0]);
        return;
      case 8:
      case 9:
      case 10:
        return acquire(node, random_() % label_sets.size());
      case 11:
        return release(node);
      case 12:
      case 13:
        return change_pods(node);
      default:
        // For as long as leases and collections take.
        time_.advance(milliseconds(random_() % 3000));
        return;
    }
  }

  void start(Node& node) {
    if (!node.http) node.http = server_.connect();
    StoreOptions to;
    to.holder = node.name;
    to.slice = 2;
    node.client = std::move(*make_kubernetes_store(time_, *node.http, to, random_));
    cluster::MemberOptions options;
    options.self = {.name = node.name,
                    .boot_id = "boot",
                    .predecessor = {},
                    .record = {.underlay = {IpAddress::parse("192.0.2.9").value()}}};
    options.pools = {{.name = "p", .ranges = {{.cidr = Cidr::parse("10.0.0.0/23").value(), .block_length = 24}}}};
    options.remembered = node.remembered;
    options.identities = {.first = 256, .last = 259};
    options.lease = seconds(3);
    options.delay = seconds(6);
    options.round = seconds(1);
    options.patience = milliseconds(300);
    options.backoff = {milliseconds(20), milliseconds(500)};
    node.member = std::make_unique<cluster::Member>(*node.client, time_, random_, options, cluster::MemberHandlers{});
    node.labels.clear();
    want_addresses(node);
    node.member->endpoint_publisher().publish(node.pods);
  }

  // Some come, some go, some are others.
  void change_pods(Node& node) {
    for (int i = 0; i < 3; ++i) {
      const cluster::PodName name{node.name, fmt::format("p{}", random_() % 8)};
      if (chance(2))
        node.pods.erase(name);
      else
        node.pods[name] = {.identity = static_cast<IdentityNumber>(300 + random_() % 3)};
    }
    node.member->endpoint_publisher().publish(node.pods);
  }

  static void want_addresses(Node& node) {
    std::set<IpAddress> all;
    for (const auto& address : addresses) all.insert(IpAddress::parse(address).value());
    node.member->announcers().want(all, [](const IpAddress&) { return milliseconds(0); });
  }

  // Its requests that are on their way come all the same.
  void crash(Node& node) {
    node.remembered = node.member->blocks().blocks();
    node.member.reset();
    node.client.reset();
  }

  static void acquire(Node& node, std::size_t which) {
    if (node.labels.insert(which).second) node.member->identities().acquire(label_sets[which], [](const auto&) {});
  }
  static void release(Node& node) {
    if (node.labels.empty()) return;
    const auto which = *node.labels.begin();
    if (!node.member->identities().held().contains(label_sets[which])) return;
    node.labels.erase(which);
    node.member->identities().release(label_sets[which]);
  }

  void check() {
    std::map<Block, std::string> blocks;
    std::map<IpAddress, std::string> announced;
    for (auto& node : nodes_) {
      if (!node.member) continue;
      for (const auto& block : node.member->blocks().blocks())
        if (node.member->blocks().may_allocate_from(block)) {
          const auto [other, first] = blocks.emplace(block, node.name);
          EXPECT_TRUE(first) << block.to_string() << " is used by " << other->second << " and " << node.name;
        }
      for (const auto& address : addresses)
        if (node.member->announcers().surely_has(IpAddress::parse(address).value())) {
          const auto [other, first] = announced.emplace(IpAddress::parse(address).value(), node.name);
          EXPECT_TRUE(first) << address << " is announced by " << other->second << " and " << node.name;
        }
      check_numbers(node);
    }
  }

  // A node that is there and is listed for a number has it. One that has just come back finds out first.
  void check_numbers(Node& node) {
    const auto& membership = node.member->registry().membership();
    const auto epoch = membership ? membership->epoch : 0;
    if (std::exchange(node.epoch, epoch) != epoch) node.joined = time_.now();
    if (!membership || node.cut || time_.now() - node.joined < seconds(2) || !keys_.has_alive(node.name)) return;
    for (const auto& [labels, number] : node.member->identities().held()) {
      const auto found = keys_.labels_of(number);
      EXPECT_EQ(found, cluster::encode_labels(labels).value())
          << node.name << " uses " << number << " for " << labels.begin()->second;
    }
  }

  // Everybody is let alone: they agree, and nothing that nobody needs is left.
  void settle() {
    if (::testing::Test::HasFailure()) return;
    server_.lose_answers(0);
    for (auto& node : nodes_) {
      if (!node.member) start(node);
      if (node.cut) server_.cut(*node.http, node.cut = false);
      for (std::size_t i = 0; i < label_sets.size(); ++i) acquire(node, i);
    }
    for (int i = 0; i < 400; ++i) {
      time_.advance(milliseconds(100));
      check();
    }
    std::map<LabelMap, std::set<IdentityNumber>> numbers;
    for (auto& node : nodes_) {
      EXPECT_TRUE(node.member->registry().membership()) << node.name;
      EXPECT_TRUE(node.member->blocks().settled()) << node.name;
      EXPECT_EQ(node.member->identities().held().size(), label_sets.size()) << node.name;
      for (const auto& [labels, number] : node.member->identities().held()) numbers[labels].insert(number);
    }
    for (const auto& [labels, all] : numbers) EXPECT_EQ(all.size(), 1U) << labels.begin()->second;
    for (const auto& node : nodes_) {
      EXPECT_TRUE(node.member->endpoint_publisher().published()) << node.name;
      for (const auto& other : nodes_)
        EXPECT_EQ(other.member->endpoints().pods_of(node.name), node.pods) << node.name << " at " << other.name;
    }
    EXPECT_EQ(keys_.pods(), nodes_[0].pods.size() + nodes_[1].pods.size() + nodes_[2].pods.size())
        << "each is in one slice, and no slice has any that is gone";
    EXPECT_EQ(keys_.numbers(), label_sets.size()) << "those that nobody uses are collected";
  }

  // The store itself.
  struct State {
    explicit State(MemoryServer& of) : server(&of), keys(of) {}
    // Read again only when something has changed.
    void refresh() {
      if (std::exchange(version, server->store().version()) == server->store().version()) return;
      all.clear();
      for (auto& kv : keys.range({.keys = etcd::Keys::prefix("/weft/v1/default/")}).kvs)
        all.emplace(kv.key.substr(std::string_view("/weft/v1/default/").size()), kv.value);
    }
    bool has_alive(const std::string& node) {
      refresh();
      return all.contains("alive/" + node);
    }
    std::string labels_of(IdentityNumber number) {
      refresh();
      const auto found = all.find(fmt::format("identities/ids/{}", number));
      return found == all.end() ? "none" : found->second;
    }
    std::size_t numbers() {
      refresh();
      return static_cast<std::size_t>(
          std::ranges::count_if(all, [](const auto& entry) { return entry.first.starts_with("identities/ids/"); }));
    }
    // In all slices, none of which is empty.
    std::size_t pods() {
      refresh();
      std::size_t count = 0;
      for (const auto& [key, value] : all) {
        if (!key.starts_with("endpoints/")) continue;
        const auto read = cluster::decode_endpoints(key, value);
        EXPECT_TRUE(read && !read->pods.empty() && read->pods.size() <= 2) << key << " " << value;
        if (read) count += read->pods.size();
      }
      return count;
    }
    MemoryServer* server;
    Keys keys;
    std::int64_t version = -1;
    std::map<std::string, std::string> all;
  };

  etcd::ManualScheduler time_;
  etcd::Random random_;
  MemoryServer server_{time_};
  State keys_{server_};
  std::unique_ptr<kubernetes::Http> operator_;
  std::unique_ptr<SessionReaper> reaper_;
  std::vector<Node> nodes_;
};

class CrdOrders : public ::testing::TestWithParam<int> {};

TEST_P(CrdOrders, NothingIsTwoNodes) {
  for (int i = 0; i < 5 && !HasFailure(); ++i) {
    SCOPED_TRACE(fmt::format("seed {}", GetParam() * 5 + i));
    Orders(static_cast<std::uint64_t>(GetParam() * 5 + i + 1)).run(seconds(60));
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, CrdOrders, ::testing::Range(0, 8));

}  // namespace
}  // namespace weft::crd::testing
