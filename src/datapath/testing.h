// The datapath's maps in memory, for tests: they outlive the Tables that write them, as pinned maps
// outlive an agent; every write can be watched and made to fail.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "bpfrt/map.h"
#include "datapath/rows.h"
#include "datapath/tables.h"

namespace weft::datapath::testing {

class FakeMaps {
 public:
  // Entry counts are small so that tests can fill a map; zero takes the default.
  explicit FakeMaps(std::map<std::string, std::uint32_t> sizes = {}) {
    add<weft_policy_key, weft_policy_entry>(sizes, "weft_policy_v1", "hash");
    add<weft_addr, weft_endpoint>(sizes, "weft_ep_v1", "hash");
    add<weft_lpm_key, weft_ip_identity>(sizes, "weft_ipid_v2", "lpm_trie");
    add<weft_addr, weft_remote>(sizes, "weft_remote_v1", "hash");
    add<weft_egress_key, weft_egress>(sizes, "weft_egress_v1", "lpm_trie");
    add<std::uint32_t, weft_next_hop>(sizes, "weft_nexthop_v1", "hash");
    add<std::uint32_t, weft_node>(sizes, "weft_node_v1", "array");
    add<std::uint64_t, weft_netns>(sizes, "weft_netns_v1", "hash");
    add<std::uint32_t, weft_device>(sizes, "weft_dev_v1", "hash");
    add<weft_l2_key, weft_l2>(sizes, "weft_l2_v1", "hash");
    add<weft_service_key, weft_service>(sizes, "weft_svc_v2", "hash");
    add<weft_source_range_key, std::uint32_t>(sizes, "weft_srange_v1", "lpm_trie");
    add<std::uint32_t, std::uint32_t>(sizes, "weft_slot_v2", "array");
    add<std::uint32_t, weft_backend>(sizes, "weft_backend_v2", "array");
    add<std::uint32_t, weft_backend_stats>(sizes, "weft_bstat_v1", "array");
    add<std::uint32_t, weft_service_state>(sizes, "weft_svcstate_v1", "array");
    sizes["weft_ports_v1"] = WEFT_PORTS_WORDS;
    add<std::uint32_t, std::uint64_t>(sizes, "weft_ports_v1", "array");
    sizes["weft_config_v3"] = 1;
    add<std::uint32_t, weft_config>(sizes, "weft_config_v3", "array");
  }
  FakeMaps(const FakeMaps&) = delete;
  FakeMaps& operator=(const FakeMaps&) = delete;

  [[nodiscard]] bpfrt::RawMap* find(const std::string& name) const {
    const auto found = maps_.find(name);
    return found == maps_.end() ? nullptr : found->second.get();
  }
  [[nodiscard]] Result<std::unique_ptr<Tables>> open() const {
    return Tables::open([this](const std::string& name) { return find(name); });
  }

  template <class K, class V>
  [[nodiscard]] Rows<K, V> rows(const std::string& name) const {
    Rows<K, V> result;
    (void)bpfrt::Map<K, V>(*find(name)).for_each([&](const K& key, const V& value) {
      result.emplace(key, value);
      return true;
    });
    return result;
  }
  [[nodiscard]] Rows<weft_policy_key, weft_policy_entry> policy() const {
    return rows<weft_policy_key, weft_policy_entry>("weft_policy_v1");
  }
  [[nodiscard]] Rows<weft_addr, weft_endpoint> endpoints() const {
    return rows<weft_addr, weft_endpoint>("weft_ep_v1");
  }
  // The arrays of services as they are.
  [[nodiscard]] bpfrt::ArrayRows<std::uint32_t> slots() const { return array<std::uint32_t>("weft_slot_v2"); }
  [[nodiscard]] bpfrt::ArrayRows<weft_backend> backends() const { return array<weft_backend>("weft_backend_v2"); }
  [[nodiscard]] bpfrt::ArrayRows<std::uint64_t> port_words() const { return array<std::uint64_t>("weft_ports_v1"); }
  [[nodiscard]] Rows<weft_service_key, weft_service> frontends() const {
    return rows<weft_service_key, weft_service>("weft_svc_v2");
  }
  [[nodiscard]] Rows<weft_source_range_key, std::uint32_t> source_ranges() const {
    return rows<weft_source_range_key, std::uint32_t>("weft_srange_v1");
  }
  // All but the services' as rows.
  [[nodiscard]] DesiredRows all() const {
    DesiredRows result;
    result.policy = policy();
    result.endpoints = endpoints();
    result.identities = rows<weft_lpm_key, weft_ip_identity>("weft_ipid_v2");
    result.remotes.set = rows<weft_addr, weft_remote>("weft_remote_v1");
    result.egress = rows<weft_egress_key, weft_egress>("weft_egress_v1");
    result.next_hops = rows<std::uint32_t, weft_next_hop>("weft_nexthop_v1");
    result.nodes = rows<std::uint32_t, weft_node>("weft_node_v1");
    std::erase_if(result.nodes, [](const auto& row) { return row.second.way == WEFT_WAY_NONE; });
    result.netns = rows<std::uint64_t, weft_netns>("weft_netns_v1");
    result.devices = rows<std::uint32_t, weft_device>("weft_dev_v1");
    result.announced = rows<weft_l2_key, weft_l2>("weft_l2_v1");
    result.config = rows<std::uint32_t, weft_config>("weft_config_v3").at(0);
    return result;
  }

