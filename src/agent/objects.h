// The objects users applied. Their text is in the store only and read back when somebody asks for it; here is
// what the agent needs all the time: what pods, namespaces and policies there are. Services and
// EndpointSlices, of which there are many, are told to the listener and not kept: what is needed of them is in
// the service compiler. One owner thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/shared_value.h"
#include "model/objects.h"
#include "model/parse.h"
#include "sources/store/store.h"

namespace weft::agent {

enum class ChangeType { added, modified, deleted };

struct ObjectChange {
  ChangeType type;
  store::StoredKey key;
  // As it is now, while the listener is called. Null: it is gone, or its stored text is not understood and has
  // no effect. Always null for the pods of a Deployment.
  const model::Object* object = nullptr;
};

class Objects {
 public:
  using Listener = std::function<void(const ObjectChange&)>;

  // Takes what the store holds; an object that is not understood is reported and stays in the store. Kinds that
  // are not kept are not looked at: visit() is for whoever needs them.
  static Result<Objects> load(store::Store& store, std::vector<std::string>& problems);
  // How the problem begins that such an object is when it is stored and not understood.
  static std::string problem_of(const store::StoredKey& key);

  // Gives the document's JSON a uid, so that nothing has to be written anew when it is applied. On any thread.
  static void prepare(model::Document& document);

  enum class Action { created, configured, unchanged };
  // Texts of before; nothing means that it was not there.
  using Before = std::map<store::StoredKey, std::optional<store::StoredObject>>;
  struct Applied {
    std::vector<Action> actions;
    Before before;  // of the rows that were written
  };
  // Writes all documents in one transaction, then the tables, then tells the listener. The disk is
  // synced by the caller's Store::flush.
  Result<Applied> apply(const std::vector<model::Document>& documents);
  // What apply would do.
  [[nodiscard]] Result<std::vector<Action>> plan(const std::vector<model::Document>& documents) const;
  // One document against what is stored: the text it would get, uid included.
  struct Planned {
    store::StoredKey key;
    Action action = Action::created;
    std::string json;
    std::optional<store::StoredObject> known;
  };
  [[nodiscard]] Result<Planned> plan(const model::Document& document) const;
  // Texts from elsewhere, whose uids count, in one transaction with what is gone. Returns those that are another than
  // before, which the listener was told of; the disk is synced later.
  struct Brought {
    model::Object object;
    std::string json;
  };
  Result<std::vector<store::StoredKey>> bring(const std::vector<Brought>& objects,
                                              const std::vector<store::StoredKey>& gone);
  // Those that are not there are passed over.
  Result<void> remove(const std::vector<store::StoredKey>& keys);
  // Puts these objects back as they were, revisions included.
  Result<void> restore(const Before& before);
  void on_change(Listener listener) { listener_ = std::move(listener); }

  // What the store holds, private keys and uid included. Every object has a uid (the one it was applied with,
  // or one given when it was created), for as long as it exists.
  [[nodiscard]] Result<std::optional<store::StoredObject>> read(const store::StoredKey& key) const;
  // As a value; nothing when it is not there. An error names it when its text is not understood.
  template <class T>
  [[nodiscard]] Result<std::optional<T>> read_as(const store::StoredKey& key) const {
    WEFT_TRY(const auto object, read_object(key));
    if (!object || !std::holds_alternative<T>(*object)) return std::optional<T>();
    return std::optional<T>(std::get<T>(*object));
  }
  [[nodiscard]] Result<bool> contains(const store::StoredKey& key) const { return store_->has_object(key); }
  // Ordered; of one namespace where one is given. Pods of Deployments are not among them.
  [[nodiscard]] Result<std::vector<store::StoredKey>> keys(model::Kind kind,
                                                           const std::optional<std::string>& space = {}) const {
    return store_->object_keys(kind, space);
  }
  // Whether there is any at all.
  [[nodiscard]] Result<bool> any() const;
  // The first `limit` behind `after`, pods of Deployments among them.
  [[nodiscard]] Result<std::vector<store::StoredKey>> page(model::Kind kind, const std::optional<std::string>& space,
                                                           const model::ObjectKey& after, std::size_t limit) const;
  // Every object of a kind in order of its key, one in memory at a time. Those that are not understood are reported.
  // `see` must not use the store.
  Result<void> visit(model::Kind kind, const std::function<void(const model::Object&)>& see,
                     std::vector<std::string>& problems) const;

