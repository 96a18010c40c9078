// Short spellings for the tests of this room, and a reader of deltas that does what the maps do.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "control/services/services.h"

namespace weft::control::testing {

inline IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

inline ServiceOptions options(std::initializer_list<const char*> cidrs = {"10.96.0.0/16"},
                              std::uint32_t slots = 65536) {
  ServiceOptions result;
  for (const auto* cidr : cidrs) result.cluster_cidrs.push_back(Cidr::parse(cidr).value());
  result.max_slots = slots;
  return result;
}

inline model::ServicePort port(std::uint16_t number, model::PortReference target, const std::string& name = "",
                               Protocol protocol = Protocol::tcp) {
  model::ServicePort result;
  result.name = name;
  result.protocol = protocol;
  result.port = number;
  result.target_port = std::move(target);
  return result;
}

inline model::Service service(const std::string& name, LabelMap selector = {}) {
  model::Service result;
  result.meta.namespace_ = "shop";
  result.meta.name = name;
  if (!selector.empty()) result.selector = std::move(selector);
  result.ports = {port(80, std::uint16_t{8080})};
  return result;
}

inline ServicePod pod(const std::string& name, LabelMap labels, std::initializer_list<const char*> addresses) {
  ServicePod result;
  result.key = {"shop", name};
  result.labels = std::move(labels);
  for (const auto* address : addresses) result.addresses.push_back(ip(address));
  return result;
}

inline model::EndpointSlice slice(const std::string& name, const std::string& of, std::uint16_t number,
                                  Family family = Family::v4) {
  model::EndpointSlice result;
  result.meta.namespace_ = "shop";
  result.meta.name = name;
  result.meta.labels["kubernetes.io/service-name"] = of;
  result.family = family;
  result.ports = {{"", Protocol::tcp, number}};
  return result;
}

inline model::SliceEndpoint at(std::string_view address, bool ready = true, bool serving = true,
                               bool terminating = false) {
  model::SliceEndpoint result;
  result.addresses = {ip(address)};
  result.ready = ready;
  result.serving = serving;
  result.terminating = terminating;
  return result;
}

// Assigned and upserted, as the agent does.
inline void apply(ServiceCompiler& compiler, const model::Service& one) {
  const auto given = compiler.assign(one);
  ASSERT_TRUE(given) << given.error().message;
  compiler.upsert(one);
}

struct BytesLess {
  template <class T>
  bool operator()(const T& a, const T& b) const {
    return std::memcmp(&a, &b, sizeof a) < 0;
  }
};

// The maps, written by deltas in the writer's order.
struct Maps {
  std::map<weft_service_key, weft_service, BytesLess> frontends;
  std::vector<weft_backend> backends = std::vector<weft_backend>(1);
  std::vector<std::uint32_t> slots;
  std::set<weft_source_range_key, BytesLess> ranges;
  std::vector<std::uint64_t> port_words = std::vector<std::uint64_t>(WEFT_PORTS_WORDS);

  void write(const ServiceDelta& delta) {
    if (delta.whole) {  // old slots may stay as they are: nothing leads to them any more
      auto kept = std::move(slots);
      const auto size = backends.size();
      *this = {};
      slots = std::move(kept);
      backends.resize(size);
    }
    for (const auto& [id, row] : delta.backends) {
      if (id >= backends.size()) backends.resize(id + 1);
      backends[id] = row;
    }
    for (const auto& run : delta.slots) {
      if (run.first + run.backends.size() > slots.size()) slots.resize(run.first + run.backends.size());
      std::copy(run.backends.begin(), run.backends.end(), slots.begin() + run.first);
    }
    for (const auto& key : delta.source_ranges) EXPECT_TRUE(ranges.insert(key).second);
    for (const auto& [key, row] : delta.frontends) frontends.insert_or_assign(key, row);
    for (const auto& key : delta.frontends_gone) EXPECT_TRUE(frontends.erase(key) == 1 || delta.whole);
    for (const auto& [word, value] : delta.port_words) port_words.at(word) = value;
    for (const auto id : delta.backends_gone)
      if (id < backends.size()) backends[id] = {};
    for (const auto& key : delta.source_ranges_gone) EXPECT_EQ(ranges.erase(key), 1U);
  }
};

}  // namespace weft::control::testing
