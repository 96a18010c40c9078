#include "sources/crd_store/testing/kubernetes_world.h"

#include <algorithm>
#include <utility>

namespace weft::crd::testing {

using kubernetes::testing::carry_out;
using kubernetes::testing::HttpRequest;
using kubernetes::testing::parse_path;
using kubernetes::testing::StoreAnswer;

namespace {

StoreAnswer ask(MemoryServer& server, const std::string& method, const std::string& path,
                const std::string& body = {}) {
  HttpRequest request;
  request.method = method;
  read_target(path, request);
  request.body = body;
  return carry_out(server.store(), request, *parse_path(request.path));
}

}  // namespace

Keys::Found Keys::range(const etcd::RangeRequest& request) {
  Found found;
  for (const auto resource : {Resource::nodes, Resource::blocks, Resource::identities, Resource::users,
                              Resource::endpoints, Resource::enforcement, Resource::pools, Resource::claims}) {
    const auto list = json::parse(ask(*server_, "GET", path_of(resource)).text);
    for (const auto& item : list["items"]) {
      const auto stored = codec_.decode(resource, item.dump());
      if (stored && request.keys.contains(stored->kv.key)) found.kvs.push_back(stored->kv);
    }
  }
  std::ranges::sort(found.kvs, {}, &etcd::KeyValue::key);
  return found;
}

// What is no object is one with a strange spec.
bool Keys::put(const etcd::PutRequest& request) {
  if (!request.key.starts_with(codec_.places().key(""))) {
    // Something that is no business of Weft's.
    return server_->store().put("/api/v1/namespaces/elsewhere", {{"metadata", {{"name", "elsewhere"}}}}) > 0;
  }
  const auto place = codec_.places().of(request.key);
  if (!place) {
    ADD_FAILURE() << place.error().message;
    return false;
  }
  auto object = codec_.encode(*place, request.value, {.lease = request.lease, .lease_uid = {}});
  if (!object) {
    auto strange = json::parse(*codec_.encode(*place, "{}", {.lease = request.lease, .lease_uid = {}}));
    strange["spec"]["strange"] = request.value;
    object = strange.dump();
  }
  return server_->store().put(path_of(place->resource, place->name), json::parse(*object)) > 0;
}

bool Keys::erase(const etcd::EraseRequest& request) {
  const auto found = range({.keys = request.keys});
  for (const auto& kv : found.kvs) {
    const auto place = codec_.places().of(kv.key);
    server_->store().remove(path_of(place->resource, place->name));
  }
  return true;
}

bool Keys::revoke(etcd::LeaseId lease) {
  const auto path = "/apis/coordination.k8s.io/v1/namespaces/weft-system/leases/" + lease_name(lease);
  if (server_->store().remove(path) < 0) return false;
  const auto list = json::parse(ask(*server_, "GET", path_of(Resource::claims)).text);
  for (const auto& item : list["items"])
    if (item["metadata"]["labels"].value(session_label, "") == session_text(lease))
      server_->store().remove(path_of(Resource::claims, item["metadata"]["name"]));
  return true;
}

KubernetesCluster::KubernetesCluster(etcd::ManualScheduler& time) : time_(&time) {
  add_resources(server_.store());
  make_system("system-1");
  https_.push_back(server_.connect());
  reaper_ = std::move(*SessionReaper::make(*https_.back(), time, etcd::testing::fixed_random(), {}, {}));
}

void KubernetesCluster::make_system(const std::string& uid) {
  server_.store().put("/api/v1/namespaces/kube-system", {{"metadata", {{"name", "kube-system"}, {"uid", uid}}}});
}

std::unique_ptr<etcd::Client> KubernetesCluster::connect() {
  https_.push_back(server_.connect());
  StoreOptions options;
  options.trouble = [this](const Error& error) { troubles.push_back(error.message); };
  // Each another sequence: two that began the same session would wait for each other.
  auto random = etcd::testing::fixed_random();
  for (std::size_t i = 0; i < 1000 * https_.size(); ++i) random();
  auto made = make_kubernetes_store(*time_, *https_.back(), options, std::move(random));
  EXPECT_TRUE(made);
  return std::move(*made);
}

void KubernetesCluster::wipe(bool same_cluster) {
  server_.store().wipe(1);
  if (!same_cluster) ++systems_;
  make_system("system-" + std::to_string(systems_));
  server_.break_watches();
}

}  // namespace weft::crd::testing
