// The maps of services. Backends and slots are memory-mapped arrays, written in place; frontends and
// source ranges are hashes kept by reconcilers, because a write of theirs can fail.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "abi/service.h"
#include "base/result.h"
#include "bpfrt/map.h"
#include "control/services/delta.h"
#include "datapath/map_table.h"

namespace weft::datapath {

class ServiceTables {
 public:
  using Find = std::function<bpfrt::RawMap*(const std::string&)>;
  static Result<std::unique_ptr<ServiceTables>> open(const Find& find);

  // Backends and slots are there when this returns; the rest follows with add() and remove().
  void want(const control::ServiceDelta& delta);
  // What new flows may need, then the frontends that lead there, then those that went. True when all
  // of it is in the kernel.
  bool add();
  // What only the old frontends needed. Does nothing while any of those is still there. A gone backend
  // keeps its address: a reader that has its id still, from the old run, comes to a flow that the next
  // epoch ends.
  bool remove();

  [[nodiscard]] std::uint32_t frontend_capacity() const { return frontends_->capacity(); }
  [[nodiscard]] std::uint32_t source_range_capacity() const { return ranges_->capacity(); }
  [[nodiscard]] std::uint64_t writes() const { return frontends_->writes() + ranges_->writes(); }
  void include(const std::function<void(const reconcile::Status&)>& visit) const;

  // What an earlier run left.
  [[nodiscard]] std::vector<std::pair<weft_service_key, weft_service>> present_frontends() const;
  [[nodiscard]] const bpfrt::ArrayRows<weft_backend>& backends() const { return *backends_; }
  [[nodiscard]] const bpfrt::ArrayRows<std::uint32_t>& slots() const { return *slots_; }
  [[nodiscard]] const bpfrt::ArrayRows<weft_backend_stats>& backend_stats() const { return *backend_stats_; }
  [[nodiscard]] const bpfrt::ArrayRows<weft_service_state>& service_states() const { return *service_states_; }
  [[nodiscard]] const bpfrt::ArrayRows<std::uint64_t>& port_words() const { return *ports_; }

 private:
  ServiceTables() = default;
  void write_backend(std::uint32_t id, const weft_backend& wanted);
  void forget_all_but(const control::ServiceDelta& delta);

  std::unique_ptr<MapTable<weft_service_key, weft_service>> frontends_;
  std::unique_ptr<MapTable<weft_source_range_key, std::uint32_t>> ranges_;
  std::optional<bpfrt::ArrayRows<weft_backend>> backends_;
  std::optional<bpfrt::ArrayRows<weft_backend_stats>> backend_stats_;
  std::optional<bpfrt::ArrayRows<weft_service_state>> service_states_;
  std::optional<bpfrt::ArrayRows<std::uint32_t>> slots_;
  std::optional<bpfrt::ArrayRows<std::uint64_t>> ports_;
  bool settled_ = false;  // the frontends are what they should be
  // Owed until then.
  std::set<std::uint32_t> backends_gone_;
  std::set<weft_source_range_key, reconcile::BytesLess> ranges_gone_;
  std::map<std::uint32_t, std::uint64_t> port_words_;
};

}  // namespace weft::datapath
