// A node of a cluster without a kernel: what weftd wires between etcd and maps, over maps in memory. `stop` and `start`
// are the end of the process and the next one: maps and store stay.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/cluster_objects.h"
#include "agent/object_names.h"
#include "control/services/assignment_text.h"
#include "datapath/testing.h"
#include "sources/etcd/testing/world.h"

namespace weft::agent::testing {

inline std::string service(const std::string& name, const std::string& more = "") {
  return fmt::format(
      "apiVersion: v1\nkind: Service\nmetadata: {{name: {}, namespace: shop}}\n"
      "spec: {{ports: [{{port: 80}}]{}}}\n---\n",
      name, more);
}

inline std::string namespace_yaml(const std::string& name) {
  return fmt::format("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {}}}\n---\n", name);
}

inline std::string pod(const std::string& name, const std::string& app = "web") {
  return fmt::format(
      "apiVersion: v1\nkind: Pod\nmetadata: {{name: {}, namespace: shop, labels: {{app: {}}}}}\n"
      "spec: {{containers: [{{name: c, image: x}}]}}\n---\n",
      name, app);
}

inline std::string pool(const std::string& name, const std::string& cidr) {
  return fmt::format(
      "apiVersion: weft.io/v1alpha1\nkind: LoadBalancerPool\nmetadata: {{name: {}}}\n"
      "spec: {{addresses: [{}]}}\n---\n",
      name, cidr);
}

class TestNode {
 public:
  TestNode(etcd::testing::World& world, std::unique_ptr<etcd::Client> client, const std::string& name,
           const std::map<std::string, std::uint32_t>& map_sizes = {})
      : world_(&world), client_(std::move(client)), maps_(map_sizes) {
    config_.node = name;
    config_.store = Config::Store::etcd;
    config_.pod_cidrs = {Cidr::parse("10.244.0.0/16").value()};
    config_.service_cidrs = {Cidr::parse("10.96.0.0/28").value()};
    config_.node_port_min = 30000;
    config_.node_port_max = 30031;
    node_.addresses = {IpAddress::parse("192.168.1.10").value()};
    node_.uplinks[2] = {"eth0", 1500, IpAddress::parse("192.168.1.10").value(), {}};
    node_.netns_cookie = 1;
    start();
  }

  void start() {
    std::vector<std::string> problems;
    auto loaded = Objects::load(store_, problems);
    ASSERT_TRUE(loaded) << loaded.error().message;
    objects.emplace(std::move(*loaded));
    auto tables = maps_.open();
    ASSERT_TRUE(tables) << tables.error().message;
    tables_ = std::move(*tables);
    auto opened = Publisher::open({config_, store_, *objects, *tables_}, 0, problems);
    ASSERT_TRUE(opened) << opened.error().message;
    publisher = std::move(*opened);
    EXPECT_TRUE(problems.empty()) << problems.front();
    objects->on_change([this](const ObjectChange& change) { publisher->object_changed(change); });
    publisher->set_node(node_);
    publisher->set_may_announce([](const weft_l2_key&) { return true; });
    publisher->set_records(records_);
    ASSERT_TRUE(publisher->publish());
    cluster = std::make_unique<ClusterObjects>(
        ClusterObjects::Parts{.context = {.client = *client_,
                                          .scheduler = world_->scheduler(),
                                          .random = etcd::testing::fixed_random(),
                                          .keys = cluster::Keyspace::make("c").value(),
                                          .backoff = {std::chrono::milliseconds(20), std::chrono::milliseconds(200)}},
                              .node = config_.node,
                              .etcd = "http://etcd:2379",
                              .objects = *objects,
                              .publisher = *publisher},
        ClusterObjects::Handlers{.publish =
                                     [this](Publisher::Changed changed) {
                                       ++publishes;
                                       return publisher->publish_brought(changed);
                                     },
                                 .serves = [this] { return serves; },
                                 .fault = [this](const std::string& text) { fault = text; },
                                 .note = [this](const std::string& text) { notes.push_back(text); },
                                 .misunderstood =
                                     [this](const std::map<std::string, Fault>& all) {
                                       misunderstood.clear();
                                       for (const auto& [about, each] : all) misunderstood.push_back(each.text);
                                     }});
  }
  void stop() {
    cluster.reset();
    publisher.reset();
    tables_.reset();
    objects.reset();
  }

