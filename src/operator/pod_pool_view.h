// What of a PodAddressPool of the Kubernetes API matters to who brings it into the cluster's pools. Pure; reading never
// fails.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "sources/cluster/pools.h"

namespace weft::op {

// A pool with it is not gone before its blocks are.
inline constexpr const char* pool_finalizer = "weft.io/pool";

struct PodPoolView {
  std::string name;
  std::string uid;
  std::string created;
  std::int64_t generation = 0;
  bool deleting = false;
  nlohmann::json finalizers = nlohmann::json::array();
  std::optional<cluster::Pool> pool;  // nothing: it is not understood
  nlohmann::json status = nlohmann::json::object();
  std::string problem;
  [[nodiscard]] bool has_finalizer() const;
};

std::shared_ptr<const PodPoolView> read_pod_pool(std::string_view server, std::string_view json);

// status.cidrs, by which agents know which ranges are agreed on.
nlohmann::json cidrs_json(const cluster::Pool& pool);
// How many addresses it has, as far as they can be counted in 62 bits.
std::uint64_t size_of(const cluster::Pool& pool);

}  // namespace weft::op
