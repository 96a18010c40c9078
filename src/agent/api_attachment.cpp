// API: what the CNI plugin calls.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/agent.h"
#include "agent/ipam_time.h"
#include "agent/node_cidrs.h"
#include "api/params.h"

namespace weft::agent {
namespace {

using nlohmann::json;

// As long as a block that was claimed for one pod may be full when it comes because others waited for it too, and so
// that the plugin hears what was waited for before it gives up: it waits for 10 seconds, or for what its list says.
std::chrono::milliseconds attach_patience(const json& params) {
  constexpr double usual = 10;
  double seconds = usual;
  const auto config = params.find("config");
  if (config != params.end() && config->is_object())
    if (const auto said = config->find("timeoutSeconds"); said != config->end() && said->is_number())
      seconds = std::clamp(said->get<double>(), 0.0, usual);
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 800));
}

Result<store::EndpointKey> key_of(const json& params) {
  WEFT_TRY(auto container, api::required_text(params, "container_id"));
  WEFT_TRY(auto ifname, api::required_text(params, "ifname"));
  return store::EndpointKey{std::move(container), std::move(ifname)};
}

}  // namespace

void Agent::register_attachment() {
  server_->handle_async("cni.add", [this](const json& params, const api::Responder& responder) {
    if (!cluster_ && !kubernetes_) return responder.answer(cni_add(params));
    attach(params, responder, std::chrono::steady_clock::now() + attach_patience(params));
  });
  server_->handle("cni.ack", [this](const json& params) -> api::Answer {
    WEFT_TRY(const auto key, key_of(params));
    attachment_->acknowledge(key);
    return json::object();
  });
  server_->handle("cni.del", [this](const json& params) -> api::Answer {
    WEFT_TRY(const auto key, key_of(params));
    const auto found = attachment_->records().find(key);
    std::optional<model::ObjectKey> pod;
    if (found != attachment_->records().end()) pod = model::ObjectKey{found->second.namespace_, found->second.pod};
    WEFT_CHECK(attachment_->remove(key));
    if (pod) tell_pod_modified(*pod);
    return json::object();
  });
  server_->handle("cni.check", [this](const json& params) -> api::Answer {
    WEFT_TRY(const auto request, parse_attach(params));
    const auto previous = params.contains("config") ? params["config"].value("prevResult", json()) : json();
    WEFT_CHECK(attachment_->check(request, previous));
    return json::object();
  });
  server_->handle("cni.gc", [this](const json& params) { return cni_gc(params); });
  server_->handle("cni.status", [this](const json&) -> api::Answer {
    WEFT_CHECK(can_attach());
    return json::object();
  });
}

// Whether the next ADD could succeed, as far as that can be known before it.
Result<void> Agent::can_attach() {
  if (auto written = probe_store(); !written)
    return weft::fail(ErrorCode::unavailable, "the store cannot be written: " + written.error().message);
  return attach_ability();
}

Result<void> Agent::attach_ability() {
  const auto fault = [&](const char* about) {
    const auto found = faults_.texts().find(about);
    return found == faults_.texts().end() ? std::string(about) : found->second;
  };
  if (!taken_over_) return weft::fail(ErrorCode::unavailable, fault("publish"));
  const auto status = datapath_->tables().status();
  if (status.failed > 0) return weft::fail(ErrorCode::unavailable, "the datapath is behind: " + status.last_error);
  if (faults_.has("store")) return weft::fail(ErrorCode::unavailable, fault("store"));
  if (kubernetes_)
    if (const auto unheard = kubernetes_->objects().unheard()) return weft::fail(*unheard);
  if (config_.pod_cidrs.empty())
    return weft::fail(ErrorCode::unavailable, "pod_cidrs is empty: this node attaches no pods");
  WEFT_CHECK(check_node_cidrs_known(config_));
  attachment_->expire_quarantine();
  const auto now = ipam_now();
  const auto absence = cluster_ ? cluster_->absence() : std::string();
  for (const auto& cidr : config_.pod_cidrs) {
    if (ipam_->available(cidr.family(), now) != 0 || (cluster_ && absence.empty())) continue;
    if (cluster_ && ipam_->uses().empty())
      return weft::fail(ErrorCode::unavailable,
                        fmt::format("this node has no block of {} yet: {}", cidr.to_string(), absence));
    const auto held = ipam_->allocations();
    const auto used = std::ranges::count_if(held, [&](const auto& entry) { return cidr.contains(entry.address); });
    return weft::fail(
        ErrorCode::unavailable,
        fmt::format("no address is left in {}: {} are in use, {} in quarantine{}{}", cidr.to_string(), used,
                    ipam_->quarantined().size(), absence.empty() ? "" : "; no other block can be had: ", absence));
  }
  return {};
}

// A write that changes nothing of value: a full or read-only disk is known before a pod needs it.
Result<void> Agent::probe_store() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  auto written = store_->set("last-probe", std::to_string(now.count()));
  if (!written)
    faults_.set("store",
                "the store cannot be written, so nothing can be attached or applied: " + written.error().message);
  else
    faults_.clear("store");
  return written;
}

api::Answer Agent::cni_add(const json& params) {
  WEFT_TRY(const auto request, parse_attach(params));
  auto result = attachment_->add(request);
  if (!result) {
    spdlog::warn("attaching {}/{}: {}", request.namespace_, request.pod, result.error().message);
    unattached_.failed({request.namespace_, request.pod}, result.error(), std::chrono::system_clock::now());
    life_->tell_refused({request.namespace_, request.pod}, request.pod_uid, result.error());
    return weft::fail(result.error());
  }
  unattached_.forget({request.namespace_, request.pod});
  tell_pod_modified({request.namespace_, request.pod});
  return std::move(*result);
}

api::Answer Agent::cni_gc(const json& params) {
  WEFT_TRY(const auto network, api::optional_text(params, "network"));
  std::set<store::EndpointKey> valid;
  if (!params.contains("valid") || !params["valid"].is_array())
    return weft::fail(ErrorCode::invalid, "valid: expected a list of {container_id, ifname}");
  for (const auto& entry : params["valid"]) {
    WEFT_TRY(auto key, key_of(entry));
    valid.insert(std::move(key));
  }
  WEFT_TRY(const auto removed, attachment_->collect(network, valid));
  json result{{"removed", json::array()}};
  for (const auto& key : removed)
    result["removed"].push_back({{"container_id", key.container_id}, {"ifname", key.ifname}});
  return result;
}

}  // namespace weft::agent