  // "" while there is no answer; else "created created", or what is wrong.
  std::shared_ptr<std::string> apply_later(const std::string& yaml, bool all_or_nothing = true) {
    auto outcome = model::parse_manifests("test.yaml", yaml);
    for (const auto& problem : outcome.problems) ADD_FAILURE() << problem.to_string();
    for (auto& document : outcome.documents) Objects::prepare(document);
    auto answer = std::make_shared<std::string>();
    cluster->apply(std::move(outcome.documents), {}, all_or_nothing,
                   [answer](const Result<ClusterObjects::Applied>& applied) { *answer = text_of(applied); });
    return answer;
  }
  std::string apply(const std::string& yaml, bool all_or_nothing = true) {
    const auto answer = apply_later(yaml, all_or_nothing);
    world_->run_until([&] { return !answer->empty(); }, std::chrono::seconds(60));
    return *answer;
  }
  std::string remove(model::Kind kind, const std::string& space, const std::string& name) {
    return wait<void>(
        [&](const auto& done) {
          cluster->remove({{kind, {space, name}}}, done);
        },
        [](const Result<void>&) { return std::string("deleted"); });
  }
  std::string push(bool none = false) {
    return wait<std::size_t>([&](const auto& done) { cluster->push(none, done); },
                             [](const Result<std::size_t>& pushed) { return fmt::format("pushed {}", *pushed); });
  }

  // As an agent without a cluster would.
  std::string apply_embedded(const std::string& yaml) {
    auto outcome = model::parse_manifests("test.yaml", yaml);
    const auto before = publisher->held(outcome.documents);
    EXPECT_TRUE(publisher->admit(outcome.documents).empty());
    const auto applied = publisher->apply(outcome.documents, before);
    return applied ? "applied" : applied.error().message;
  }

  [[nodiscard]] std::string held(const std::string& name) const {
    return control::assignment_to_text(publisher->services().held({"shop", name}));
  }
  // All that it has, as stored and as in the maps.
  [[nodiscard]] std::string state() {
    std::string text;
    for (const auto kind : all_kinds) {
      const auto keys = objects->keys(kind).value();
      for (const auto& key : keys)
        text +=
            fmt::format("{} {}: {}\n", model::to_string(kind), key.key.to_string(), objects->read(key).value()->json);
    }
    for (const auto& [key, held] : publisher->services().assignments())
      text += fmt::format("{} holds {}\n", key.to_string(), control::assignment_to_text(held));
    (void)store_.each_assignment([&](const model::ObjectKey& key, const std::string& value) -> Result<void> {
      text += fmt::format("{} stored {}\n", key.to_string(), value);
      return {};
    });
    for (const auto& [key, row] : maps_.rows<weft_service_key, weft_service>("weft_svc_v2"))
      text += fmt::format("frontend {} {} {}\n", datapath::from_abi(key.addr).to_string(), key.port, key.protocol);
    return text;
  }
  [[nodiscard]] std::size_t stored() const {
    std::size_t count = 0;
    for (const auto kind : all_kinds) count += objects->keys(kind).value().size();
    return count;
  }

  std::optional<Objects> objects;
  std::unique_ptr<Publisher> publisher;
  std::unique_ptr<ClusterObjects> cluster;
  bool serves = false;
  int publishes = 0;
  std::string fault;
  std::vector<std::string> notes;
  std::vector<std::string> misunderstood;

 private:
  static std::string text_of(const Result<ClusterObjects::Applied>& applied) {
    if (!applied) return applied.error().text();
    std::string text;
    for (const auto action : applied->actions)
      text += action == Objects::Action::created      ? "created "
              : action == Objects::Action::configured ? "configured "
                                                      : "unchanged ";
    for (const auto& problem : applied->problems) text += problem.message + " ";
    return (applied->refused ? "refused " : "") + text;
  }
  template <class T, class Begin, class Text>
  std::string wait(Begin begin, Text text) {
    auto answer = std::make_shared<std::string>();
    begin([answer, text](const Result<T>& result) { *answer = result ? text(result) : result.error().text(); });
    world_->run_until([&] { return !answer->empty(); }, std::chrono::seconds(60));
    return *answer;
  }

  etcd::testing::World* world_;
  std::unique_ptr<etcd::Client> client_;
  Config config_;
  Node node_;
  Publisher::Records records_;
  datapath::testing::FakeMaps maps_;
  store::Store store_ = *store::Store::open(":memory:");
  std::unique_ptr<datapath::Tables> tables_;
};

}  // namespace weft::agent::testing
