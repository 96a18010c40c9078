// Nodes on an API server in memory, in the shape of etcd's FakeWorld: the same tests run in both. Its sessions are
// ended by a reaper, as an operator has one.
#pragma once

#include <gtest/gtest.h>

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "sources/crd_store/session_reaper.h"
#include "sources/crd_store/store.h"
#include "sources/etcd/manual_scheduler.h"
#include "sources/etcd/testing/world.h"
#include "sources/kubernetes/testing/memory_server.h"

namespace weft::crd::testing {

using kubernetes::testing::json;
using kubernetes::testing::MemoryServer;

inline std::string path_of(Resource resource, const std::string& name = {}) {
  const auto& names = name_of(resource);
  auto path = names.namespaced ? "/apis/weft.io/v1alpha1/namespaces/weft-system/" + std::string(names.plural)
                               : "/apis/weft.io/v1alpha1/" + std::string(names.plural);
  return name.empty() ? path : path + "/" + name;
}

inline void add_resources(kubernetes::testing::ApiStore& store) {
  for (const auto resource : {Resource::nodes, Resource::blocks, Resource::identities, Resource::users,
                              Resource::endpoints, Resource::enforcement, Resource::pools, Resource::claims}) {
    const auto& name = name_of(resource);
    store.add_resource("/apis/weft.io/v1alpha1/" + std::string(name.plural), {.kind = std::string(name.kind),
                                                                              .api_version = std::string(group_version),
                                                                              .namespaced = name.namespaced,
                                                                              .status = false});
  }
}

// The keys as they are, read and written past everything.
class Keys {
 public:
  explicit Keys(MemoryServer& server)
      : server_(&server), codec_(Places(cluster::Keyspace::make("default").value()), "weft-system") {}
  [[nodiscard]] const Codec& codec() const { return codec_; }

  struct Found {
    std::vector<etcd::KeyValue> kvs;
    Found* operator->() { return this; }
  };
  Found range(const etcd::RangeRequest& request);
  bool put(const etcd::PutRequest& request);
  bool erase(const etcd::EraseRequest& request);
  bool revoke(etcd::LeaseId lease);

 private:
  MemoryServer* server_;
  Codec codec_;
};

class KubernetesCluster {
 public:
  explicit KubernetesCluster(etcd::ManualScheduler& time);

  std::unique_ptr<etcd::Client> connect();
  MemoryServer& server() { return server_; }
  Keys& store() { return keys_; }
  void changed() { server_.changed(); }
  void set_available(bool available) { server_.set_available(available); }
  void lose_answers(int count) { server_.lose_answers(count, "weft.io"); }
  void break_watches() { server_.break_watches(); }
  void wipe(bool same_cluster);
  void set_full(bool full) { server_.set_full(full); }
  [[nodiscard]] std::uint64_t requests() const { return server_.requests().size(); }
  std::vector<std::string> troubles;
  SessionReaper& reaper() { return *reaper_; }

 private:
  void make_system(const std::string& uid);

  etcd::ManualScheduler* time_;
  MemoryServer server_{*time_};
  Keys keys_{server_};
  int systems_ = 1;
  std::list<std::unique_ptr<kubernetes::Http>> https_;
  std::unique_ptr<SessionReaper> reaper_;
};

class KubernetesWorld final : public etcd::testing::World {
 public:
  etcd::Scheduler& scheduler() override { return time; }
  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit) override {
    return time.run_until(done, limit);
  }
  using World::run_until;

  etcd::ManualScheduler time;
  KubernetesCluster cluster{time};
};

}  // namespace weft::crd::testing

namespace weft::cluster::testing {

using TestWorld = crd::testing::KubernetesWorld;
inline constexpr bool is_etcd = false;

}  // namespace weft::cluster::testing
