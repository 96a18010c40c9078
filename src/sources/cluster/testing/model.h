// Every interleaving of what a few nodes do to etcd, with answers that are lost, requests that come late, nodes that
// crash or are cut off at each step, and time that passes at each step. The nodes are the real ones (member.h); one
// action lets one atomic operation of etcd happen. States that were reached before, by what etcd holds and what each
// node was told, are not followed again. Not tried are a collector with old news (it reads what it judges) and, where
// blocks are the matter, the moments of requests about identities.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "sources/cluster/member.h"
#include "sources/cluster/shared_objects.h"
#include "sources/cluster/testing/stepped_client.h"
#include "sources/etcd/manual_scheduler.h"
#include "sources/etcd/testing/world.h"

namespace weft::cluster::testing {

using std::chrono::milliseconds;
using std::chrono::seconds;

// How often each kind of misfortune may strike on one way.
struct Budget {
  int timeouts = 0;  // requests whose answer is lost; they happen later, or never
  int crashes = 0;   // a node ends at any point, and starts again at any later one
  int cuts = 0;      // a node is cut off at any point, and reached again at any later one
  int ticks = 0;     // more time passes than a lease lasts; the delay is over after two
  int asks = 0;      // a node that found no block free asks again; one with pods has others
};

struct Scenario {
  std::vector<std::string> nodes;  // the collector is another one, "z"
  std::vector<Pool> pools;
  IdentityRange identities{256, 257};
  std::set<std::string> at_once = {"z"};  // those whose requests happen as soon as they are made
  std::string beside;         // requests about such keys happen as soon as they are made: nothing here depends on them
  std::size_t slice = 0;      // pods of a node in one key; 0: all
  bool objects = false;       // nodes also follow and write objects; the cluster is founded
  bool news_at_once = false;  // else what watches tell comes at any later step
  bool reboots = false;       // a node that crashed starts with another boot id
  std::set<std::string> unlucky;  // whom misfortune may strike; empty: all of `nodes`
  Budget budget;
  // What the nodes want, before the steps begin and as the first of them.
  std::function<void(class ModelWorld&)> prepare;
  std::function<void(class ModelWorld&)> begin;
};

struct Action {
  enum class Kind : std::uint8_t { apply, time_out, late, deliver, crash, start, cut, heal, tick, ask };
  Kind kind = Kind::apply;
  std::size_t node = 0;
  std::size_t index = 0;
};

class ModelNode {
 public:
  ModelNode(etcd::FakeCluster& cluster, etcd::ManualScheduler& time, const Scenario& scenario, std::string name)
      : cluster_(&cluster), time_(&time), scenario_(&scenario), name_(std::move(name)) {}

  void start() {
    ++runs_;
    client_ = std::make_unique<SteppedClient>(*cluster_, *time_, scenario_->beside, scenario_->slice);
    MemberOptions options;
    options.self = {.name = name_,
                    .boot_id = scenario_->reboots ? fmt::format("boot-{}", runs_) : "boot",
                    .predecessor = {},
                    .record = {}};
    options.pools = scenario_->pools;
    if (!scenario_->reboots) options.remembered.assign(told_.begin(), told_.end());
    options.identities = scenario_->identities;
    options.lease = seconds(10);
    options.delay = seconds(20);
    options.round = seconds(10);
    options.patience = milliseconds(1);
    // At once the first time, and not for ever while it is cut off.
    options.backoff = {milliseconds(1), milliseconds(4000)};
    MemberHandlers handlers;
    handlers.blocks = [this] {
      const auto held = member->blocks().blocks();
      told_ = {held.begin(), held.end()};
    };
    handlers.blocks_lost = [this](const std::vector<Block>& blocks) {
      for (const auto& block : blocks) lost.insert(block);
    };
    member = std::make_unique<Member>(*client_, *time_, etcd::testing::fixed_random(), std::move(options),
                                      std::move(handlers));
    if (!pods.empty()) want_pods();
    if (scenario_->objects) follow_objects();
  }
  void stop() {
    objects_.reset();
    member.reset();
    client_.reset();
  }
  void want_block(const std::string& pool = "p") {
    unserved = false;
    asked_ = pool;
    member->blocks().claim(pool, Family::v4, [this](const Result<Block>& block) { claimed(block); });
  }
  void want_block_again() { want_block(asked_); }
  void want_named(const Block& block) {
    unserved = false;
    asked_ = block.pool;
    member->blocks().claim(block, [this](const Result<Block>& claim) { claimed(claim); });
  }
  // The pool becomes an object of the cluster, or, without ranges, goes; decided again after each conflict.
  void want_pool(const Pool& pool) {
    const ObjectKey key{"PodAddressPool", {}, pool.name};
    SharedWrite write{.key = key, .text = pool.to_string(), .pool = pool};
    if (pool.ranges.empty()) write.text.reset();
    defined = "asked";
    if (pool.ranges.empty() && !objects_->contains(key)) return void(defined = "done");
    objects_->write({write}, false, [this, pool](const WriteResult& result) {
      if (result.end == WriteResult::End::conflict) return want_pool(pool);
      defined = result.error ? result.error->message : "done";
    });
  }
  void want_identity(const LabelMap& labels) {
    member->identities().acquire(labels, [this](const Result<IdentityNumber>& number) {
      answered = number ? std::to_string(*number) : number.error().message;
    });
  }
  // Others each time, and in each run.
  void want_pods() {
    pods = {{{"shop", fmt::format("pod-{}-{}", runs_, ++wishes_)}, {.identity = 256}}};
    member->endpoint_publisher().publish(pods);
  }
  [[nodiscard]] SteppedClient& client() const { return *client_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] int runs() const { return runs_; }

