// What the handlers of objects have in common: kinds, keys, and how an object is named in an answer.
#pragma once

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string>

#include "model/objects.h"
#include "sources/store/rows.h"

namespace weft::agent {

inline constexpr std::array all_kinds{model::Kind::namespace_,         model::Kind::pod,
                                      model::Kind::deployment,         model::Kind::service,
                                      model::Kind::endpoint_slice,     model::Kind::network_policy,
                                      model::Kind::load_balancer_pool, model::Kind::l2_announcement,
                                      model::Kind::bgp_peering,        model::Kind::egress_gateway,
                                      model::Kind::pod_address_pool};

inline store::StoredKey key_of(const model::Object& object) {
  return {model::kind_of(object), model::metadata_of(object).key()};
}

// For messages: "Service shop/web".
inline std::string name_of(const store::StoredKey& key) {
  return fmt::format("{} {}", model::to_string(key.kind), key.key.to_string());
}

inline nlohmann::json identity_json(const store::StoredKey& key) {
  return {{"kind", model::to_string(key.kind)}, {"namespace", key.key.namespace_}, {"name", key.key.name}};
}

// Whether a change of such an object is nothing to anybody but Services.
inline bool changes_services_only(model::Kind kind) {
  return kind == model::Kind::service || kind == model::Kind::endpoint_slice ||
         kind == model::Kind::load_balancer_pool || kind == model::Kind::l2_announcement ||
         kind == model::Kind::bgp_peering;
}

}  // namespace weft::agent
