// A node of a cluster without a kernel: what weftd wires between etcd and maps.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "agent/cluster_objects.h"
#include "agent/node_testing.h"
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

class TestNode : public KernellessNode {
 public:
  TestNode(etcd::testing::World& world, std::unique_ptr<etcd::Client> client, const std::string& name,
           const std::map<std::string, std::uint32_t>& map_sizes = {})
      : KernellessNode(name, map_sizes), world_(&world), client_(std::move(client)) {
    start();
  }

  void start() {
    open();
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
        ClusterObjects::Handlers{.intake = intake(),
                                 .serves = [this] { return serves; },
                                 .note = [this](const std::string& text) { notes.push_back(text); },
                                 .misunderstood = misunderstanding()});
  }
  void stop() {
    cluster.reset();
    close();
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

  std::unique_ptr<ClusterObjects> cluster;
  bool serves = false;
  std::vector<std::string> notes;

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
};

}  // namespace weft::agent::testing