  // Asked before each write, numbered from 1; true: it fails with `io` and does not happen.
  std::function<bool(std::uint64_t number, const std::string& map)> fails;
  // Told after each write that happened.
  std::function<void(const std::string& map)> written;
  void fail_every(unsigned nth) {
    fails = [nth](std::uint64_t number, const std::string&) { return nth != 0 && number % nth == 0; };
  }
  void heal() { fails = nullptr; }
  [[nodiscard]] std::uint64_t writes() const { return count_; }

 private:
  template <class V>
  [[nodiscard]] bpfrt::ArrayRows<V> array(const std::string& name) const {
    return bpfrt::ArrayRows<V>::open(*find(name)).value();
  }

  class Watched final : public bpfrt::RawMap {
   public:
    Watched(FakeMaps& owner, bpfrt::MapInfo info) : owner_(owner), name_(info.name), inner_(std::move(info)) {}
    Result<bpfrt::MapInfo> info() const override { return inner_.info(); }
    Result<void> update(bpfrt::Bytes key, bpfrt::Bytes value) override {
      WEFT_CHECK(owner_.before(name_));
      WEFT_CHECK(inner_.update(key, value));
      if (owner_.written) owner_.written(name_);
      return {};
    }
    Result<void> erase(bpfrt::Bytes key) override {
      WEFT_CHECK(owner_.before(name_));
      WEFT_CHECK(inner_.erase(key));
      if (owner_.written) owner_.written(name_);
      return {};
    }
    Result<std::optional<std::vector<std::byte>>> lookup(bpfrt::Bytes key) const override { return inner_.lookup(key); }
    Result<std::byte*> memory(std::size_t offset, std::size_t length) override { return inner_.memory(offset, length); }
    Result<void> for_each(const std::function<bool(bpfrt::Bytes, bpfrt::Bytes)>& visit) const override {
      return inner_.for_each(visit);
    }

   private:
    FakeMaps& owner_;
    std::string name_;
    bpfrt::FakeMap inner_;
  };

  template <class K, class V>
  void add(const std::map<std::string, std::uint32_t>& sizes, const std::string& name, const std::string& type) {
    bpfrt::MapInfo info;
    info.name = name;
    info.type = type;
    info.key_size = sizeof(K);
    info.value_size = sizeof(V);
    const auto size = sizes.find(name);
    info.max_entries = size == sizes.end() ? 1024 : size->second;
    maps_[name] = std::make_unique<Watched>(*this, std::move(info));
  }
  Result<void> before(const std::string& name) {
    ++count_;
    if (fails && fails(count_, name)) return fail(ErrorCode::io, "injected fault in " + name);
    return {};
  }

  std::map<std::string, std::unique_ptr<bpfrt::RawMap>> maps_;
  std::uint64_t count_ = 0;
};

// The bytes of both are the same.
template <class K, class V>
bool same(const Rows<K, V>& left, const Rows<K, V>& right) {
  if (left.size() != right.size()) return false;
  for (auto a = left.begin(), b = right.begin(); a != left.end(); ++a, ++b)
    if (std::memcmp(&a->first, &b->first, sizeof(K)) != 0 || std::memcmp(&a->second, &b->second, sizeof(V)) != 0)
      return false;
  return true;
}

// The config apart, whose epoch is the tables' own.
inline bool same(const DesiredRows& left, const DesiredRows& right) {
  return same(left.policy, right.policy) && same(left.endpoints, right.endpoints) &&
         same(left.identities, right.identities) && same(left.remotes.set, right.remotes.set) &&
         same(left.nodes, right.nodes) && same(left.egress, right.egress) && same(left.next_hops, right.next_hops) &&
         same(left.netns, right.netns) && same(left.devices, right.devices) && same(left.announced, right.announced);
}

}  // namespace weft::datapath::testing