  std::unique_ptr<SteppedClient> client_;
  std::unique_ptr<Member> member;
  std::set<Block> lost;
  SharedEndpoints pods;
  std::string answered;
  std::string defined;    // how the last wish for a pool ended
  bool unserved = false;  // it asked for a block, and there was none

 private:
  void claimed(const Result<Block>& block) {
    unserved = !block;
    answered = block ? block->to_string() : block.error().message;
  }
  void follow_objects() {
    objects_ = std::make_unique<SharedObjects>(
        Context{.client = *client_,
                .scheduler = *time_,
                .random = etcd::testing::fixed_random(),
                .keys = Keyspace::make("default").value(),
                .backoff = {milliseconds(1), milliseconds(4000)}},
        name_, SharedObjectsHandlers{.changed = [this](const auto&) { member->blocks().pools_changed(); }});
  }

  std::unique_ptr<SharedObjects> objects_;
  std::string asked_;
  etcd::FakeCluster* cluster_;
  etcd::ManualScheduler* time_;
  const Scenario* scenario_;
  std::string name_;
  int runs_ = 0;
  int wishes_ = 0;
  std::set<Block> told_;
};

class ModelWorld {
 public:
  explicit ModelWorld(const Scenario& scenario) : scenario_(&scenario), budget_(scenario.budget) {
    if (scenario.objects)
      static_cast<void>(cluster.store().put({.key = keys_.build(AssignmentsEpochKey{}), .value = "founded"}));
    nodes.push_back(std::make_unique<ModelNode>(cluster, time, scenario, "z"));
    for (const auto& name : scenario.nodes) nodes.push_back(std::make_unique<ModelNode>(cluster, time, scenario, name));
    for (const auto& node : nodes) {
      node->start();
      settle();
    }
    if (scenario.prepare) scenario.prepare(*this);
    settle();
    for (const auto& node : nodes) gate(*node);
    if (scenario.begin) scenario.begin(*this);
    settle();
  }
  ModelWorld(const ModelWorld&) = delete;
  ModelWorld& operator=(const ModelWorld&) = delete;
  ~ModelWorld() {
    for (const auto& node : nodes) node->stop();
  }

  ModelNode& node(std::size_t i) { return *nodes[i]; }

  [[nodiscard]] std::vector<Action> actions() const {
    std::vector<Action> all;
    using Kind = Action::Kind;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const auto& node = *nodes[i];
      const bool unlucky = i != 0 && (scenario_->unlucky.empty() || scenario_->unlucky.contains(node.name()));
      if (!node.member) {
        all.push_back({Kind::start, i});
        continue;
      }
      for (std::size_t j = 0; j < node.client().waiting(); ++j) {
        all.push_back({Kind::apply, i, j});
        if (unlucky && budget_.timeouts > 0) all.push_back({Kind::time_out, i, j});
      }
      if (node.client().has_news() && i != 0) all.push_back({Kind::deliver, i});
      if (unlucky && budget_.crashes > 0) all.push_back({Kind::crash, i});
      if ((node.unserved || (unlucky && !node.pods.empty())) && budget_.asks > 0) all.push_back({Kind::ask, i});
      if (node.client().is_cut())
        all.push_back({Kind::heal, i});
      else if (unlucky && budget_.cuts > 0)
        all.push_back({Kind::cut, i});
    }
    for (std::size_t i = 0; i < late_.size(); ++i) all.push_back({Kind::late, 0, i});
    if (budget_.ticks > 0) all.push_back({Kind::tick});
    return all;
  }

