#include "sources/crd_store/store.h"

#include <utility>

#include "sources/crd_store/failures.h"
#include "sources/crd_store/kubernetes_store.h"
#include "sources/crd_store/watch.h"

namespace weft::crd {

using std::chrono::milliseconds;

Result<std::unique_ptr<etcd::Client>> make_kubernetes_store(etcd::Scheduler& scheduler, kubernetes::Http& http,
                                                            StoreOptions options, etcd::Random random) {
  WEFT_TRY(auto keys, cluster::Keyspace::make(options.cluster));
  WEFT_CHECK(cluster::check_name("kubernetes_namespace", options.namespace_name));
  return std::make_unique<KubernetesStore>(scheduler, http, std::move(options), std::move(random), std::move(keys));
}

KubernetesStore::KubernetesStore(etcd::Scheduler& scheduler, kubernetes::Http& http, StoreOptions options,
                                 etcd::Random random, cluster::Keyspace keys)
    : scheduler_(&scheduler),
      http_(&http),
      options_(std::move(options)),
      random_(std::move(random)),
      codec_(Places(std::move(keys)), options_.namespace_name),
      running_(scheduler),
      calls_({.http = http, .scheduler = scheduler, .codec = codec_, .trouble = options_.trouble}) {}

KubernetesStore::Deadline KubernetesStore::deadline(etcd::CallOptions options, milliseconds otherwise) const {
  return scheduler_->now() + (options.timeout.count() > 0 ? options.timeout : otherwise);
}

void KubernetesStore::range(etcd::RangeRequest request, etcd::CallOptions options, etcd::Done<etcd::RangeResult> done) {
  const bool one = request.keys.end.empty();
  running_.start(read(std::move(request), deadline(options, one ? options_.timeout : options_.list_timeout)),
                 std::move(done));
}

void KubernetesStore::put(etcd::PutRequest request, etcd::CallOptions options, etcd::Done<etcd::PutResult> done) {
  running_.start(put_one(std::move(request), deadline(options)), std::move(done));
}

void KubernetesStore::erase(etcd::EraseRequest request, etcd::CallOptions options, etcd::Done<etcd::EraseResult> done) {
  running_.start(erase_one(std::move(request), deadline(options)), std::move(done));
}

void KubernetesStore::txn(etcd::Txn request, etcd::CallOptions options, etcd::Done<etcd::TxnResult> done) {
  // It may be many requests, and lists.
  running_.start(transact(std::move(request), deadline(options, 4 * options_.timeout)), std::move(done));
}

void KubernetesStore::compact(etcd::Revision, etcd::CallOptions, etcd::Done<void> done) {
  scheduler_->post([alive = alive_, done = std::move(done)] {
    if (*alive)
      done(std::unexpected(etcd::Failure{.reason = etcd::Reason::invalid,
                                         .message = "the API server compacts by itself",
                                         .store = "Kubernetes",
                                         .hint = {}}));
  });
}

void KubernetesStore::grant(std::chrono::seconds ttl, etcd::LeaseId id, etcd::CallOptions options,
                            etcd::Done<etcd::LeaseGrant> done) {
  running_.start(make_lease(ttl, id, deadline(options)), std::move(done));
}

void KubernetesStore::keep_alive(etcd::LeaseId id, etcd::CallOptions options, etcd::Done<std::chrono::seconds> done) {
  running_.start(renew(id, deadline(options)), std::move(done));
}

void KubernetesStore::revoke(etcd::LeaseId id, etcd::CallOptions options, etcd::Done<void> done) {
  running_.start(end_session(id, deadline(options)), std::move(done));
}

void KubernetesStore::status(etcd::CallOptions options, etcd::Done<etcd::Status> done) {
  running_.start(ask_status(deadline(options)), std::move(done));
}

std::unique_ptr<etcd::WatchStream> KubernetesStore::watch(etcd::WatchRequest request, etcd::WatchHandlers handlers) {
  return make_watch(*this, std::move(request), std::move(handlers));
}

void KubernetesStore::identify(etcd::Done<std::uint64_t> done) {
  if (cluster_id_)
    return scheduler_->post([alive = alive_, done = std::move(done), id = *cluster_id_] {
      if (*alive) done(id);
    });
  identifying_.push_back(std::move(done));
  if (identifying_.size() > 1) return;
  running_.start<Outcome<std::uint64_t>>(ask_cluster(deadline({})), [this](const Outcome<std::uint64_t>& id) {
    if (id) cluster_id_ = *id;
    const std::weak_ptr<bool> alive = alive_;
    for (const auto& waiting : std::exchange(identifying_, {})) {
      if (alive.expired()) return;
      waiting(id);
    }
  });
}

void KubernetesStore::probe(std::function<void()> answers) {
  constexpr auto recently = std::chrono::seconds(10);
  if (calls_.heard() != Deadline() && scheduler_->now() - calls_.heard() < recently)
    return scheduler_->post([alive = alive_, answers = std::move(answers)] {
      if (*alive) answers();
    });
  probing_.push_back(std::move(answers));
  if (probing_.size() > 1) return;
  running_.start<Outcome<std::uint64_t>>(ask_cluster(deadline({})), [this](const Outcome<std::uint64_t>& id) {
    const std::weak_ptr<bool> alive = alive_;
    for (const auto& waiting : std::exchange(probing_, {})) {
      if (alive.expired()) return;
      if (id) waiting();
    }
  });
}

}  // namespace weft::crd
