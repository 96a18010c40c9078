// A cluster for tests of the operator's part on Kubernetes: an API server, its objects in short, operators.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "operator/kubernetes_duties.h"
#include "sources/kubernetes/testing/world.h"

namespace weft::op::testing {

using kubernetes::testing::ApiServer;
using kubernetes::testing::json;
using kubernetes::testing::World;
using std::chrono::milliseconds;
using std::chrono::seconds;

inline const std::string services = "/api/v1/namespaces/shop/services/";
inline const std::string own_resources = "/apis/weft.io/v1alpha1/";

struct Operator {
  Operator(World& world, const ApiServer& server, const std::string& name,
           const std::optional<cluster::Context>& store = {})
      : http(world.connect(server.access())) {
    duties = std::make_unique<KubernetesDuties>(
        KubernetesDuties::Parts{.http = *http,
                                .scheduler = world.scheduler(),
                                .random = kubernetes::testing::fixed_random(),
                                .server = "https://api",
                                .election = {.namespace_name = "weft-system",
                                             .name = "weft-operator",
                                             .identity = name,
                                             .duration = seconds(2),
                                             .renew_within = milliseconds(1500),
                                             .retry = milliseconds(100)},
                                .store = store,
                                .backoff = {milliseconds(20), milliseconds(100)}},
        KubernetesDuties::Handlers{.event = [this](const ObjectEvent& event) { events.push_back(event); }, .duty = {}});
  }
  [[nodiscard]] bool acts() const { return duties->acts(); }
  // "AddressGiven shop/web 192.0.2.1 ..."
  [[nodiscard]] std::vector<std::string> told() const {
    std::vector<std::string> texts;
    for (const auto& event : events)
      texts.push_back(fmt::format("{} {} {}", event.reason, event.key.to_string(), event.note));
    return texts;
  }

  std::unique_ptr<kubernetes::Http> http;
  std::vector<ObjectEvent> events;
  std::unique_ptr<KubernetesDuties> duties;
};

class KubernetesWorld : public ::testing::Test {
 protected:
  KubernetesWorld() {
    add_pools();
    put("/api/v1/nodes/node-a", {{"status", {{"addresses", {{{"type", "InternalIP"}, {"address", "192.0.2.200"}}}}}}});
  }
  void add_pools() {
    for (const auto& [plural, kind] :
         {std::pair("loadbalancerpools", "LoadBalancerPool"), std::pair("podaddresspools", "PodAddressPool")})
      server.store().add_resource(own_resources + plural,
                                  {.kind = kind, .api_version = "weft.io/v1alpha1", .namespaced = false});
  }
  std::unique_ptr<Operator> start(const std::string& name) { return std::make_unique<Operator>(world, server, name); }
  std::unique_ptr<Operator> start_acting(const std::string& name = "first") {
    auto one = start(name);
    EXPECT_TRUE(world.run_until([&] { return one->acts(); }));
    return one;
  }
  void put(const std::string& path, json object) { EXPECT_GT(server.store().put(path, std::move(object)), 0) << path; }
  // What the API server makes of a Service, created as the `age`th.
  json service(int age, const std::string& more = "{}") {
    json object{{"metadata", {{"creationTimestamp", fmt::format("2026-01-01T00:00:{:02}Z", age)}}},
                {"spec",
                 {{"type", "LoadBalancer"},
                  {"clusterIP", "10.96.0.7"},
                  {"clusterIPs", {"10.96.0.7"}},
                  {"ipFamilies", {"IPv4"}},
                  {"ipFamilyPolicy", "SingleStack"},
                  {"ports", {{{"port", 80}, {"protocol", "TCP"}, {"targetPort", 8080}, {"nodePort", 30080}}}}}}};
    object.merge_patch(json::parse(more));
    return object;
  }
  void put_service(const std::string& name, int age, const std::string& more = "{}") {
    put(services + name, service(age, more));
  }
  void put_pool(const std::string& name, const std::vector<std::string>& addresses) {
    put(own_resources + "loadbalancerpools/" + name, {{"spec", {{"addresses", addresses}}}});
  }
  void change(const std::string& path, const std::string& patch) {
    EXPECT_EQ(server.store().patch(*kubernetes::testing::parse_path(path), json::parse(patch), false).code, 200);
  }
  json object(const std::string& path) {
    const auto answer = server.store().get(*kubernetes::testing::parse_path(path));
    return answer.code == 200 ? json::parse(answer.text) : json();
  }
  json status(const std::string& path) { return object(path).value("status", json::object()); }
  // "192.0.2.1 192.0.2.2"; "none".
  std::string addresses_of(const std::string& name) {
    std::string all;
    const json status_now = status(services + name);
    for (const auto& one : status_now.value("/loadBalancer/ingress"_json_pointer, json::array()))
      all += (all.empty() ? "" : " ") + one.value("ip", one.value("hostname", "?"));
    return all.empty() ? "none" : all;
  }
  bool becomes(const std::string& service_name, const std::string& addresses) {
    const bool so = world.run_until([&] { return addresses_of(service_name) == addresses; }, seconds(5));
    if (!so) ADD_FAILURE() << service_name << " has " << addresses_of(service_name) << ", not " << addresses;
    return so;
  }
  // "False NoAddress why".
  std::string condition(const std::string& path, const std::string& type) {
    for (const auto& one : status(path).value("conditions", json::array()))
      if (one["type"] == type)
        return fmt::format("{} {} {}", one["status"].get<std::string>(), one["reason"].get<std::string>(),
                           one["message"].get<std::string>());
    return "none";
  }
  bool says(const std::string& path, const std::string& type, const std::string& text) {
    const bool so = world.run_until([&] { return condition(path, type).find(text) != std::string::npos; }, seconds(5));
    if (!so) ADD_FAILURE() << path << " says " << condition(path, type) << ", not " << text;
    return so;
  }
  std::size_t writes() {
    return static_cast<std::size_t>(std::ranges::count_if(server.requests(), [](const std::string& one) {
      return one.starts_with("PATCH") && one.find("/leases/") == std::string::npos;
    }));
  }

  World world;
  ApiServer server;
};

}  // namespace weft::op::testing