  void perform(const Action& action) {
    auto& node = *nodes[action.node];
    switch (action.kind) {
      case Action::Kind::apply:
        node.client().apply(action.index);
        break;
      case Action::Kind::time_out:
        --budget_.timeouts;
        expect_late(node.client().time_out(action.index));
        break;
      case Action::Kind::late:
        arrive(action.index);
        break;
      case Action::Kind::deliver:
        node.client().deliver();
        break;
      case Action::Kind::crash:
        --budget_.crashes;
        while (node.client().waiting() > 0) expect_late(node.client().time_out(0));
        node.stop();
        break;
      case Action::Kind::start:
        node.start();
        gate(node);
        break;
      case Action::Kind::cut:
        --budget_.cuts;
        node.client().cut(true);
        while (node.client().waiting() > 0) expect_late(node.client().time_out(0));
        break;
      case Action::Kind::heal:
        node.client().cut(false);
        break;
      case Action::Kind::tick:
        --budget_.ticks;
        time.advance(seconds(11));
        break;
      case Action::Kind::ask:
        --budget_.asks;
        node.pods.empty() ? node.want_block_again() : node.want_pods();
        break;
    }
    settle();
    // What the collector does, it does by what it reads.
    for (std::size_t i = 0; i < (scenario_->news_at_once ? nodes.size() : 1); ++i)
      if (nodes[i]->member) nodes[i]->client().deliver();
    settle();
  }

  // Equal for states that behave alike.
  [[nodiscard]] std::string fingerprint() {
    std::string text =
        fmt::format("{} {} {} {} {};", budget_.timeouts, budget_.crashes, budget_.cuts, budget_.ticks, budget_.asks);
    for (const auto& kv : everything())
      text += fmt::format("{}={}@{},{};", kv.key, kv.value, SteppedClient::write_of(cluster, kv.key, kv.mod_revision),
                          kv.lease);
    for (const auto& node : nodes) {
      if (!node->member) {
        text += fmt::format("down {};", node->runs());
        continue;
      }
      text += fmt::format("{} {} {} {} {} {};", node->runs(), node->client().trace(), node->client().is_cut(),
                          node->client().has_news(), node->answered, node->defined);
      for (std::size_t i = 0; i < node->client().waiting(); ++i) text += node->client().label(i) + ",";
    }
    for (const auto& late : late_) text += late.compare.front().key + ",";
    return text;
  }

  // What must be so in every state. Empty: it is.
  std::string violation() {
    std::map<Block, std::string> owner;
    for (const auto& node : nodes) {
      if (!scenario_->unlucky.empty() && !scenario_->unlucky.contains(node->name()) && !node->lost.empty())
        return fmt::format("{} lost {} although it was never away", node->name(), node->lost.begin()->to_string());
      if (!node->member) continue;
      for (const auto& block : node->member->blocks().blocks()) {
        if (!node->member->blocks().may_allocate_from(block)) continue;
        const auto [other, is_new] = owner.emplace(block, node->name());
        if (!is_new)
          return fmt::format("{} gives out {} and so does {}", node->name(), block.to_string(), other->second);
      }
    }
    if (auto wrong = pool_violation(); !wrong.empty()) return wrong;
    return identity_violation();
  }

  // All is well again, everything happens; afterwards nobody wants anything.
  std::string finish() {
    // What was on its way comes last of all: the worst there is.
    for (const auto& node : nodes) {
      if (!node->member) node->start();
      node->client().cut(false);
    }
    run();
    while (!late_.empty()) arrive(0);
    run();
    if (auto wrong = violation(); !wrong.empty()) return "afterwards " + wrong;
    if (auto wrong = disagreement(); !wrong.empty()) return wrong;
    for (const auto& node : nodes)
      if (node->defined == "asked" || node->defined.contains("has not answered") ||
          node->defined.contains("no objects"))
        return fmt::format("{} wanted a pool, which ended so: {}", node->name(), node->defined);
    for (std::size_t i = 1; i < nodes.size(); ++i) nodes[i]->stop();
    for (int i = 0; i < 12; ++i) time.advance(seconds(10));
    for (const auto& kv : everything()) {
      const auto key = keys_.parse(kv.key);
      if (!key || std::holds_alternative<BlockKey>(*key) || std::holds_alternative<IdentityKey>(*key) ||
          std::holds_alternative<LabelsKey>(*key) || std::holds_alternative<MarkKey>(*key))
        return fmt::format("{} = {} is never released", kv.key, kv.value);
    }
    return {};
  }

