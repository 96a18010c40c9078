// A node that follows the cluster's objects and gives its Services numbers, as agents do: for tests of what they do to
// each other.
#pragma once

#include <fmt/format.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sources/cluster/shared_objects.h"
#include "sources/etcd/testing/world.h"

namespace weft::cluster::testing {

class Replica {
 public:
  Replica(etcd::Client& client, etcd::Scheduler& scheduler, const std::string& name)
      : shared({.client = client,
                .scheduler = scheduler,
                .random = etcd::testing::fixed_random(),
                .keys = Keyspace::make("c").value(),
                .backoff = {std::chrono::milliseconds(20), std::chrono::milliseconds(200)}},
               name,
               {.changed = [this](const SharedDifference& difference) { take(difference); },
                .state = [this] { ++states; },
                .trouble = [this](const Error& error) { troubles.push_back(error.message); }}) {}

  // The lowest number nobody has, decided by what this node knows, again after each conflict.
  void want_number(const std::string& service, int tries = 20) {
    ++wanting;
    std::set<std::string> taken;
    for (const auto& [key, number] : assignments) taken.insert(number);
    int number = 1;
    while (taken.contains(std::to_string(number))) ++number;
    shared.write({{.key = {"Service", "shop", service}, .text = service, .assignment = std::to_string(number)}}, true,
                 [this, service, tries](const WriteResult& result) {
                   --wanting;
                   if (result.end == WriteResult::End::conflict && tries > 1) return want_number(service, tries - 1);
                   if (result.end == WriteResult::End::failed) last_error = result.error->message;
                 });
  }
  [[nodiscard]] std::string text() const {
    std::string all;
    for (const auto& [key, value] : objects) all += fmt::format("{}/{}={} ", key.kind, key.name, value);
    for (const auto& [key, value] : assignments) all += fmt::format("{}:{} ", key.name, value);
    return all;
  }

  std::map<ObjectKey, std::string> objects;
  std::map<AssignmentKey, std::string> assignments;
  int wholes = 0;
  int differences = 0;
  int states = 0;
  int wanting = 0;
  std::string last_error;
  std::vector<std::string> troubles;
  SharedObjects shared;

 private:
  void take(const SharedDifference& difference) {
    ++differences;
    if (difference.whole) {
      ++wholes;
      objects.clear();
      assignments.clear();
    }
    for (const auto& key : difference.gone) objects.erase(key);
    for (const auto& key : difference.assignments_gone) assignments.erase(key);
    for (const auto& [key, value] : difference.objects) objects.insert_or_assign(key, value);
    for (const auto& [key, value] : difference.assignments) assignments.insert_or_assign(key, value);
  }
};

}  // namespace weft::cluster::testing
