// A node without a kernel: what weftd wires between its objects and maps, over maps in memory. `start` and `stop` are
// the process; maps and store stay.
#pragma once

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/faults.h"
#include "agent/intake.h"
#include "agent/object_names.h"
#include "agent/publisher.h"
#include "control/services/assignment_text.h"
#include "datapath/testing.h"

namespace weft::agent::testing {

// Of a pod that is attached.
inline store::EndpointRecord ready_record(const model::ObjectKey& pod, std::uint32_t number, const IpAddress& address) {
  store::EndpointRecord record;
  record.key = {pod.name, "eth0"};
  record.namespace_ = pod.namespace_;
  record.pod = pod.name;
  record.state = store::EndpointState::ready;
  record.endpoint_id = number;
  record.ifindex = 7;
  record.addresses = {address};
  return record;
}

class KernellessNode {
 public:
  explicit KernellessNode(const std::string& name, const std::map<std::string, std::uint32_t>& map_sizes = {})
      : maps_(map_sizes) {
    config_.node = name;
    config_.store = Config::Store::etcd;
    config_.pod_cidrs = {Cidr::parse("10.244.0.0/16").value()};
    config_.service_cidrs = {Cidr::parse("10.96.0.0/28").value()};
    config_.node_port_min = 30000;
    config_.node_port_max = 30031;
    node_.addresses = {IpAddress::parse("192.168.1.10").value()};
    node_.uplinks[2] = {"eth0", 1500, IpAddress::parse("192.168.1.10").value(), {}};
    node_.netns_cookie = 1;
  }

  void open() {
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
  }
  void close() {
    publisher.reset();
    tables_.reset();
    objects.reset();
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
      text +=
          fmt::format("frontend {} {} {}\n", datapath::from_abi(key.addr).to_string(), ntohs(key.port), key.protocol);
    return text;
  }
  [[nodiscard]] std::size_t stored() const {
    std::size_t count = 0;
    for (const auto kind : all_kinds) count += objects->keys(kind).value().size();
    return count;
  }

  std::optional<Objects> objects;
  std::unique_ptr<Publisher> publisher;
  int publishes = 0;
  std::string fault;
  std::vector<std::string> misunderstood;

 protected:
  Intake::Handlers intake() {
    return {.publish =
                [this](Publisher::Changed changed) {
                  ++publishes;
                  return publisher->publish_brought(changed);
                },
            .fault = [this](const std::string& text) { fault = text; }};
  }
  std::function<void(const std::map<std::string, Fault>&)> misunderstanding() {
    return [this](const std::map<std::string, Fault>& all) {
      misunderstood.clear();
      for (const auto& [about, each] : all) misunderstood.push_back(each.text);
    };
  }

  Config config_;
  Node node_;
  Publisher::Records records_;
  datapath::testing::FakeMaps maps_;
  store::Store store_ = *store::Store::open(":memory:");
  std::unique_ptr<datapath::Tables> tables_;
};

}  // namespace weft::agent::testing