  etcd::ManualScheduler time;
  etcd::FakeCluster cluster{time};
  std::vector<std::unique_ptr<ModelNode>> nodes;

 private:
  void settle() { time.advance(milliseconds(3)); }
  void gate(const ModelNode& node) const { node.client().open_gate(scenario_->at_once.contains(node.name())); }
  void expect_late(std::optional<etcd::Txn> txn) {
    if (txn) late_.push_back(std::move(*txn));
  }
  void arrive(std::size_t index) {
    static_cast<void>(cluster.store().txn(late_[index]));
    late_.erase(late_.begin() + static_cast<std::ptrdiff_t>(index));
    cluster.changed();
  }
  // Everything that waits happens, until nothing does.
  void run() {
    for (const auto& node : nodes) node->client().open_gate(true);
    for (int i = 0; i < 6; ++i) {
      for (const auto& node : nodes) {
        while (node->client().waiting() > 0) {
          node->client().apply(0);
          settle();
        }
        node->client().deliver();
        settle();
      }
      time.advance(seconds(10));
    }
  }
  std::vector<etcd::KeyValue> everything() { return cluster.store().range({.keys = etcd::Keys::prefix({})})->kvs; }

  // Every block in etcd is one of its pool as the pools are, so no two hold one address; and pools are what objects
  // say.
  std::string pool_violation() {
    std::vector<Pool> pools;
    std::map<std::string, std::string> objects;
    std::vector<Block> blocks;
    for (const auto& kv : everything()) {
      const auto key = keys_.parse(kv.key);
      if (!key) return key.error().message;
      if (std::holds_alternative<PoolsKey>(*key)) pools = decode_pools(kv.key, kv.value).value();
      if (const auto* block = std::get_if<BlockKey>(&*key)) blocks.push_back(block->block);
      if (const auto* object = std::get_if<ObjectKey>(&*key)) objects[object->name] = kv.value;
    }
    if (const auto good = check_pools(pools); !good) return good.error().message;
    for (const auto& block : blocks) {
      const auto pool = std::ranges::find(pools, block.pool, &Pool::name);
      if (pool == pools.end() || !pool->has_block(block.cidr)) return block.to_string() + " is of no pool";
    }
    for (const auto& pool : pools) {
      const auto object = objects.extract(pool.name);
      const bool ours = std::ranges::find(scenario_->pools, pool.name, &Pool::name) != scenario_->pools.end();
      if (!object && !ours) return fmt::format("pool {} has no object", pool.name);
      if (object && object.mapped() != pool.to_string())
        return fmt::format("pool {} is {}, and its object says {}", pool.name, pool.to_string(), object.mapped());
    }
    return objects.empty() ? std::string() : objects.begin()->first + " is an object and no pool";
  }