  // Typed views, kept up to date by apply and remove. Pods holds bare and expanded ones.
  [[nodiscard]] const std::map<model::ObjectKey, model::Pod>& pods() const { return pods_; }
  [[nodiscard]] const model::Pod* pod(const model::ObjectKey& key) const;
  // JSON of a pod without its status: its own, or made from its Deployment's. A Deployment's pod has a uid that
  // follows from the Deployment's uid and its own name.
  [[nodiscard]] Result<std::string> pod_json(const model::Pod& pod) const;
  [[nodiscard]] std::map<std::string, LabelMap> namespaces() const;
  [[nodiscard]] const std::map<model::ObjectKey, model::NetworkPolicy>& policies() const { return *policies_; }
  [[nodiscard]] const std::map<model::ObjectKey, std::uint64_t>& policy_revisions() const { return *policy_revisions_; }
  // As they are now, to be kept.
  [[nodiscard]] const SharedValue<std::map<model::ObjectKey, model::NetworkPolicy>>& shared_policies() const {
    return policies_;
  }
  [[nodiscard]] const SharedValue<std::map<model::ObjectKey, std::uint64_t>>& shared_policy_revisions() const {
    return policy_revisions_;
  }
  [[nodiscard]] const std::map<model::ObjectKey, model::LoadBalancerPool>& pools() const { return pools_; }
  [[nodiscard]] const std::map<model::ObjectKey, model::L2Announcement>& announcements() const {
    return announcements_;
  }
  [[nodiscard]] const std::map<model::ObjectKey, model::BgpPeering>& bgp_peerings() const { return bgp_peerings_; }
  [[nodiscard]] const std::map<model::ObjectKey, model::EgressGateway>& egress_gateways() const {
    return egress_gateways_;
  }
  [[nodiscard]] const std::map<model::ObjectKey, model::PodAddressPool>& address_pools() const {
    return address_pools_;
  }
  // The pool its annotation names; empty: none.
  [[nodiscard]] std::string address_pool_of(const std::string& space) const;

 private:
  // What a pod is made of: its own object, or its Deployment in this revision.
  struct PodSource {
    bool own = false;
    std::uint64_t revision = 0;
  };
  struct Deployed {
    model::Deployment deployment;
    std::uint64_t revision = 0;
  };
  explicit Objects(store::Store& store) : store_(&store) {}
  [[nodiscard]] Result<std::optional<model::Object>> read_object(const store::StoredKey& key) const;
  void keep(const model::Object& object, std::uint64_t revision);
  void drop(const store::StoredKey& key);
  void count(const std::string& space, bool more);
  void tell(std::vector<ObjectChange> changes);
  void follow(const model::ObjectKey& deployment, std::vector<ObjectChange>& present, std::vector<ObjectChange>& gone);

  store::Store* store_;
  std::map<std::string, std::size_t> used_namespaces_;  // how many objects are in it
  std::map<std::string, LabelMap> namespaces_;          // of those that are objects
  std::map<std::string, std::string> namespace_pools_;  // of those with the annotation
  std::map<model::ObjectKey, Deployed> deployments_;
  std::map<model::ObjectKey, model::Pod> pods_;
  std::map<model::ObjectKey, PodSource> pod_sources_;
  SharedValue<std::map<model::ObjectKey, model::NetworkPolicy>> policies_;
  SharedValue<std::map<model::ObjectKey, std::uint64_t>> policy_revisions_;
  std::map<model::ObjectKey, model::LoadBalancerPool> pools_;
  std::map<model::ObjectKey, model::L2Announcement> announcements_;
  std::map<model::ObjectKey, model::BgpPeering> bgp_peerings_;
  std::map<model::ObjectKey, model::EgressGateway> egress_gateways_;
  std::map<model::ObjectKey, model::PodAddressPool> address_pools_;
  std::uint64_t revision_ = 0;
  Listener listener_;
};

}  // namespace weft::agent
