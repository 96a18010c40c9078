// The client that store.h makes. Inside this room only.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sources/crd_store/calls.h"
#include "sources/crd_store/plan.h"
#include "sources/crd_store/store.h"

namespace weft::crd {

class KubernetesStore final : public etcd::Client {
 public:
  KubernetesStore(etcd::Scheduler& scheduler, kubernetes::Http& http, StoreOptions options, etcd::Random random,
                  cluster::Keyspace keys);
  ~KubernetesStore() override { *alive_ = false; }
  KubernetesStore(const KubernetesStore&) = delete;
  KubernetesStore& operator=(const KubernetesStore&) = delete;

  void range(etcd::RangeRequest request, etcd::CallOptions options, etcd::Done<etcd::RangeResult> done) override;
  void put(etcd::PutRequest request, etcd::CallOptions options, etcd::Done<etcd::PutResult> done) override;
  void erase(etcd::EraseRequest request, etcd::CallOptions options, etcd::Done<etcd::EraseResult> done) override;
  void txn(etcd::Txn request, etcd::CallOptions options, etcd::Done<etcd::TxnResult> done) override;
  void compact(etcd::Revision revision, etcd::CallOptions options, etcd::Done<void> done) override;
  void grant(std::chrono::seconds ttl, etcd::LeaseId id, etcd::CallOptions options,
             etcd::Done<etcd::LeaseGrant> done) override;
  void keep_alive(etcd::LeaseId id, etcd::CallOptions options, etcd::Done<std::chrono::seconds> done) override;
  void revoke(etcd::LeaseId id, etcd::CallOptions options, etcd::Done<void> done) override;
  void status(etcd::CallOptions options, etcd::Done<etcd::Status> done) override;
  std::unique_ptr<etcd::WatchStream> watch(etcd::WatchRequest request, etcd::WatchHandlers handlers) override;
  // An object has its metadata besides, and the API server's own limit on its way is etcd's.
  [[nodiscard]] std::size_t largest_value() const override { return 1200000; }
  // Some six kilobytes, to every node of the cluster for each pod that comes or goes.
  [[nodiscard]] std::size_t slice_of_list() const override { return options_.slice; }
  // A server that is behind says so, and another cluster has another id: one key is enough for the rest.
  [[nodiscard]] HistoryCheck history_check() const override { return {.keys = 1, .count = false}; }

  // --- For its watches
  [[nodiscard]] const Codec& codec() const { return codec_; }
  [[nodiscard]] const StoreOptions& options() const { return options_; }
  [[nodiscard]] kubernetes::Http& http() { return *http_; }
  [[nodiscard]] etcd::Scheduler& scheduler() { return *scheduler_; }
  [[nodiscard]] etcd::Random& random() { return random_; }
  [[nodiscard]] std::string path(Resource resource) const { return calls_.path(resource); }
  void trouble(const Error& error) const {
    if (options_.trouble) options_.trouble(error);
  }
  // Tells, later, which cluster this is, which is asked for once until somebody doubts it.
  void identify(etcd::Done<std::uint64_t> done);
  void doubt() { cluster_id_.reset(); }
  // Tells, later, once the server is known to answer; nothing where it does not.
  void probe(std::function<void()> answers);

 private:
  template <class T>
  using Outcome = etcd::Outcome<T>;
  using Deadline = Calls::Deadline;
  struct Written {
    std::size_t step = 0;
    etcd::Revision revision = 0;
    etcd::LeaseId lease = 0;
  };
  struct Run;

  [[nodiscard]] Deadline deadline(etcd::CallOptions options, std::chrono::milliseconds otherwise) const;
  [[nodiscard]] Deadline deadline(etcd::CallOptions options) const { return deadline(options, options_.timeout); }

  Task<Outcome<etcd::RangeResult>> read(etcd::RangeRequest request, Deadline deadline);
  Task<Outcome<etcd::RangeResult>> read_one(etcd::RangeRequest request, Place place, Deadline deadline);
  Task<Outcome<etcd::RangeResult>> read_labels(std::string key, Place place, Deadline deadline);
  Task<Outcome<etcd::RangeResult>> read_folder(etcd::RangeRequest request, Places::Folder folder, Deadline deadline);
  Task<Outcome<std::optional<Stored>>> get(Place place, Deadline deadline);
  // The identities with the labels of that key.
  Task<Outcome<std::vector<Stored>>> named(Place place, Deadline deadline);

  Task<Outcome<etcd::TxnResult>> transact(etcd::Txn txn, Deadline deadline);
  Task<Outcome<bool>> check(const std::vector<Check>& checks, Deadline deadline);
  Task<Outcome<bool>> check_one(const Check& check, Deadline deadline);
  Task<Outcome<bool>> prepare(Run& run);
  Task<Outcome<bool>> carry_out(Run& run, Step& step);
  Task<Outcome<bool>> write(Run& run, Step& step);
  Task<Outcome<bool>> write_again(Run& run, Step& step);
  Task<Outcome<bool>> mark(Run& run, Step& step);
  Task<Outcome<bool>> unmark(Run& run, Step& step);
  Task<Outcome<bool>> after(Run& run);
  Task<Outcome<bool>> is_first(Run& run, const Step& step);
  Task<Outcome<bool>> take_back(Run& run, Written written);
  Task<Outcome<bool>> holds_lease(Run& run, etcd::LeaseId lease);
  Task<Outcome<etcd::TxnResult>> answer(Run& run, bool succeeded);
  Task<Outcome<std::vector<etcd::OpResult>>> look(const std::vector<etcd::Op>& operations, Deadline deadline);

  Task<Outcome<etcd::PutResult>> put_one(etcd::PutRequest request, Deadline deadline);
  Task<Outcome<etcd::EraseResult>> erase_one(etcd::EraseRequest request, Deadline deadline);
  Task<Outcome<etcd::LeaseGrant>> make_lease(std::chrono::seconds ttl, etcd::LeaseId id, Deadline deadline);
  Task<Outcome<std::chrono::seconds>> renew(etcd::LeaseId id, Deadline deadline);
  Task<Outcome<void>> end_session(etcd::LeaseId id, Deadline deadline);
  Task<Outcome<etcd::Status>> ask_status(Deadline deadline);
  Task<Outcome<std::uint64_t>> ask_cluster(Deadline deadline);
  // The uid of a session's Lease; absent: it has ended.
  Task<Outcome<std::optional<std::string>>> lease_uid(etcd::LeaseId id, Deadline deadline);
  [[nodiscard]] std::string leases() const;

  etcd::Scheduler* scheduler_;
  kubernetes::Http* http_;
  StoreOptions options_;
  etcd::Random random_;
  Codec codec_;
  std::optional<std::uint64_t> cluster_id_;
  std::vector<etcd::Done<std::uint64_t>> identifying_;
  std::vector<std::function<void()>> probing_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Running running_;
  Calls calls_;  // goes first: what waits for answers gets none while it ends
};

}  // namespace weft::crd