  // Numbers and labels are each other's inverse in etcd, and who is listed for a number has its labels.
  std::string identity_violation() {
    std::map<IdentityNumber, LabelMap> labels;
    std::map<LabelMap, IdentityNumber> numbers;
    std::map<std::string, IdentityUsers> users;
    for (const auto& kv : everything()) {
      const auto key = keys_.parse(kv.key);
      if (!key) return key.error().message;
      if (const auto* identity = std::get_if<IdentityKey>(&*key))
        labels[identity->number] = decode_labels(kv.key, kv.value).value();
      else if (const auto* labelled = std::get_if<LabelsKey>(&*key))
        numbers[labelled->labels] = decode_number(kv.key, kv.value).value();
      else if (const auto* user = std::get_if<UsersKey>(&*key))
        users[user->node] = decode_users(kv.key, kv.value).value();
    }
    if (labels.size() != numbers.size()) return "numbers and labels differ in number";
    for (const auto& [number, text] : labels)
      if (!numbers.contains(text) || numbers[text] != number)
        return fmt::format("{} is not what its labels say", number);
    for (const auto& [node, list] : users)
      for (const auto number : list.numbers)
        if (!labels.contains(number)) return fmt::format("{} is listed for {}, which is nobody's", node, number);
    for (const auto& node : nodes) {
      if (!node->member || !node->member->registry().membership()) continue;
      for (const auto& [text, number] : node->member->identities().held())
        if (users[node->name()].numbers.contains(number) && labels[number] != text)
          return fmt::format("{} takes {} for {}", node->name(), number, to_string(text));
    }
    return {};
  }
  // When all is quiet: each node's blocks are its own in etcd and the other way round; so with numbers.
  std::string disagreement() {
    std::map<Block, std::string> owners;
    std::map<std::string, std::set<IdentityNumber>> listed;
    std::map<std::string, std::size_t> slices;
    for (const auto& kv : everything()) {
      if (const auto key = keys_.parse_as<EndpointsKey>(kv.key)) ++slices[key->node];
      if (const auto user = keys_.parse_as<UsersKey>(kv.key))
        listed[user->node] = decode_users(kv.key, kv.value).value().numbers;
      if (const auto key = keys_.parse_as<BlockKey>(kv.key))
        owners[key->block] = decode_incarnation(kv.key, kv.value).value().node;
    }
    for (const auto& node : nodes) {
      if (!node->member->registry().membership()) return node->name() + " did not come back";
      for (const auto& block : node->member->blocks().blocks()) {
        if (!node->member->blocks().may_allocate_from(block)) return node->name() + " cannot use its block";
        if (owners[block] != node->name()) return node->name() + " thinks that it has " + block.to_string();
        owners.erase(block);
      }
      for (const auto& other : nodes)
        if (other->member->endpoints().pods_of(node->name()) != node->pods)
          return fmt::format("{} does not know the pods of {}", other->name(), node->name());
      if (scenario_->slice == 1 && slices[node->name()] != node->pods.size())
        return fmt::format("{} has {} slices of one pod each", node->name(), slices[node->name()]);
      for (const auto& [text, number] : node->member->identities().held()) {
        const auto* known = node->member->identities().labels_of(number);
        if (!listed[node->name()].contains(number)) return fmt::format("{} is not listed for {}", node->name(), number);
        if (known == nullptr || *known != text) return fmt::format("{} holds {} for nothing", node->name(), number);
      }
    }
    for (const auto& [block, owner] : owners)
      // A run that is gone keeps its blocks for the delay.
      if (!owner.empty() && !scenario_->reboots) return owner + " does not know that it has " + block.to_string();
    return {};
  }

  const Scenario* scenario_;
  Budget budget_;
  Keyspace keys_ = Keyspace::make("default").value();
  std::vector<etcd::Txn> late_;
};

class Explorer {
 public:
  explicit Explorer(Scenario scenario) : scenario_(std::move(scenario)) {}

  void run() {
    auto world = std::make_unique<ModelWorld>(scenario_);
    visit(std::move(world));
    std::printf("             %zu states, %zu steps, %zu ends\n", seen_.size(), steps_, ends_);
  }
  [[nodiscard]] std::size_t states() const { return seen_.size(); }
  [[nodiscard]] std::size_t ends() const { return ends_; }

 private:
  void visit(std::unique_ptr<ModelWorld> world) {
    if (auto wrong = world->violation(); !wrong.empty()) return fail(wrong);
    if (!seen_.insert(std::hash<std::string>()(world->fingerprint())).second) return;
    ASSERT_LT(seen_.size(), 100000U) << "the scenario is too large";
    const auto actions = world->actions();
    if (actions.empty()) {
      ++ends_;
      if (auto wrong = world->finish(); !wrong.empty()) fail(wrong);
      return;
    }
    for (const auto& action : actions) {
      if (::testing::Test::HasFailure()) return;
      if (!world) {
        world = std::make_unique<ModelWorld>(scenario_);
        for (const auto& step : path_) world->perform(step);
      }
      path_.push_back(action);
      labels_.push_back(describe(*world, action));
      world->perform(action);
      ++steps_;
      visit(std::exchange(world, nullptr));
      path_.pop_back();
      labels_.pop_back();
    }
  }
  static std::string describe(ModelWorld& world, const Action& action) {
    static constexpr const char* names[] = {"apply", "time out", "late", "deliver", "crash",
                                            "start", "cut",      "heal", "tick",    "ask"};
    auto& node = world.node(action.node);
    std::string text = fmt::format("{}: {}", node.name(), names[static_cast<int>(action.kind)]);
    if (action.kind == Action::Kind::apply || action.kind == Action::Kind::time_out)
      text += " " + node.client().label(action.index);
    return text;
  }
  void fail(const std::string& wrong) {
    std::string way;
    for (const auto& label : labels_) way += "\n  " + label;
    ADD_FAILURE() << wrong << way;
  }

  Scenario scenario_;
  std::unordered_set<std::size_t> seen_;
  std::vector<Action> path_;
  std::vector<std::string> labels_;
  std::size_t steps_ = 0;
  std::size_t ends_ = 0;
};

}  // namespace weft::cluster::testing
