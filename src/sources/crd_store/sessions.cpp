// Sessions: a Lease each, and its claims by a label.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "sources/cluster/spread.h"
#include "sources/crd_store/failures.h"
#include "sources/crd_store/kubernetes_store.h"
#include "sources/kubernetes/micro_time.h"

namespace weft::crd {

using kubernetes::Reason;
using nlohmann::json;

namespace {

constexpr const char* as_json = "application/json";

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

// 0: it does not say, or says what makes no sense.
std::int64_t seconds_in(const json& lease) {
  const auto spec = lease.is_object() ? lease.find("spec") : lease.end();
  if (spec == lease.end() || !spec->is_object()) return 0;
  const auto seconds = spec->find("leaseDurationSeconds");
  return seconds != spec->end() && seconds->is_number_integer() ? seconds->get<std::int64_t>() : 0;
}

}  // namespace

std::string KubernetesStore::leases() const {
  return fmt::format("/apis/coordination.k8s.io/v1/namespaces/{}/leases", options_.namespace_name);
}

Task<etcd::Outcome<etcd::LeaseGrant>> KubernetesStore::make_lease(std::chrono::seconds ttl, etcd::LeaseId id,
                                                                  Deadline deadline) {
  constexpr std::uint64_t most = INT64_MAX;
  const bool any = id == 0;
  while (id == 0) id = static_cast<etcd::LeaseId>(random_() & most);
  const auto now = kubernetes::micro_time(options_.wall_clock());
  json lease{{"apiVersion", "coordination.k8s.io/v1"}, {"kind", "Lease"}};
  lease["metadata"] = {{"name", lease_name(id)},
                       {"namespace", options_.namespace_name},
                       {"labels", {{session_label, session_text(id)}}}};
  lease["spec"] = {{"holderIdentity", options_.holder.empty() ? "weft" : options_.holder},
                   {"leaseDurationSeconds", ttl.count()},
                   {"acquireTime", now},
                   {"renewTime", now}};
  kubernetes::Request request{
      .method = "POST", .target = leases() + "?fieldManager=weft", .content_type = as_json, .body = dump(lease)};
  Task<kubernetes::Outcome<std::string>> sending = calls_.send(std::move(request), deadline);
  const auto answer = co_await sending;
  if (!answer) {
    auto failure = to_etcd(answer.error());
    if (answer.error().reason == Reason::exists)
      failure.reason = any ? etcd::Reason::unavailable : etcd::Reason::lease_exists;
    co_return std::unexpected(std::move(failure));
  }
  co_return etcd::LeaseGrant{.id = id, .ttl = ttl};
}

Task<etcd::Outcome<std::chrono::seconds>> KubernetesStore::renew(etcd::LeaseId id, Deadline deadline) {
  // A time that is another is a change, which is what counts.
  const json patch{{"spec", {{"renewTime", kubernetes::micro_time(options_.wall_clock())}}}};
  kubernetes::Request request{.method = "PATCH",
                              .target = leases() + "/" + lease_name(id) + "?fieldManager=weft",
                              .content_type = "application/merge-patch+json",
                              .body = dump(patch)};
  Task<kubernetes::Outcome<std::string>> sending = calls_.send(std::move(request), deadline);
  const auto answer = co_await sending;
  if (!answer) {
    auto failure = to_etcd(answer.error());
    if (answer.error().reason == Reason::not_found) failure.reason = etcd::Reason::lease_not_found;
    co_return std::unexpected(std::move(failure));
  }
  const auto seconds = seconds_in(json::parse(*answer, nullptr, false));
  if (seconds <= 0)
    co_return std::unexpected(etcd::Failure{.reason = etcd::Reason::internal,
                                            .message = lease_name(id) + " does not say how long it lasts",
                                            .store = "Kubernetes"});
  co_return std::chrono::seconds(seconds);
}

// The Lease goes last: where this is cut short it ends by itself, and what is left of its claims with it.
Task<etcd::Outcome<void>> KubernetesStore::end_session(etcd::LeaseId id, Deadline deadline) {
  ListRequest request{.resource = Resource::claims,
                      .label_selector = fmt::format("{}={}", session_label, session_text(id)),
                      .metadata_only = true};
  Task<kubernetes::Outcome<Listing>> listing = calls_.list(std::move(request), deadline);
  const auto claims = co_await listing;
  if (!claims) co_return std::unexpected(to_etcd(claims.error()));
  for (const auto& claim : claims->items) {
    const auto place = codec_.places().of(claim.kv.key);
    if (!place) continue;
    Task<kubernetes::Outcome<bool>> erasing =
        calls_.erase(Resource::claims, place->name, claim.kv.mod_revision, deadline);
    const auto erased = co_await erasing;
    // Another session's by now.
    if (!erased && erased.error().reason != Reason::conflict) co_return std::unexpected(to_etcd(erased.error()));
  }
  kubernetes::Request ending{.method = "DELETE", .target = leases() + "/" + lease_name(id)};
  Task<kubernetes::Outcome<std::string>> sending = calls_.send(std::move(ending), deadline);
  const auto ended = co_await sending;
  if (ended) co_return Outcome<void>();
  auto failure = to_etcd(ended.error());
  if (ended.error().reason == Reason::not_found) failure.reason = etcd::Reason::lease_not_found;
  co_return std::unexpected(std::move(failure));
}

Task<etcd::Outcome<std::uint64_t>> KubernetesStore::ask_cluster(Deadline deadline) {
  kubernetes::Request request{.target = "/api/v1/namespaces/kube-system"};
  Task<kubernetes::Outcome<std::string>> sending = calls_.send(std::move(request), deadline);
  const auto answer = co_await sending;
  if (!answer) {
    // Whoever may not read it, or has none, takes clusters for one.
    if (answer.error().reason == Reason::denied || answer.error().reason == Reason::not_found)
      co_return std::uint64_t{1};
    co_return std::unexpected(to_etcd(answer.error()));
  }
  const auto space = json::parse(*answer, nullptr, false);
  const auto metadata = space.is_object() ? space.value("metadata", json::object()) : json::object();
  const auto uid = metadata.find("uid");
  co_return cluster::spread(uid != metadata.end() && uid->is_string() ? uid->get<std::string>() : std::string()) | 1;
}

Task<etcd::Outcome<etcd::Status>> KubernetesStore::ask_status(Deadline deadline) {
  kubernetes::Request request{.target = "/version"};
  Task<kubernetes::Outcome<std::string>> sending = calls_.send(std::move(request), deadline);
  const auto answer = co_await sending;
  if (!answer) co_return std::unexpected(to_etcd(answer.error()));
  const auto version = json::parse(*answer, nullptr, false);
  const auto git = version.is_object() ? version.find("gitVersion") : version.end();
  Task<Outcome<std::uint64_t>> asking = ask_cluster(deadline);
  const auto cluster = co_await asking;
  if (!cluster) co_return std::unexpected(cluster.error());
  co_return etcd::Status{.endpoint = "Kubernetes",
                         .version = git != version.end() && git->is_string() ? git->get<std::string>() : std::string(),
                         .cluster_id = *cluster,
                         .member_id = 1,
                         .leader = 1};
}

}  // namespace weft::crd
