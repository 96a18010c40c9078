// What of a Service and of a LoadBalancerPool of the Kubernetes API matters to who gives addresses. Pure; reading never
// fails: what is not understood is known as such, for it may have addresses all the same.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "model/objects.h"

namespace weft::op {

// The condition that says whether a Service has got addresses of Weft's pools. An address beside it is ours.
inline constexpr const char* address_condition = "weft.io/AddressGiven";
inline constexpr const char* accepted_condition = "Accepted";

struct BalancedView {
  model::ObjectKey key;
  std::string uid;
  std::string created;
  std::int64_t generation = 0;
  bool balancer = false;  // type LoadBalancer
  bool own_class = false;
  bool other_class = false;               // another program's, by its class
  std::optional<model::Service> service;  // of a LoadBalancer; nothing: it is not understood
  std::vector<IpAddress> ingress;         // of its status
  bool strange_ingress = false;           // there are entries that Weft does not write: host names, proxies
  nlohmann::json conditions = nlohmann::json::array();
  std::string problem;
  // Of our condition: there is none, it says that there is no address, that we gave what there is.
  enum class Mark : std::uint8_t { none, waits, given };
  [[nodiscard]] Mark mark() const;
};

// Null: a Service that has nothing to do with load balancers.
std::shared_ptr<const BalancedView> read_balanced(std::string_view server, std::string_view json);

struct PoolView {
  model::ObjectKey key;
  std::string uid;
  std::string created;
  std::int64_t generation = 0;
  std::optional<model::LoadBalancerPool> pool;  // as it last could be read
  nlohmann::json status = nlohmann::json::object();
  std::string problem;  // why it could not be read now
};

// `before`: what was known of it, whose meaning stays where this has none.
std::shared_ptr<const PoolView> read_pool(std::string_view server, std::string_view json, const PoolView* before);

// How many addresses it has; of IPv6 pools no more than can be counted in 62 bits.
std::uint64_t size_of(const model::LoadBalancerPool& pool);
bool contains(const model::LoadBalancerPool& pool, const IpAddress& address);

}  // namespace weft::op
