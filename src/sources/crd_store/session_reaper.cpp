#include "sources/crd_store/session_reaper.h"

#include <fmt/format.h>

#include <simdjson.h>
#include <algorithm>
#include <utility>
#include <vector>

#include "sources/crd_store/failures.h"

namespace weft::crd {

using kubernetes::Reason;

namespace {

constexpr auto look_every = std::chrono::seconds(1);
constexpr std::int64_t longest = 3600;

std::string leases_path(const std::string& namespace_name) {
  return fmt::format("/apis/coordination.k8s.io/v1/namespaces/{}/leases", namespace_name);
}

}  // namespace

Result<std::unique_ptr<SessionReaper>> SessionReaper::make(kubernetes::Http& http, etcd::Scheduler& scheduler,
                                                           etcd::Random random, ReaperOptions options,
                                                           ReaperHandlers handlers) {
  WEFT_TRY(auto keys, cluster::Keyspace::make(options.cluster));
  WEFT_CHECK(cluster::check_name("kubernetes_namespace", options.namespace_name));
  return std::unique_ptr<SessionReaper>(
      new SessionReaper(http, scheduler, std::move(random), std::move(options), std::move(handlers), std::move(keys)));
}

SessionReaper::SessionReaper(kubernetes::Http& http, etcd::Scheduler& scheduler, etcd::Random random,
                             ReaperOptions options, ReaperHandlers handlers, cluster::Keyspace keys)
    : scheduler_(&scheduler),
      options_(std::move(options)),
      handlers_(std::move(handlers)),
      codec_(Places(std::move(keys)), options_.namespace_name),
      running_(scheduler),
      calls_({.http = http, .scheduler = scheduler, .codec = codec_, .trouble = handlers_.trouble}),
      leases_(
          http, scheduler, std::move(random),
          {.path = leases_path(options_.namespace_name),
           .label_selector = std::string(session_label),
           .decode = [](const kubernetes::Object& object) -> Result<kubernetes::Decoded> {
             Session session{.id = session_of(object.meta.name)};
             std::int64_t seconds = 0;
             std::string_view holder;
             if (object.root["spec"]["leaseDurationSeconds"].get(seconds) != simdjson::SUCCESS) seconds = 0;
             if (object.root["spec"]["holderIdentity"].get(holder) == simdjson::SUCCESS) session.holder = holder;
             if (session.id == 0 || seconds <= 0)
               return fail(ErrorCode::invalid, fmt::format("Lease {} is no session's, although its label says so",
                                                           etcd::printable(object.meta.name)));
             session.duration = std::chrono::seconds(std::min(seconds, longest));
             return std::make_shared<Session>(std::move(session));
           },
           .consistent = true},
          {.changed = [this](const kubernetes::Change& change) { changed(change); }, .state = [this] { state(); }}) {
  arm();
}

void SessionReaper::changed(const kubernetes::Change& change) {
  const auto now = scheduler_->now();
  for (const auto& entry : change.erased) sessions_.erase(std::string(entry.key.substr(entry.key.find('/') + 1)));
  for (const auto& entry : change.set)
    sessions_.insert_or_assign(std::string(entry.key.substr(entry.key.find('/') + 1)),
                               Seen{.session = kubernetes::as<Session>(entry.now->value),
                                    .revision = std::strtoll(entry.now->resource_version.c_str(), nullptr, 10),
                                    .since = now});
}

// What renewals there were while nothing was heard nobody knows, nor whether any could be.
void SessionReaper::state() {
  const bool now = leases_.live() && leases_.synced();
  if (std::exchange(live_, now) == now || !now) return;
  for (auto& [name, seen] : sessions_) seen.since = scheduler_->now();
}

void SessionReaper::arm() {
  timer_ = scheduler_->after(look_every, [this] {
    arm();
    look();
  });
}

void SessionReaper::look() {
  if (busy_ || !live_) return;
  const auto now = scheduler_->now();
  const auto done = [this](const kubernetes::Outcome<bool>& outcome) {
    busy_ = false;
    if (!outcome) trouble(outcome.error());
    look();
  };
  for (auto& [name, seen] : sessions_) {
    if (now - seen.since <= seen.session.duration) continue;
    // Another try of the same only after that time again: what stood against it is told by the watch.
    seen.since = now;
    busy_ = true;
    return running_.start<kubernetes::Outcome<bool>>(end(seen), done);
  }
  if (now < next_sweep_) return;
  next_sweep_ = now + options_.sweep;
  busy_ = true;
  running_.start<kubernetes::Outcome<bool>>(erase_claims(std::string(session_label), false), done);
}

Task<kubernetes::Outcome<bool>> SessionReaper::end(Seen seen) {
  const auto name = lease_name(seen.session.id);
  const auto deadline = scheduler_->now() + options_.timeout;
  kubernetes::Request request{.method = "DELETE",
                              .target = leases_path(options_.namespace_name) + "/" + name,
                              .content_type = "application/json",
                              .body = fmt::format(R"({{"kind":"DeleteOptions","apiVersion":"v1",)"
                                                  R"("preconditions":{{"resourceVersion":"{}"}}}})",
                                                  seen.revision)};
  Task<kubernetes::Outcome<std::string>> sending = calls_.send(std::move(request), deadline);
  const auto gone = co_await sending;
  // It was renewed in time.
  if (!gone && gone.error().reason == Reason::conflict) co_return false;
  if (!gone && gone.error().reason != Reason::not_found) co_return std::unexpected(gone.error());
  if (gone) {
    ++ended_;
    if (handlers_.ended) handlers_.ended(seen.session.holder);
  }
  Task<kubernetes::Outcome<bool>> erasing =
      erase_claims(fmt::format("{}={}", session_label, session_text(seen.session.id)), true);
  co_return co_await erasing;
}

// Of sessions that have ended.
Task<kubernetes::Outcome<bool>> SessionReaper::erase_claims(std::string selector, bool of_ended) {
  const auto deadline = scheduler_->now() + 6 * options_.timeout;
  ListRequest request{.resource = Resource::claims, .label_selector = std::move(selector), .metadata_only = true};
  Task<kubernetes::Outcome<Listing>> listing = calls_.list(std::move(request), deadline);
  const auto claims = co_await listing;
  if (!claims) co_return std::unexpected(claims.error());
  std::map<etcd::LeaseId, bool> there;
  for (const auto& claim : claims->items) {
    const auto place = codec_.places().of(claim.kv.key);
    if (!place || claim.kv.lease == 0) continue;
    if (!of_ended) {
      const auto name = lease_name(claim.kv.lease);
      if (sessions_.contains(name)) continue;
      // One that has just begun may not have been heard of yet.
      if (!there.contains(claim.kv.lease)) {
        kubernetes::Request asking{.target = leases_path(options_.namespace_name) + "/" + name};
        Task<kubernetes::Outcome<std::string>> sending = calls_.send(std::move(asking), deadline);
        const auto lease = co_await sending;
        if (!lease && lease.error().reason != Reason::not_found) co_return std::unexpected(lease.error());
        there.emplace(claim.kv.lease, lease.has_value());
      }
      if (there.at(claim.kv.lease)) continue;
    }
    Task<kubernetes::Outcome<bool>> erasing =
        calls_.erase(Resource::claims, place->name, claim.kv.mod_revision, deadline);
    const auto erased = co_await erasing;
    // Another's by now.
    if (!erased && erased.error().reason == Reason::conflict) continue;
    if (!erased) co_return std::unexpected(erased.error());
    if (*erased) ++erased_;
  }
  co_return true;
}

void SessionReaper::trouble(const kubernetes::Failure& why) {
  if (handlers_.trouble) handlers_.trouble(to_etcd(why).to_error());
}

}  // namespace weft::crd
