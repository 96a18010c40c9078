// The objects of a node that gets them from a Kubernetes API server: lists and watches of what this node acts on, taken
// in as differences. Of pods only its own; other nodes' pods are told by their agents, and by EndpointSlices.
//
// Nothing is taken until every list is complete once: a start goes on with what weft.db holds, and a Service is never
// seen without its endpoints only because they were asked for later. Without the server the node keeps what it has. A
// resource that the server does not have (Weft's own before they are installed) is waited for, and holds up nothing.
//
// What a Service holds (ClusterIPs, node ports) is the API server's decision, and in its spec.
// On the agent's thread; answers do not run inside the call that asks.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/api_servers.h"
#include "agent/intake.h"
#include "agent/objects.h"
#include "sources/kubernetes/reflector.h"

namespace weft::agent {

// What the API server says of a pod of this node beside what it is to be.
struct PodStatus {
  std::string uid;
  bool running = false;  // status.phase; not one that is going
  bool host_network = false;
  std::vector<IpAddress> addresses;
  // In a network of its own.
  [[nodiscard]] bool has_network() const { return running && !host_network && !addresses.empty(); }
};

class KubernetesObjects {
 public:
  struct Parts {
    kubernetes::Http& http;
    etcd::Scheduler& scheduler;
    etcd::Random random;
    std::string node;
    std::string server;        // for messages
    bool external_ips = true;  // Services may name addresses of their own
    // Nodes share pools: what of a PodAddressPool is agreed on is in its status.
    bool shared_pools = false;
    Objects& objects;
    Publisher& publisher;
    etcd::BackoffOptions backoff{std::chrono::milliseconds(500), std::chrono::milliseconds(30000)};
  };
  struct Handlers {
    Intake::Handlers intake;
    // All that the server has and this node does not understand, by what it is.
    std::function<void(const std::map<std::string, Fault>& faults)> misunderstood;
    // The API server's own addresses have changed: "10.0.0.1:6443".
    std::function<void(const std::vector<std::string>& addresses)> api_servers;
  };
  KubernetesObjects(Parts parts, Handlers handlers);

  // What the server has was heard of, now or by an earlier run.
  [[nodiscard]] bool known() const;
  // All that the server has was taken in by this run.
  [[nodiscard]] bool taken() const { return taken_; }
  // Once this pod and its Namespace are known here; or when a while has passed, of at most `most`, or the server is
  // silent. With the uid that the kubelet says: one of the same name that is going is another.
  void catch_up(const model::ObjectKey& pod, const std::string& uid, std::function<void()> done,
                std::chrono::milliseconds most = std::chrono::milliseconds::max());
  // Why no pod can be attached yet; nothing: known().
  [[nodiscard]] std::optional<Error> unheard() const;
  // The server's version of policies, as far as their changes are taken in; 0: none are by this run.
  [[nodiscard]] std::uint64_t policies_seen() const { return policies_seen_; }
  // Empty: it has none there. As of the server's, not of what was taken in.
  [[nodiscard]] std::string version_of(const store::StoredKey& key) const;
  // Of objects that cannot be read, why.
  [[nodiscard]] const std::map<store::StoredKey, std::string>& misunderstood() const { return misunderstood_; }
  // Annotations that nearly mean something to Weft, by the object.
  [[nodiscard]] const std::map<store::StoredKey, std::string>& misspelt() const { return misspelt_; }
  // A policy among these that isolates, and allows nothing.
  [[nodiscard]] bool closes(const store::StoredKey& key) const { return closed_.contains(key); }
  [[nodiscard]] const std::map<model::ObjectKey, PodStatus>& pods() const { return pods_; }
  // Empty: it is not known.
  [[nodiscard]] std::string uid_of(const store::StoredKey& key) const;
  // Why news do not come; empty: they do.
  [[nodiscard]] std::string silence() const;
  [[nodiscard]] nlohmann::json status_json() const;
  // Once a second: tries again what could not be done.
  void check();
  // Whether so much was taken in since the last call that the allocator should give back what it took.
  [[nodiscard]] bool took_many() { return std::exchange(took_many_, false); }

 private:
  struct Resource {
    model::Kind kind;
    bool own = false;  // Weft's: the server may not have it
    std::unique_ptr<kubernetes::Reflector> reflector;
    // The server does not have it.
    [[nodiscard]] bool absent() const;
    [[nodiscard]] bool has(const std::string& key) const;
  };
  struct Waiting {
    model::ObjectKey pod;
    std::string uid;
    std::function<void()> done;
    etcd::Timer patience;
  };

  void follow(model::Kind kind, std::string path, std::string fields, std::string labels);
  [[nodiscard]] Result<kubernetes::Decoded> decode(model::Kind kind, const kubernetes::Object& object) const;
  void take(model::Kind kind, const kubernetes::Change& change);
  void settle_soon();
  void settle();
  void note_policies();
  // Null: the server does not have it.
  [[nodiscard]] const kubernetes::Entry* entry_of(const store::StoredKey& key) const;
  void add_what_is_gone(Publisher::Brought& brought) const;
  [[nodiscard]] bool complete() const;
  [[nodiscard]] bool has(const model::ObjectKey& key, const std::string& uid) const;
  void check_waiting();
  void take_beside(const store::StoredKey& key, const kubernetes::Entry& now);
  void take_slice(const model::Object& object);
  void forget_beside(const store::StoredKey& key);
  void tell_misunderstood();

  Parts parts_;
  Handlers handlers_;
  Intake intake_;
  std::vector<Resource> resources_;
  // What came and is not stored yet; nothing: it is gone.
  std::map<store::StoredKey, std::optional<model::ApiObject>> owed_;
  bool taken_ = false;  // all of it, once
  std::uint64_t policies_seen_ = 0;
  bool took_many_ = false;
  etcd::Timer settle_;
  std::list<Waiting> waiting_;
  std::map<model::ObjectKey, PodStatus> pods_;
  ApiServers api_servers_;
  std::map<store::StoredKey, std::string> closed_;  // policies that cannot be read, and isolate, with why
  std::map<store::StoredKey, std::string> misunderstood_;
  std::map<store::StoredKey, std::string> misspelt_;
};

}  // namespace weft::agent
